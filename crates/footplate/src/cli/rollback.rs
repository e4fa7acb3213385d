//! `footplate rollback`.

use clap::Args;
use footplate_core::name::{AppPath, ReleaseId};

use super::Operator;
use super::app::{AppArgs, parse_release};
use super::connection::{Connection, ConnectionArgs};
use super::{deploy, watch};
use crate::api::{self, Wanted};
use crate::client::Client;
use crate::failure::{Exit, Failure};

/// Bring every host back to the release before, or to another one
///
/// With no release named it proposes the newest one that ran before and was not rolled back itself, and asks. A rollback
/// never waits behind a deployment: one that is under way is turned back. The release before stays prepared on the
/// hosts, so no byte is fetched.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate rollback shop               propose the release before, and ask
  footplate rollback shop --yes         take what is proposed
  footplate rollback shop --to 1.4.0    a release that ran earlier

Exit codes are those of `footplate deploy`.")]
pub struct RollbackArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Release to go back to: a version, a commit or a digest [default: the one that is proposed]
    #[arg(long, value_name = "RELEASE", value_parser = parse_release)]
    to: Option<Wanted>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Return when the rollback has begun
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    order: watch::OrderArgs,
}

/// Begins a rollback and shows it until its end.
pub async fn rollback(operator: &Operator, args: &RollbackArgs) -> Result<(), Failure> {
    let path = args.app.path()?;
    let connection = Connection::open(operator, &args.connection, &what(&path)).await?;
    let ended = begin(operator, args, &path, &connection).await;
    connection.close().await;
    ended
}

async fn begin(
    operator: &Operator,
    args: &RollbackArgs,
    path: &AppPath,
    connection: &Connection,
) -> Result<(), Failure> {
    let client = &connection.client;
    let to = match &args.to {
        None if !args.yes => Some(agree(operator, client, path).await?),
        named => named.clone(),
    };
    let order = api::RollBack { path: path.clone(), to, by: operator.by(args.order.reason.as_deref())? };
    let begun = client.roll_back(&order).await.map_err(|error| operator.failed(&what(path), error))?;
    deploy::conclude(operator, connection, path, begun, args.detach).await
}

fn what(path: &AppPath) -> String {
    format!("cannot roll back `{}` in {}", path.app, path.environment)
}

/// Proposes what the controller would take, asks, and returns exactly what was agreed to: meanwhile it may change.
async fn agree(operator: &Operator, client: &Client, path: &AppPath) -> Result<Wanted, Failure> {
    let what = what(path);
    let status = client.status().await.map_err(|error| operator.failed(&what, error))?;
    let app = status.apps.iter().find(|app| app.path == *path);
    let Some((proposal, to)) = app.and_then(propose) else {
        return Err(Failure::new(Exit::Refused, what)
            .because_of("no earlier release is kept that was not rolled back itself")
            .next("name one with `--to`; `footplate history` lists what ran"));
    };
    if operator.ui.confirm(&format!("`{}` in {}: {proposal}?", path.app, path.environment)) {
        return Ok(Wanted::Name(to.to_string()));
    }
    Err(Failure::new(Exit::Refused, what)
        .because_of(format!("nobody agreed to this proposal: {proposal}"))
        .next("take it with `--yes`, or name another release with `--to`"))
}

/// Says in words where a rollback goes that names no release, and by its name; nothing when there is nowhere to go.
fn propose(app: &api::AppStatus) -> Option<(String, &ReleaseId)> {
    let name = |release: &api::ReleaseSummary| match &release.summary {
        Some(summary) => format!("{} ({summary})", release.id),
        None => release.id.to_string(),
    };
    let current = app.current.as_ref()?;
    if app.rollout.as_ref().is_some_and(|rollout| !rollout.ended) {
        return Some((format!("turn the rollout back to {}", name(current)), &current.id));
    }
    let to = app.proposal.as_ref()?;
    Some((format!("go from {} back to {}", name(current), name(to)), &to.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ReleaseSummary;
    use crate::cli::fixture;

    #[test]
    fn what_was_rolled_back_is_not_proposed_again() {
        let summary =
            |id: &str| Some(ReleaseSummary { summary: None, ..ReleaseSummary::from(&fixture::release(id)) });
        let mut app = fixture::app(Vec::new(), None);
        (app.current, app.previous, app.proposal) = (summary("2"), summary("3"), summary("1"));
        let told = |app: &api::AppStatus| propose(app).map(|(words, to)| (words, to.to_string()));
        assert_eq!(told(&app), Some(("go from 2 back to 1".to_owned(), "1".to_owned())));
        app.proposal = None;
        assert_eq!(told(&app), None);
        app.rollout = Some(fixture::rollout(&[], "waiting"));
        assert_eq!(told(&app), Some(("turn the rollout back to 2".to_owned(), "2".to_owned())));
    }
}
