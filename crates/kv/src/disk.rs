//! The durable copy of the state: one SQLite file, in WAL mode with full synchronisation, and one connection to it.
//!
//! A commit is all of a group's changes or nothing. After a failed commit nobody knows what is on disk: the caller
//! opens the file anew and goes on from what it reads. `synchronous=FULL` syncs the log before a commit returns.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, QueryBuilder, Row, Sqlite};

use crate::entry::{Entry, Session};
use crate::state::{Change, Changes, Counters, State};
use crate::token::Token;

/// The format of the file. A newer one is refused.
const FORMAT: i64 = 1;

/// How many rows one statement writes at most.
const ROWS_MAX: usize = 64;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entries (
  key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, flags INTEGER NOT NULL, session TEXT,
  lock_index INTEGER NOT NULL, create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tombstones (key TEXT PRIMARY KEY NOT NULL, buried INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (id TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (
  one INTEGER PRIMARY KEY CHECK (one = 1), store INTEGER NOT NULL, keys INTEGER NOT NULL,
  sessions INTEGER NOT NULL, floor INTEGER NOT NULL);";

/// The open file.
pub struct Disk {
    connection: SqliteConnection,
}

/// Why the file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// SQLite says no.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A row does not hold what we once wrote.
    #[error("a row of table {table} is damaged")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The file was written by a newer version.
    #[error("the file has format {0}, this program knows {FORMAT}")]
    Newer(i64),
}

impl Disk {
    /// Opens or makes the file, moves what a crash left in the log to its place, and reads everything.
    ///
    /// # Errors
    /// The file cannot be opened, is damaged or newer.
    pub async fn open(file: &Path) -> Result<(Disk, State), DiskError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .locking_mode(SqliteLockingMode::Exclusive)
            .pragma("journal_size_limit", "16777216")
            .disable_statement_logging();
        let mut connection = options.connect().await?;
        let format: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await?;
        if format > FORMAT {
            return Err(DiskError::Newer(format));
        }
        if format == 0 {
            sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
            sqlx::raw_sql("PRAGMA user_version = 1").execute(&mut connection).await?;
        }
        // After a failed sync the log's pages may be only in memory: write them out anew before anything follows.
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        let mut disk = Disk { connection };
        let state = disk.read().await?;
        Ok((disk, state))
    }

    /// Makes the changes of a group durable, all or none.
    ///
    /// # Errors
    /// The disk is full or broken. What is on it is then unknown: open it anew.
    pub async fn commit(&mut self, changes: &[Changes], counters: Counters) -> Result<(), sqlx::Error> {
        let rows = Rows::of(changes);
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        match self.write(&rows, counters).await {
            Ok(()) => sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map(drop),
            Err(error) => Err(error),
        }
    }

    /// Closes the file; the log is moved to its place.
    ///
    /// # Errors
    /// SQLite could not finish; the next open does.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }

    async fn write(&mut self, rows: &Rows, counters: Counters) -> Result<(), sqlx::Error> {
        if let Some(up_to) = rows.reaped {
            let reap = sqlx::query("DELETE FROM tombstones WHERE buried <= $1").bind(up_to.cast_signed());
            reap.execute(&mut self.connection).await?;
        }
        self.write_entries(rows).await?;
        self.write_tombstones(rows).await?;
        self.write_bodies(rows).await?;
        let numbers = [counters.index, counters.keys, counters.sessions, counters.floor];
        let mut query = sqlx::query(
            "INSERT OR REPLACE INTO counters (one, store, keys, sessions, floor) VALUES (1, $1, $2, $3, $4)",
        );
        for number in numbers {
            query = query.bind(number.cast_signed());
        }
        query.execute(&mut self.connection).await.map(drop)
    }

    async fn write_entries(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let set: Vec<&Arc<Entry>> = rows.entries.values().flatten().collect();
        for chunk in set.chunks(ROWS_MAX) {
            let mut query = QueryBuilder::<Sqlite>::new(
                "INSERT OR REPLACE INTO entries (key, value, flags, session, lock_index, create_index, modify_index) ",
            );
            query.push_values(chunk, |mut row, entry| {
                row.push_bind(&*entry.key).push_bind(&entry.value[..]).push_bind(entry.flags.cast_signed());
                row.push_bind(entry.session.as_deref()).push_bind(entry.lock_index.cast_signed());
                row.push_bind(entry.create_index.cast_signed()).push_bind(entry.modify_index.cast_signed());
            });
            query.build().execute(&mut self.connection).await?;
        }
        let gone: Vec<&str> = rows.entries.iter().filter(|row| row.1.is_none()).map(|row| &**row.0).collect();
        self.delete("DELETE FROM entries WHERE key IN (", &gone).await
    }

    async fn write_tombstones(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let dug: Vec<(&str, u64)> =
            rows.tombstones.iter().filter_map(|row| Some((&**row.0, (*row.1)?))).collect();
        for chunk in dug.chunks(ROWS_MAX) {
            let mut query = QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO tombstones (key, buried) ");
            query.push_values(chunk, |mut row, (key, index)| {
                row.push_bind(*key).push_bind(index.cast_signed());
            });
            query.build().execute(&mut self.connection).await?;
        }
        let gone: Vec<&str> =
            rows.tombstones.iter().filter(|row| row.1.is_none()).map(|row| &**row.0).collect();
        self.delete("DELETE FROM tombstones WHERE key IN (", &gone).await
    }

    async fn write_bodies(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        for (id, body) in &rows.sessions {
            let query = match body {
                Some(body) => sqlx::query("INSERT OR REPLACE INTO sessions (id, body) VALUES ($1, $2)")
                    .bind(id)
                    .bind(body),
                None => sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id),
            };
            query.execute(&mut self.connection).await?;
        }
        for (id, body) in &rows.tokens {
            let query = match body {
                Some(body) => sqlx::query("INSERT OR REPLACE INTO tokens (id, body) VALUES ($1, $2)")
                    .bind(id)
                    .bind(body),
                None => sqlx::query("DELETE FROM tokens WHERE id = $1").bind(id),
            };
            query.execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, statement: &'static str, keys: &[&str]) -> Result<(), sqlx::Error> {
        for chunk in keys.chunks(ROWS_MAX) {
            let mut query = QueryBuilder::<Sqlite>::new(statement);
            let mut list = query.separated(", ");
            chunk.iter().for_each(|key| {
                list.push_bind(*key);
            });
            list.push_unseparated(")");
            query.build().execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<State, DiskError> {
        let mut state = State::default();
        let connection = &mut self.connection;
        for row in sqlx::query("SELECT key, buried FROM tombstones").fetch_all(&mut *connection).await? {
            let key: &str = row.try_get(0)?;
            state.absorb(&Changes { index: number(&row, 1)?, list: vec![Change::Buried(key.into())] });
        }
        for row in sqlx::query("SELECT * FROM entries").fetch_all(&mut *connection).await? {
            let entry = Arc::new(entry(&row)?);
            state.absorb(&Changes { index: entry.modify_index, list: vec![Change::Set(entry)] });
        }
        for row in sqlx::query("SELECT body FROM sessions").fetch_all(&mut *connection).await? {
            let session: Session = parse("sessions", row.try_get(0)?)?;
            let index = session.create_index;
            state.absorb(&Changes { index, list: vec![Change::SessionOpened(Arc::new(session))] });
        }
        for row in sqlx::query("SELECT body FROM tokens").fetch_all(&mut *connection).await? {
            let token: Token = parse("tokens", row.try_get(0)?)?;
            state.absorb(&Changes { index: 0, list: vec![Change::TokenSet(Arc::new(token))] });
        }
        let counters = sqlx::query("SELECT store, keys, sessions, floor FROM counters")
            .fetch_optional(connection)
            .await?;
        if let Some(row) = counters {
            state.counters = Counters {
                index: number(&row, 0)?,
                keys: number(&row, 1)?,
                sessions: number(&row, 2)?,
                floor: number(&row, 3)?,
            };
        }
        Ok(state)
    }
}

/// What a group of changes comes to: one row per key, whatever happened to it in between.
#[derive(Default)]
struct Rows {
    entries: BTreeMap<Arc<str>, Option<Arc<Entry>>>,
    tombstones: BTreeMap<Arc<str>, Option<u64>>,
    sessions: BTreeMap<String, Option<String>>,
    tokens: BTreeMap<String, Option<String>>,
    reaped: Option<u64>,
}

impl Rows {
    fn of(changes: &[Changes]) -> Rows {
        let mut rows = Rows::default();
        for changes in changes {
            changes.list.iter().for_each(|change| rows.take(change, changes.index));
        }
        rows
    }

    fn take(&mut self, change: &Change, index: u64) {
        match change {
            Change::Set(entry) => {
                self.entries.insert(entry.key.clone(), Some(entry.clone()));
                self.tombstones.insert(entry.key.clone(), None);
            }
            Change::Removed(key) => {
                self.entries.insert(key.clone(), None);
            }
            Change::Buried(key) => {
                self.tombstones.insert(key.clone(), Some(index));
            }
            Change::Reaped(up_to) => {
                self.reaped = Some(*up_to);
                self.tombstones.retain(|_, buried| buried.is_none_or(|index| index > *up_to));
            }
            Change::SessionOpened(session) => {
                self.sessions.insert(session.id.clone(), Some(body(&**session)));
            }
            Change::SessionEnded(id) => {
                self.sessions.insert(id.clone(), None);
            }
            Change::TokenSet(token) => {
                self.tokens.insert(token.id.clone(), Some(body(&**token)));
            }
            Change::TokenRevoked(id) => {
                self.tokens.insert(id.clone(), None);
            }
            Change::Jumped => {}
        }
    }
}

fn body(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain structures always serialise")
}

fn parse<T: serde::de::DeserializeOwned>(table: &'static str, text: &str) -> Result<T, DiskError> {
    serde_json::from_str(text).map_err(|source| DiskError::Damaged { table, source })
}

fn number(row: &SqliteRow, column: usize) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(column).map(i64::cast_unsigned)
}

fn entry(row: &SqliteRow) -> Result<Entry, sqlx::Error> {
    let key: &str = row.try_get(0)?;
    let value: Vec<u8> = row.try_get(1)?;
    let session: Option<String> = row.try_get(3)?;
    Ok(Entry {
        key: key.into(),
        value: value.into(),
        flags: number(row, 2)?,
        session,
        lock_index: number(row, 4)?,
        create_index: number(row, 5)?,
        modify_index: number(row, 6)?,
    })
}
