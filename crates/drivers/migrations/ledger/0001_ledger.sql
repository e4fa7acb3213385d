-- What happened, append-only.
CREATE TABLE event (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    environment TEXT,
    app         TEXT,
    rollout     INTEGER,
    kind        TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    text        TEXT    NOT NULL,
    data        TEXT    NOT NULL
);
CREATE INDEX event_by_app ON event (app, environment, sequence);

-- Each rollout as it last was; the record itself is JSON.
CREATE TABLE rollout (
    environment TEXT    NOT NULL,
    app         TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    record      TEXT    NOT NULL,
    PRIMARY KEY (environment, app, number)
);

-- What hooks and scripts printed; the oldest go when there is too much.
CREATE TABLE output (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    host     TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    release  TEXT    NOT NULL,
    verb     TEXT    NOT NULL,
    ok       INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    text     TEXT    NOT NULL
);
CREATE INDEX output_by_target ON output (target, host, sequence);
