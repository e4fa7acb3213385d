//! Trials in the SQLite ledger: what a judge heard, line by line while it goes on, packed once it is over.

use std::io::{Read, Write};

use footplate_core::moment::Moment;
use footplate_core::name::AppPath;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite as Database};

use super::sqlite::{Fault, Sqlite, number, unsigned};
use super::{LedgerError, Trial, TrialName};

/// How hard lines are pressed: as hard as is done within milliseconds.
const LEVEL: i32 = 3;
/// The most bytes that the lines of one trial have.
const LINES_BYTES_MAX: u64 = 256 << 20;

const OF_ONE: &str = " WHERE environment = $1 AND app = $2 AND rollout = $3 AND stage = $4";

impl Sqlite {
    pub(super) async fn begin(&self, name: &TrialName, began: Moment, head: &str) -> Result<(), LedgerError> {
        let begun = sqlx::query(
            "INSERT INTO trial (environment, app, rollout, stage, began, head) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        );
        let begun = named(begun, name).bind(number(began.as_millis())).bind(head);
        begun.execute(self.writer()).await.map(drop).map_err(self.cannot("write to"))
    }

    pub(super) async fn write_heard(&self, name: &TrialName, lines: &[String]) -> Result<(), LedgerError> {
        let failed = self.cannot::<sqlx::Error>("write to");
        let mut transaction = self.writer().begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        for line in lines {
            let heard = sqlx::query(
                "INSERT INTO heard (environment, app, rollout, stage, line) VALUES ($1, $2, $3, $4, $5)",
            );
            named(heard, name).bind(line).execute(&mut *transaction).await.map_err(&failed)?;
        }
        transaction.commit().await.map_err(&failed)
    }

    pub(super) async fn finish(&self, name: &TrialName, verdict: &str) -> Result<(), LedgerError> {
        let failed = self.cannot::<sqlx::Error>("write to");
        let lines = self.lines(name).await?;
        let packed = pack(&lines).map_err(self.cannot("write to"))?;
        let mut transaction = self.writer().begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let closed = format!("UPDATE trial SET verdict = $5, packed = $6{OF_ONE} AND verdict IS NULL");
        let closed = sqlx::query(sqlx::AssertSqlSafe(closed));
        named(closed, name).bind(verdict).bind(packed).execute(&mut *transaction).await.map_err(&failed)?;
        let gone = sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM heard{OF_ONE}")));
        named(gone, name).execute(&mut *transaction).await.map_err(&failed)?;
        // Verdicts stay; what the oldest rest on goes when there is too much. The newest stays, however large.
        sqlx::query(
            "UPDATE trial SET packed = NULL WHERE packed IS NOT NULL AND began < (SELECT max(began) FROM trial) AND began <= \
             (SELECT max(began) FROM (SELECT began, sum(length(packed)) OVER (ORDER BY began DESC) AS total FROM trial) WHERE total > $1)",
        )
        .bind(number(self.evidence_bytes_max()))
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    pub(super) async fn read_trials(
        &self,
        path: &AppPath,
        rollout: Option<u64>,
    ) -> Result<Vec<Trial>, LedgerError> {
        let mut query = QueryBuilder::<Database>::new("SELECT * FROM trial WHERE environment = ");
        query.push_bind(path.environment.as_str()).push(" AND app = ").push_bind(path.app.as_str());
        query.push(" AND rollout = ");
        match rollout {
            Some(rollout) => query.push_bind(number(rollout)),
            None => query
                .push("(SELECT max(rollout) FROM trial WHERE environment = ")
                .push_bind(path.environment.as_str())
                .push(" AND app = ")
                .push_bind(path.app.as_str())
                .push(")"),
        };
        query.push(" ORDER BY began");
        let rows = query.build().fetch_all(self.reader()).await.map_err(self.cannot("read"))?;
        let mut trials = Vec::with_capacity(rows.len());
        for row in &rows {
            let (mut trial, packed) = read(row, path).map_err(|error| self.foreign(error))?;
            trial.lines = match packed {
                Some(packed) => unpack(&packed).map_err(|error| self.foreign(error.into()))?,
                None => self.lines(&trial.name).await?,
            };
            trials.push(trial);
        }
        Ok(trials)
    }

    async fn lines(&self, name: &TrialName) -> Result<Vec<String>, LedgerError> {
        let lines =
            sqlx::query(sqlx::AssertSqlSafe(format!("SELECT line FROM heard{OF_ONE} ORDER BY sequence")));
        let rows = named(lines, name).fetch_all(self.reader()).await.map_err(self.cannot("read"))?;
        rows.iter().map(|row| row.try_get("line").map_err(|error| self.foreign(Box::new(error)))).collect()
    }
}

type Query<'q> = sqlx::query::Query<'q, Database, sqlx::sqlite::SqliteArguments>;

fn named<'q>(query: Query<'q>, name: &'q TrialName) -> Query<'q> {
    let path = &name.path;
    query.bind(path.environment.as_str()).bind(path.app.as_str()).bind(number(name.rollout)).bind(&name.stage)
}

fn read(row: &SqliteRow, path: &AppPath) -> Result<(Trial, Option<Vec<u8>>), Fault> {
    let name =
        TrialName { path: path.clone(), rollout: unsigned(row, "rollout")?, stage: row.try_get("stage")? };
    let trial = Trial {
        name,
        began: Moment::from_millis(unsigned(row, "began")?),
        head: row.try_get("head")?,
        verdict: row.try_get("verdict")?,
        lines: Vec::new(),
    };
    Ok((trial, row.try_get("packed")?))
}

fn pack(lines: &[String]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    for line in lines {
        encoder.write_all(line.as_bytes())?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()
}

fn unpack(packed: &[u8]) -> std::io::Result<Vec<String>> {
    let mut text = String::new();
    zstd::Decoder::new(packed)?.take(LINES_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.lines().map(str::to_owned).collect())
}
