//! Gives orders to a rollout and follows it to its end.
//!
//! Invariants: the exit code tells the end of the rollout, not its beginning; whoever stops watching stops nothing.

mod ending;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use footplate_core::name::{AppPath, GroupName, ReleaseId};
use footplate_core::rollout::{Kind, Rollout};
use serde::Serialize;
use tokio::time::Instant;

use super::Operator;
use super::app::ENVIRONMENT_DEFAULT;
use super::progress::Progress;
use crate::api::{self, AppStatus, HostStatus, OrderVerb, Planned, RolloutStatus, WaitingStatus};
use crate::client::{Client, ClientError};
use crate::failure::{Exit, Failure};

/// How long one call waits for something new.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a controller may be gone before we stop watching.
const ABSENCE_MAX: Duration = Duration::from_secs(60);
/// How long to wait before asking an absent controller again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Over how long the requests of a release that failed are looked for.
const TRAFFIC_OVER: Duration = Duration::from_secs(60);

/// What is said when the controller ends with this process.
pub const UNATTENDED: &str =
    "the controller was hosted here, so the rollout is unattended until another one starts";

/// What every order may carry.
#[derive(clap::Args, Debug)]
pub struct OrderArgs {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// A rollout after an order, for the answer.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Ordered(RolloutStatus);

impl From<RolloutStatus> for Ordered {
    fn from(rollout: RolloutStatus) -> Self {
        Self(rollout)
    }
}

impl fmt::Display for Ordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", title(&self.0), self.0.sentence)
    }
}

/// Renders what a rollout is in a few words: "shop in production, rollout 7 to 1.4.2".
pub fn title(rollout: &RolloutStatus) -> String {
    let record = &rollout.record;
    format!("{} in {}, rollout {} to {}", moved(record), record.path.environment, record.number, record.to.id)
}

/// Names what a rollout moves: `shop`, or `worker of shop` when it was ordered for some process groups alone, or only brings some.
pub fn moved(record: &Rollout) -> String {
    let groups = record.groups.iter().map(ToString::to_string).collect::<Vec<_>>();
    match record.is_partial || record.joins {
        true => format!("{} of {}", groups.join(", "), record.path.app),
        false => record.path.app.to_string(),
    }
}

/// Renders how an app is named on the command line; the usual environment need not be said.
pub fn place(path: &AppPath) -> String {
    match path.environment.as_str() {
        ENVIRONMENT_DEFAULT => path.app.to_string(),
        other => format!("{} --environment {other}", path.app),
    }
}

/// Gives an order to the app's running rollout.
pub async fn order(
    operator: &Operator,
    path: &AppPath,
    verb: OrderVerb,
    args: &OrderArgs,
) -> Result<RolloutStatus, Failure> {
    let order = api::Order { path: path.clone(), verb, by: operator.by(args.reason.as_deref())? };
    let what = format!("cannot give the order to `{}` in {}", path.app, path.environment);
    operator.client()?.order(&order).await.map_err(|error| operator.failed(&what, error))
}

/// The rollout that somebody waits for. One that waits itself has its number only if nothing comes between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    number: u64,
    kind: Kind,
    to: ReleaseId,
    /// The process groups that were chosen; all when empty.
    chosen: BTreeSet<GroupName>,
    /// Whether it ends well when nothing is left of it.
    is_taken_back: bool,
}

impl Expected {
    /// The rollout that an order for a rollback left under way: one of its own, or the one that it takes back.
    pub fn of_rollback(planned: &Planned) -> Self {
        Self { is_taken_back: planned.kind == Kind::Deploy, ..planned.into() }
    }

    /// Tells whether it is this rollout. Of the chosen process groups it moves those that did not run the release already.
    fn is(&self, record: &Rollout) -> bool {
        let same = self.number == record.number && self.kind == record.kind && self.to == record.to.id;
        let are_chosen = record.is_partial && record.groups.is_subset(&self.chosen);
        same && (are_chosen || !record.is_partial && self.chosen.is_empty())
    }
}

impl From<&Planned> for Expected {
    fn from(planned: &Planned) -> Self {
        let Planned { number, kind, to, chosen, .. } = planned;
        let (to, chosen) = (to.clone(), chosen.clone());
        Self { number: *number, kind: *kind, to, chosen, is_taken_back: false }
    }
}

impl From<&RolloutStatus> for Expected {
    fn from(rollout: &RolloutStatus) -> Self {
        let record = &rollout.record;
        let chosen = if record.is_partial { record.groups.clone() } else { BTreeSet::new() };
        let to = record.to.id.clone();
        Self { number: record.number, kind: record.kind, to, chosen, is_taken_back: false }
    }
}

/// Shows a rollout until it is over, and fails as it failed; Ctrl-C ends only the watching.
pub async fn until_the_end(
    operator: &Operator,
    client: &Client,
    path: &AppPath,
    expected: Expected,
) -> Result<(), Failure> {
    tokio::select! {
        ended = to_the_end(operator, client, path, expected) => ended,
        heard = tokio::signal::ctrl_c() => Err(stopped_watching(path, heard)),
    }
}

