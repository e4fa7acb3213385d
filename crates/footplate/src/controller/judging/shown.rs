//! What judges heard and found, for whoever asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use footplate_core::name::{AppName, AppPath, EnvironmentName};
use footplate_drivers::ledger::{Filter, Happening, LedgerError, TrialName};
use serde::Deserialize;

use super::kept::recording;
use crate::api::{JudgedStage, Problem, ProblemKind};
use crate::controller::Shared;
use crate::controller::extract::Asked;
use crate::controller::find::known_ones;
use crate::controller::site::Site;

/// How many entries of its history are searched for a rollout's end; little follows that.
const NEWEST: u32 = 100;
/// The kinds of entries that end a rollout.
const ENDS: [&str; 4] = ["done", "failed", "aborted", "deadline"];

/// Which judgement is asked for.
#[derive(Deserialize)]
pub(in crate::controller) struct VerdictQuery {
    environment: EnvironmentName,
    app: AppName,
    /// Of which rollout; of the newest that was judged when absent.
    rollout: Option<u64>,
}

/// `GET`: what was heard of a rollout, stage by stage.
pub(in crate::controller) async fn read(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<VerdictQuery>,
) -> Result<Json<Vec<JudgedStage>>, Problem> {
    let path = AppPath { environment: query.environment, app: query.app };
    let what = format!("cannot read the verdict on `{path}`");
    let trials = shared.journal.ledger().trials(&path, query.rollout).await;
    let unreadable =
        |error: LedgerError| Problem::new(ProblemKind::Unavailable, &what, &error, &error.next());
    let trials = trials.map_err(unreadable)?;
    let ended = match trials.first() {
        Some(trial) => ended(&shared, &trial.name).await.map_err(unreadable)?,
        None => None,
    };
    let stages: Vec<JudgedStage> = trials
        .iter()
        .filter_map(|trial| {
            let (head, failed) = recording(trial)?;
            Some(JudgedStage {
                rollout: trial.name.rollout,
                stage: trial.name.stage.clone(),
                canary: head.canary,
                baseline: head.baseline,
                recording: head.recording,
                failed,
                verdict: trial.verdict.as_deref().and_then(|text| serde_json::from_str(text).ok()),
                ended: ended.clone(),
            })
        })
        .collect();
    if stages.is_empty() {
        return Err(nothing(&shared.site(), &path, query.rollout, &what));
    }
    Ok(Json(stages))
}

/// Returns what became of a rollout, as the history has it.
async fn ended(shared: &Shared, trial: &TrialName) -> Result<Option<String>, LedgerError> {
    let filter = Filter {
        environment: Some(trial.path.environment.clone()),
        app: Some(trial.path.app.clone()),
        rollout: Some(trial.rollout),
        ..Filter::default()
    };
    let events = shared.journal.ledger().events(&filter, NEWEST).await?;
    let is_end = |happening: &Happening| ENDS.contains(&happening.kind.as_str());
    let found = events.into_iter().map(|event| event.happening).find(is_end);
    Ok(found.map(|happening| happening.text))
}

/// Says why there is nothing to show.
fn nothing(site: &Site, path: &AppPath, rollout: Option<u64>, what: &str) -> Problem {
    let how = "let the next one be judged: `[judge]` in footplate.toml, and a strategy in steps";
    let (because, next) = match (site.apps.contains_key(path), rollout) {
        (false, _) => ("it was never deployed".to_owned(), known_ones(site)),
        (true, Some(number)) => (
            format!("its rollout {number} was not judged, or there is none"),
            format!(
                "`footplate history {}` lists them; without a number the newest that was judged is shown",
                path.app
            ),
        ),
        (true, None) => ("none of its rollouts was ever judged".to_owned(), how.to_owned()),
    };
    Problem::new(ProblemKind::Unknown, what, because, &next)
}
