//! What hooks and scripts printed: handed in by agents, read by people.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use footplate_core::name::{AppName, EnvironmentName, HostName, InvalidName, ReleaseId, TargetName};
use footplate_core::target::Verb;
use footplate_drivers::ledger::{OutputFilter, Printed};
use serde::Deserialize;

use super::Shared;
use super::extract::{Asked, Named, Sent};
use crate::api::{OutputEntry, OutputPost, Problem, ProblemKind};

/// `POST /HOST/TARGET/RELEASE/VERB`: an agent hands in what a script printed.
pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    Named((host, target, release, verb)): Named<(HostName, String, ReleaseId, Verb)>,
    Sent(post): Sent<OutputPost>,
) -> Result<StatusCode, Problem> {
    let what = "cannot keep the output";
    let target: TargetName = target.parse().map_err(|error: InvalidName| {
        Problem::new(ProblemKind::Invalid, what, error, "name it ENVIRONMENT.APP.GROUP")
    })?;
    let printed = Printed { at: post.at, host, target, release, verb, ok: post.ok, text: post.text };
    let put = shared.journal.ledger().put_output(&printed).await;
    put.map_err(|error| Problem::internal(what, &error))?;
    Ok(StatusCode::CREATED)
}

/// Which outputs are asked for.
#[derive(Deserialize)]
pub(super) struct OutputsQuery {
    environment: Option<EnvironmentName>,
    app: Option<AppName>,
    host: Option<HostName>,
    release: Option<ReleaseId>,
    before: Option<u64>,
    after: Option<u64>,
    limit: Option<u32>,
}

/// `GET`: lists outputs, oldest first: those that follow `after`, or else the newest ones, before `before`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<OutputsQuery>,
) -> Result<Json<Vec<OutputEntry>>, Problem> {
    let filter = OutputFilter {
        environment: query.environment,
        app: query.app,
        host: query.host,
        release: query.release,
        before: query.before,
        after: query.after,
        ..OutputFilter::default()
    };
    let limit = query.limit.unwrap_or(100).min(1000);
    let found = shared.journal.ledger().outputs(&filter, limit).await;
    let found = found.map_err(|error| Problem::internal("cannot read the outputs", &error))?;
    let entry = |(sequence, printed): (u64, Printed)| OutputEntry {
        sequence,
        at: printed.at,
        host: printed.host,
        target: printed.target.to_string(),
        release: printed.release,
        verb: printed.verb,
        ok: printed.ok,
        text: printed.text,
    };
    Ok(Json(found.into_iter().rev().map(entry).collect()))
}