/// Shows a rollout until it is over, and fails as it failed; for callers who hear Ctrl-C themselves.
pub async fn to_the_end(
    operator: &Operator,
    client: &Client,
    path: &AppPath,
    expected: Expected,
) -> Result<(), Failure> {
    let ended = follow(operator, client, path, &expected).await?;
    // Whether requests got to a release that failed is worth a line, and no failure of its own.
    let traffic = match ended.rollout.exit_code {
        Some(0) => None,
        _ => client.traffic(Some(path), TRAFFIC_OVER).await.ok().and_then(|apps| apps.into_iter().next()),
    };
    ending::conclude(operator, &ended, traffic.as_ref(), expected.is_taken_back)
}

/// What is left of a rollout when it is over.
struct Ended {
    rollout: RolloutStatus,
    app: AppStatus,
    hosts: Vec<HostStatus>,
    elapsed: Duration,
}

async fn follow(
    operator: &Operator,
    client: &Client,
    path: &AppPath,
    expected: &Expected,
) -> Result<Ended, Failure> {
    let mut progress = Progress::new(operator.ui);
    let mut seen = 0;
    let mut absent_since: Option<Instant> = None;
    loop {
        match client.app_status(path, seen, PATIENCE).await {
            Ok(status) => {
                absent_since = None;
                seen = status.change;
                let at = status.at;
                let app = status.apps.into_iter().find(|app| app.path == *path);
                let app = app.ok_or_else(|| lost(path, expected.number))?;
                let Some(rollout) = begun(&app, expected)? else { continue };
                progress.update(&app, rollout, at);
                if rollout.ended {
                    let rollout = rollout.clone();
                    return Ok(Ended { rollout, app, hosts: status.hosts, elapsed: progress.finish() });
                }
            }
            Err(error) => absent_since = Some(bear(operator, &progress, absent_since, error).await?),
        }
    }
}

/// Bears an absent controller for a while: the rollout is not its voice.
async fn bear(
    operator: &Operator,
    progress: &Progress,
    absent_since: Option<Instant>,
    error: ClientError,
) -> Result<Instant, Failure> {
    if absent_since.is_none() {
        progress.say(&format!("{error}; the rollout goes on, asking again"));
    }
    let since = absent_since.unwrap_or_else(Instant::now);
    if since.elapsed() > ABSENCE_MAX || matches!(error, ClientError::Problem(_)) {
        return Err(operator.failed("cannot follow the rollout to its end", error));
    }
    tokio::time::sleep(RETRY_DELAY).await;
    Ok(since)
}

/// Returns the rollout that is waited for once it has begun. Fails when it never will: what it waited for is over and nothing waits
/// any more, or another one waits or began in its place.
fn begun<'a>(app: &'a AppStatus, expected: &Expected) -> Result<Option<&'a RolloutStatus>, Failure> {
    let Some(latest) = &app.rollout else { return Ok(None) };
    let path = &app.path;
    let is_other = |waiting: &&WaitingStatus| waiting.to != expected.to || waiting.groups != expected.chosen;
    let other = app.waiting.as_ref().filter(is_other);
    match latest.record.number.cmp(&expected.number) {
        Ordering::Greater => Err(overtaken(path, expected.number, latest)),
        Ordering::Equal if expected.is(&latest.record) => Ok(Some(latest)),
        Ordering::Equal => {
            let record = &latest.record;
            let (actor, to, what) = (&record.actor, &record.to.id, moved(record));
            let instead = format!("{actor} began the one of {what} to `{to}` in its place");
            Err(dropped(path, expected, instead))
        }
        Ordering::Less if let Some(other) = other => {
            Err(dropped(path, expected, format!("{}'s `{}` waits in its place", other.actor, other.to)))
        }
        Ordering::Less if latest.ended && app.waiting.is_none() => {
            let because = "the one before it did not arrive, or somebody took it back".to_owned();
            Err(dropped(path, expected, because))
        }
        Ordering::Less => Ok(None),
    }
}

fn dropped(path: &AppPath, expected: &Expected, because: String) -> Failure {
    let (place, to) = (place(path), &expected.to);
    Failure::new(Exit::Failed, format!("the deployment of `{to}` of `{}` did not begin", path.app))
        .because_of(because)
        .next(format!("see `footplate history {place}`, and deploy it again if it is well"))
}

fn lost(path: &AppPath, number: u64) -> Failure {
    Failure::new(Exit::Failed, format!("cannot follow rollout {number} of `{}`", path.app))
        .because_of(format!("the controller knows no `{}` in {} any more", path.app, path.environment))
}

fn overtaken(path: &AppPath, number: u64, newer: &RolloutStatus) -> Failure {
    Failure::new(Exit::Failed, format!("rollout {number} of `{}` was overtaken", path.app))
        .because_of(format!(
            "{} began rollout {} to {}",
            newer.record.actor, newer.record.number, newer.record.to.id
        ))
        .next(format!("see `footplate history {}`", place(path)))
}

fn stopped_watching(path: &AppPath, heard: std::io::Result<()>) -> Failure {
    let failure = Failure::new(Exit::Interrupted, "stopped watching; the rollout goes on");
    let failure = match heard {
        Ok(()) => failure,
        Err(error) => failure.because(&error),
    };
    let place = place(path);
    failure.next(format!("`footplate status {place}` shows it, `footplate abort {place}` stops it"))
}

#[cfg(test)]
mod tests;
