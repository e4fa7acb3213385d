//! `footplate rollback`.

use std::collections::BTreeSet;

use clap::Args;
use footplate_core::name::{AppPath, GroupName, ReleaseId};
use footplate_core::rollout::Rollout;

use super::Operator;
use super::app::{AppArgs, GroupArgs, parse_release};
use super::connection::{Connection, ConnectionArgs};
use super::{deploy, watch};
use crate::api::{self, AppStatus, ReleaseSummary, Wanted};
use crate::client::Client;
use crate::failure::{Exit, Failure};

/// Bring every host back to the release before, or to another one
///
/// With no release named it proposes the newest one that ran before and was not rolled back itself, and asks. A rollback
/// never waits behind a deployment: one that is under way is turned back. The release before stays prepared on the
/// hosts, so no byte is fetched. Process groups that were deployed on their own go back each to what it ran; when that
/// is not the same, `--group` says which.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate rollback shop               propose the release before, and ask
  footplate rollback shop --yes         take what is proposed
  footplate rollback shop --to 1.4.0    a release that ran earlier
  footplate rollback shop --group worker  one process group alone

Exit codes are those of `footplate deploy`: 0 every target is back.")]
pub struct RollbackArgs {
    #[command(flatten)]
    app: AppArgs,
    /// Release to go back to: a version, a commit or a digest [default: the one that is proposed]
    #[arg(long, value_name = "RELEASE", value_parser = parse_release)]
    to: Option<Wanted>,
    #[command(flatten)]
    groups: GroupArgs,
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
    let chosen = args.groups.chosen();
    let (to, groups) = match &args.to {
        None if !args.yes => agree(operator, client, path, chosen).await?,
        named => (named.clone(), chosen),
    };
    let by = operator.by(args.order.reason.as_deref())?;
    let order = api::RollBack { path: path.clone(), to, groups, by };
    let begun = client.roll_back(&order).await.map_err(|error| operator.failed(&what(path), error))?;
    let expected = watch::Expected::of_rollback(&begun);
    deploy::conclude(operator, connection, path, (begun, expected), args.detach).await
}

fn what(path: &AppPath) -> String {
    format!("cannot roll back `{}` in {}", path.app, path.environment)
}

/// Proposes what the controller would take, asks, and returns exactly what was agreed to, and for which process groups (all when
/// none is named): meanwhile it may change.
///
/// No release is named when a rollout under way is turned back whose process groups ran different ones.
async fn agree(
    operator: &Operator,
    client: &Client,
    path: &AppPath,
    groups: BTreeSet<GroupName>,
) -> Result<(Option<Wanted>, BTreeSet<GroupName>), Failure> {
    let what = what(path);
    let status = client.status().await.map_err(|error| operator.failed(&what, error))?;
    let app = status.apps.iter().find(|app| app.path == *path);
    let refused = |because: &str, next: &str| {
        Failure::new(Exit::Refused, what.clone()).because_of(because.to_owned()).next(next)
    };
    let proposal = match app.map(|app| propose(app, &groups)) {
        Some(Ok(Some(proposal))) => proposal,
        Some(Err(because)) => {
            let next = "roll back one with `--group`, or name a release for all with `--to`";
            return Err(refused(&because, next));
        }
        Some(Ok(None)) | None => {
            let next = "name one with `--to`; `footplate history` lists what ran";
            return Err(refused("no earlier release is kept that was not rolled back itself", next));
        }
    };
    let Proposal { words, to, only } = proposal;
    if operator.ui.confirm(&format!("`{}` in {}: {words}?", path.app, path.environment)) {
        return Ok((to.map(|to| Wanted::Name(to.to_string())), only));
    }
    let because = format!("nobody agreed to this proposal: {words}");
    Err(refused(&because, "take it with `--yes`, or name another release with `--to`"))
}

/// Where a rollback goes that names no release.
#[derive(Debug, PartialEq, Eq)]
struct Proposal {
    /// In words.
    words: String,
    /// By its name; absent when each process group goes back to its own.
    to: Option<ReleaseId>,
    /// The process groups that go; all of them when none is named.
    only: BTreeSet<GroupName>,
}

/// Returns what there is to propose, if anything, or why one release cannot be: process groups would go to different ones.
fn propose(app: &AppStatus, groups: &BTreeSet<GroupName>) -> Result<Option<Proposal>, String> {
    if let Some(rollout) = app.rollout.as_ref().filter(|rollout| !rollout.ended) {
        return Ok(turn_back(app, &rollout.record));
    }
    let all: BTreeSet<&GroupName> = match groups.is_empty() {
        true => app.targets.iter().map(|target| &target.target.group).collect(),
        false => groups.iter().collect(),
    };
    let runs = |group: &GroupName| match app.apart.get(group) {
        Some(apart) => (apart.current.as_ref(), apart.proposal.as_ref()),
        None => (app.current.as_ref(), app.proposal.as_ref()),
    };
    let standing: Vec<_> = all.iter().map(|group| (*group, runs(group))).collect();
    let goals: BTreeSet<Option<&ReleaseId>> =
        standing.iter().map(|(_, (_, to))| to.map(|release| &release.id)).collect();
    if goals.len() > 1 {
        let told = standing.iter().map(|(group, (_, to))| match to {
            Some(to) => format!("`{group}` would go back to `{}`", to.id),
            None => format!("`{group}` has nothing to go back to"),
        });
        return Err(told.collect::<Vec<_>>().join(", and "));
    }
    let own = || (app.current.as_ref(), app.proposal.as_ref());
    let (Some(current), Some(to)) = standing.first().map_or_else(own, |(_, one)| *one) else {
        return Ok(None);
    };
    let words = format!("go from {} back to {}", name(current), name(to));
    let words = match groups.is_empty() {
        true => words,
        false => {
            format!("{}: {words}", listed(groups))
        }
    };
    Ok(Some(Proposal { words, to: Some(to.id.clone()), only: groups.clone() }))
}

