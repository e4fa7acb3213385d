//! What judges heard and found, for whoever asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use footplate_core::name::{AppName, AppPath, EnvironmentName};
use serde::Deserialize;

use super::kept::recording;
use crate::api::{JudgedStage, Problem, ProblemKind};
use crate::controller::Shared;
use crate::controller::extract::Asked;

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
    let trials =
        trials.map_err(|error| Problem::new(ProblemKind::Unavailable, &what, &error, &error.next()))?;
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
            })
        })
        .collect();
    if stages.is_empty() {
        let because = match query.rollout {
            Some(number) => format!("rollout {number} was not judged"),
            None => "none of its rollouts was ever judged".to_owned(),
        };
        let next = "let the next one be judged with `[judge]` in footplate.toml and a strategy in steps";
        return Err(Problem::new(ProblemKind::Unknown, what, because, next));
    }
    Ok(Json(stages))
}
