//! The ledger in a SQLite file.
//!
//! Write-ahead log with full synchronisation: what was committed survives a power loss. One connection writes, and every
//! writing transaction begins as one (`BEGIN IMMEDIATE`), so that none fails for having read first; others read beside it.

use std::path::Path;

use async_trait::async_trait;
use footplate_core::moment::Moment;
use footplate_core::name::AppPath;
use footplate_core::target::Verb;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{QueryBuilder, Row, SqlStr, Sqlite as Database};

use super::{Event, Filter, Happening, Ledger, LedgerError, OutputFilter, Printed, Trial, TrialName};

/// How many bytes of outputs are kept unless the opener says otherwise: 256 MiB.
pub const OUTPUT_BYTES_MAX: u64 = 256 << 20;
/// How many bytes of what judges heard are kept, packed: at ten packed kilobytes a minute of four KPIs, some years of deployments.
const EVIDENCE_BYTES_MAX: u64 = 1 << 30;

/// A ledger in a file.
#[derive(Clone, Debug)]
pub struct Sqlite {
    place: String,
    writer: SqlitePool,
    reader: SqlitePool,
    output_bytes_max: u64,
}

impl Sqlite {
    /// Opens the ledger in `file`, made when it is missing, and brings it up to date. The file's folder must exist.
    pub async fn open(file: &Path, output_bytes_max: u64) -> Result<Self, LedgerError> {
        let place = file.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(std::time::Duration::from_secs(10));
        let open = |connections, options| {
            SqlitePoolOptions::new().max_connections(connections).connect_with(options)
        };
        let failed = |source: Fault| LedgerError::Open { place: place.clone(), source };
        let writer = open(1, options.clone()).await.map_err(|error| failed(error.into()))?;
        migrator().run(&writer).await.map_err(|error| failed(error.into()))?;
        let reader = open(2, options.read_only(true)).await.map_err(|error| failed(error.into()))?;
        Ok(Self { place, writer, reader, output_bytes_max })
    }

    pub(super) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    pub(super) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    pub(super) fn evidence_bytes_max(&self) -> u64 {
        EVIDENCE_BYTES_MAX
    }

    pub(super) fn cannot<E: Into<Fault>>(&self, action: &'static str) -> impl Fn(E) -> LedgerError {
        move |source| LedgerError::Failed { action, place: self.place.clone(), source: source.into() }
    }

    pub(super) fn foreign(&self, source: Fault) -> LedgerError {
        LedgerError::Foreign { place: self.place.clone(), source }
    }
}

pub(super) type Fault = Box<dyn std::error::Error + Send + Sync>;

