-- What a judge heard of a rollout, and its verdict. While it is judged its lines stand in `heard`; afterwards they are packed.
CREATE TABLE trial (
    environment TEXT    NOT NULL,
    app         TEXT    NOT NULL,
    rollout     INTEGER NOT NULL,
    stage       TEXT    NOT NULL,
    began       INTEGER NOT NULL,
    head        TEXT    NOT NULL,
    verdict     TEXT,
    packed      BLOB,
    PRIMARY KEY (environment, app, rollout, stage)
);
CREATE INDEX trial_by_time ON trial (began);

CREATE TABLE heard (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT    NOT NULL,
    app         TEXT    NOT NULL,
    rollout     INTEGER NOT NULL,
    stage       TEXT    NOT NULL,
    line        TEXT    NOT NULL
);
CREATE INDEX heard_by_trial ON heard (environment, app, rollout, stage, sequence);