/// Proposes to turn a rollout back. Should it be over by then, its process groups alone are meant.
fn turn_back(app: &AppStatus, record: &Rollout) -> Option<Proposal> {
    let is_part = app.targets.iter().any(|target| !record.groups.contains(&target.target.group));
    let only = if is_part { record.groups.clone() } else { BTreeSet::new() };
    let words = match (record.former(), only.is_empty()) {
        (None, _) if record.joins => format!("take {} away again", listed(&record.groups)),
        (None, _) => return None,
        (Some(former), true) => format!("turn the rollout back to {former}"),
        (Some(former), false) => format!("turn the rollout of {} back to {former}", listed(&only)),
    };
    let mut from = record.all_from().map(|from| &from.id);
    let first = from.next().cloned();
    let to = first.filter(|first| from.all(|other| other == first));
    Some(Proposal { words, to, only })
}

fn listed(groups: &BTreeSet<GroupName>) -> String {
    groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn name(release: &ReleaseSummary) -> String {
    match &release.summary {
        Some(summary) => format!("{} ({summary})", release.id),
        None => release.id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{GroupStatus, TargetStatus};
    use crate::cli::fixture;

    fn summary(id: &str) -> Option<ReleaseSummary> {
        Some(ReleaseSummary { summary: None, ..ReleaseSummary::from(&fixture::release(id)) })
    }

    fn told(app: &AppStatus, groups: &[&str]) -> String {
        match propose(app, &groups.iter().map(|group| group.parse().unwrap()).collect()) {
            Ok(Some(Proposal { words, to, .. })) => {
                format!("{words}: {}", to.map_or("each its own".to_owned(), |to| to.to_string()))
            }
            Ok(None) => "nothing".to_owned(),
            Err(because) => because,
        }
    }

    #[test]
    fn what_was_rolled_back_is_not_proposed_again() {
        let mut app = fixture::app(Vec::new(), None);
        (app.current, app.previous, app.proposal) = (summary("2"), summary("3"), summary("1"));
        assert_eq!(told(&app, &[]), "go from 2 back to 1: 1");
        app.proposal = None;
        assert_eq!(told(&app, &[]), "nothing");
        app.rollout = Some(fixture::rollout(&[], "waiting"));
        assert_eq!(told(&app, &[]), "turn the rollout back to `1`: 1");
    }

    /// A process group on a host that runs this release.
    fn of(group: &str, release: &str) -> TargetStatus {
        let mut target = fixture::target("web-1", release, &[release], crate::api::Stage::Steady);
        target.target.group = group.parse().unwrap();
        target
    }

    #[test]
    fn process_groups_that_would_go_to_different_releases_are_told_apart() {
        let mut app = fixture::app(vec![of("web", "3"), of("worker", "3")], None);
        (app.current, app.proposal) = (summary("3"), summary("1"));
        let worker = GroupStatus {
            current: summary("3"),
            previous: summary("2"),
            proposal: summary("2"),
            since: None,
            by: None,
        };
        app.apart.insert("worker".parse().unwrap(), worker);
        let both = "`web` would go back to `1`, and `worker` would go back to `2`";
        assert_eq!(told(&app, &[]), both);
        assert_eq!(told(&app, &["worker"]), "worker: go from 3 back to 2: 2");
        assert_eq!(told(&app, &["web"]), "web: go from 3 back to 1: 1");
    }

    #[test]
    fn a_rollout_of_some_process_groups_is_turned_back_for_these_alone() {
        let mut app = fixture::app(vec![of("web", "1"), of("worker", "1")], None);
        let mut rollout = fixture::rollout(&[], "waiting");
        let worker = BTreeSet::from(["worker".parse().unwrap()]);
        rollout.record.groups = worker.clone();
        app.rollout = Some(rollout);
        let proposal = propose(&app, &BTreeSet::new()).unwrap().unwrap();
        assert_eq!(proposal.words, "turn the rollout of worker back to `1`");
        assert_eq!(proposal.only, worker, "another rollback is not agreed to when this one is over by then");
    }

    #[test]
    fn a_rollout_that_only_brings_process_groups_takes_them_away_again() {
        let mut app = fixture::app(vec![of("web", "2"), of("poller", "2")], None);
        let mut rollout = fixture::rollout(&[], "waiting");
        (rollout.record.from, rollout.record.joins) = (None, true);
        rollout.record.groups = BTreeSet::from(["poller".parse().unwrap()]);
        app.rollout = Some(rollout);
        assert_eq!(told(&app, &[]), "take poller away again: each its own");
    }
}
