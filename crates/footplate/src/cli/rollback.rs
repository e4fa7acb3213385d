//! `footplate rollback`.

use clap::Args;
use footplate_core::name::AppPath;

use super::Operator;
use super::app::{AppArgs, parse_release};
use super::connection::{Connection, ConnectionArgs};
use super::{deploy, watch};
use crate::api::{self, Wanted};
use crate::client::Client;
use crate::failure::{Exit, Failure};

/// Bring every host back to the release before, or to another one
///
/// With no release named it proposes the one before the current and asks. A rollback never waits behind a deployment:
/// one that is under way is turned back. The release before stays prepared on the hosts, so no byte is fetched.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate rollback shop               propose the release before, and ask
  footplate rollback shop --yes         take what is proposed
  footplate rollback shop --to 1.4.0    a release that ran earlier

Exit codes are those of `footplate deploy`.")]
pub struct RollbackArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Release to go back to: a version, a commit or a digest [default: the one before the current]
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
    if args.to.is_none() && !args.yes {
        agree(operator, client, path).await?;
    }
    let order = api::RollBack {
        path: path.clone(),
        to: args.to.clone(),
        reason: args.order.reason.clone(),
        actor: operator.actor()?,
    };
    let begun = client.roll_back(&order).await.map_err(|error| operator.failed(&what(path), error))?;
    deploy::conclude(operator, connection, path, begun, args.detach).await
}

fn what(path: &AppPath) -> String {
    format!("cannot roll back `{}` in {}", path.app, path.environment)
}

/// Proposes the release before the one that runs, and asks.
async fn agree(operator: &Operator, client: &Client, path: &AppPath) -> Result<(), Failure> {
    let what = what(path);
    let status = client.status().await.map_err(|error| operator.failed(&what, error))?;
    let app = status.apps.into_iter().find(|app| app.path == *path);
    let under_way = app.as_ref().and_then(|app| app.rollout.as_ref()).is_some_and(|rollout| !rollout.ended);
    let (current, previous) = app.map_or((None, None), |app| (app.current, app.previous));
    let name = |release: &api::ReleaseSummary| match &release.summary {
        Some(summary) => format!("{} ({summary})", release.id),
        None => release.id.to_string(),
    };
    let proposal = match (under_way, &current, &previous) {
        (true, Some(current), _) => format!("turn the rollout back to {}", name(current)),
        (false, Some(current), Some(previous)) => {
            format!("go from {} back to {}", name(current), name(previous))
        }
        _ => {
            return Err(Failure::new(Exit::Refused, what)
                .because_of("there is no release before the one that runs")
                .next("name one with `--to`; `footplate history` lists what ran"));
        }
    };
    if operator.ui.confirm(&format!("`{}` in {}: {proposal}?", path.app, path.environment)) {
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, what)
        .because_of(format!("nobody agreed to this proposal: {proposal}"))
        .next("take it with `--yes`, or name another release with `--to`"))
}