#[async_trait]
impl Ledger for Sqlite {
    async fn append(&self, happenings: &[Happening]) -> Result<Vec<u64>, LedgerError> {
        let failed = self.cannot::<sqlx::Error>("write to");
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let mut sequences = Vec::with_capacity(happenings.len());
        for happening in happenings {
            let path = happening.path.as_ref();
            let written = sqlx::query(
                "INSERT INTO event (at, environment, app, rollout, kind, actor, text, data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(number(happening.at.as_millis()))
            .bind(path.map(|path| path.environment.as_str()))
            .bind(path.map(|path| path.app.as_str()))
            .bind(happening.rollout.map(number))
            .bind(&happening.kind)
            .bind(happening.actor.as_str())
            .bind(&happening.text)
            .bind(happening.data.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
            sequences.push(written.last_insert_rowid().cast_unsigned());
        }
        transaction.commit().await.map_err(&failed)?;
        Ok(sequences)
    }

    async fn events(&self, filter: &Filter, limit: u32) -> Result<Vec<Event>, LedgerError> {
        let mut query = QueryBuilder::<Database>::new("SELECT * FROM event WHERE TRUE");
        equal(&mut query, "environment", filter.environment.as_ref().map(|name| name.as_str()));
        equal(&mut query, "app", filter.app.as_ref().map(|name| name.as_str()));
        equal(&mut query, "kind", filter.kind.as_deref());
        equal(&mut query, "rollout", filter.rollout.map(number));
        page(&mut query, filter.before, filter.after, limit);
        let rows = query.build().fetch_all(&self.reader).await.map_err(self.cannot("read"))?;
        rows.iter().map(|row| event(row).map_err(|error| self.foreign(error))).collect()
    }

    async fn put_output(&self, printed: &Printed) -> Result<u64, LedgerError> {
        let failed = self.cannot::<sqlx::Error>("write to");
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let written = sqlx::query(
            "INSERT INTO output (at, host, target, release, verb, ok, bytes, text) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(number(printed.at.as_millis()))
        .bind(printed.host.as_str())
        .bind(printed.target.to_string())
        .bind(printed.release.as_str())
        .bind(printed.verb.to_string())
        .bind(printed.ok)
        .bind(number(printed.text.len() as u64))
        .bind(&printed.text)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        // The newest stays, however large: a bound that hides the last failure would be worse than none.
        sqlx::query(
            "DELETE FROM output WHERE sequence <= (SELECT max(sequence) FROM (SELECT sequence, sum(bytes + 200) OVER (ORDER BY sequence DESC) AS total FROM output) WHERE total > $1) AND sequence < $2",
        )
        .bind(number(self.output_bytes_max))
        .bind(written.last_insert_rowid())
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(written.last_insert_rowid().cast_unsigned())
    }

    async fn outputs(&self, filter: &OutputFilter, limit: u32) -> Result<Vec<(u64, Printed)>, LedgerError> {
        let mut query = QueryBuilder::<Database>::new("SELECT * FROM output WHERE TRUE");
        if filter.environment.is_some() || filter.app.is_some() {
            let environment = filter.environment.as_ref().map_or("*", |name| name.as_str());
            let app = filter.app.as_ref().map_or("*", |name| name.as_str());
            query.push(" AND target GLOB ").push_bind(format!("{environment}.{app}.*"));
        }
        equal(&mut query, "host", filter.host.as_ref().map(|name| name.as_str()));
        equal(&mut query, "release", filter.release.as_ref().map(|name| name.as_str()));
        equal(&mut query, "verb", filter.verb.map(|verb| verb.to_string()));
        let forward = filter.after.is_some() && filter.before.is_none();
        if forward {
            query.push(" AND sequence > ").push_bind(filter.after.map(number));
            query.push(" ORDER BY sequence LIMIT ").push_bind(limit);
        } else {
            page(&mut query, filter.before, filter.after, limit);
        }
        let mut rows = query.build().fetch_all(&self.reader).await.map_err(self.cannot("read"))?;
        if forward {
            rows.reverse();
        }
        rows.iter().map(|row| printed(row).map_err(|error| self.foreign(error))).collect()
    }

    async fn begin_trial(&self, name: &TrialName, began: Moment, head: &str) -> Result<(), LedgerError> {
        self.begin(name, began, head).await
    }

    async fn hear(&self, name: &TrialName, lines: &[String]) -> Result<(), LedgerError> {
        self.write_heard(name, lines).await
    }

    async fn end_trial(&self, name: &TrialName, verdict: &str) -> Result<(), LedgerError> {
        self.finish(name, verdict).await
    }

    async fn trials(&self, path: &AppPath, rollout: Option<u64>) -> Result<Vec<Trial>, LedgerError> {
        self.read_trials(path, rollout).await
    }
}

/// Returns the steps from an empty file to today's tables. One that was ever released is never changed.
fn migrator() -> Migrator {
    let first = SqlStr::from_static(include_str!("../../migrations/ledger/0001_ledger.sql"));
    let second = SqlStr::from_static(include_str!("../../migrations/ledger/0002_trial.sql"));
    let step = |number, name: &'static str, text| {
        Migration::new(number, name.into(), MigrationType::Simple, text, false)
    };
    Migrator::with_migrations(vec![step(1, "ledger", first), step(2, "trial", second)])
}

/// Adds a condition when there is something to compare with.
fn equal<'q, T>(query: &mut QueryBuilder<Database>, column: &'static str, value: Option<T>)
where
    T: 'q + sqlx::Encode<'q, Database> + sqlx::Type<Database>,
{
    if let Some(value) = value {
        query.push(" AND ").push(column).push(" = ").push_bind(value);
    }
}

fn page(query: &mut QueryBuilder<Database>, before: Option<u64>, after: Option<u64>, limit: u32) {
    if let Some(before) = before {
        query.push(" AND sequence < ").push_bind(number(before));
    }
    if let Some(after) = after {
        query.push(" AND sequence > ").push_bind(number(after));
    }
    query.push(" ORDER BY sequence DESC LIMIT ").push_bind(limit);
}

fn event(row: &SqliteRow) -> Result<Event, Fault> {
    let environment: Option<String> = row.try_get("environment")?;
    let app: Option<String> = row.try_get("app")?;
    let path = match (environment, app) {
        (Some(environment), Some(app)) => {
            Some(AppPath { environment: environment.parse()?, app: app.parse()? })
        }
        _ => None,
    };
    let happening = Happening {
        at: Moment::from_millis(unsigned(row, "at")?),
        path,
        rollout: row.try_get::<Option<i64>, _>("rollout")?.map(i64::cast_unsigned),
        kind: row.try_get("kind")?,
        actor: row.try_get::<String, _>("actor")?.parse()?,
        text: row.try_get("text")?,
        data: serde_json::from_str(row.try_get("data")?)?,
    };
    Ok(Event { sequence: unsigned(row, "sequence")?, happening })
}

fn printed(row: &SqliteRow) -> Result<(u64, Printed), Fault> {
    let word = row.try_get::<String, _>("verb")?;
    let verb = Verb::ALL.into_iter().find(|verb| verb.to_string() == word);
    let verb = verb.ok_or_else(|| format!("`{word}` is no verb"))?;
    let printed = Printed {
        at: Moment::from_millis(unsigned(row, "at")?),
        host: row.try_get::<String, _>("host")?.parse()?,
        target: row.try_get::<String, _>("target")?.parse()?,
        release: row.try_get::<String, _>("release")?.parse()?,
        verb,
        ok: row.try_get("ok")?,
        text: row.try_get("text")?,
    };
    Ok((unsigned(row, "sequence")?, printed))
}

pub(super) fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(column).map(i64::cast_unsigned)
}

/// SQLite knows signed numbers only; none of ours comes near the limit.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
