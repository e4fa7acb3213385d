//! Which process groups an order is about: all of an app's, or those that a person chose.
//!
//! Invariants: a rollout of some process groups changes neither the others nor how the app is delivered; a process group that
//! runs the release already is not moved.

use std::collections::BTreeSet;

use super::{Current, Deploy};
use crate::name::{GroupName, ReleaseId};
use crate::refusal::Refusal;
use crate::release::Release;
use crate::rollout::{Rollout, named_groups, subject};

/// Returns a deployment as it may be done: one of some process groups is delivered as the app is, and has what it names.
pub(super) fn chosen(current: &Current, mut what: Deploy) -> Result<Deploy, Refusal> {
    what.only = what.only.filter(|only| !only.is_empty());
    let Some(only) = &what.only else { return Ok(what) };
    let (path, app) = (&current.path, &current.path.app);
    let refused = |because: String, next: String| {
        let what = format!("cannot deploy `{}` to {}", what.to.id, subject(path, Some(only)));
        Err(Refusal::new(what, because, next))
    };
    if current.track.release.is_none() {
        let next = format!("deploy it whole: `footplate deploy {app}@{}`", what.to.id);
        return refused(
            "the app does not run yet, and its first deployment brings all of it".to_owned(),
            next,
        );
    }
    let missing: Vec<&GroupName> = only.difference(&what.delivery.groups).collect();
    if !missing.is_empty() {
        let because = format!(
            "the release has no {} there; it has {}",
            named_groups(missing),
            named_groups(&what.delivery.groups)
        );
        return refused(because, "name process groups that it has".to_owned());
    }
    let new: Vec<&GroupName> = only.difference(&current.delivery.groups).collect();
    if !new.is_empty() {
        let because =
            format!("{} is new to the app, and only a whole deployment brings it", named_groups(new));
        return refused(because, format!("deploy it whole: `footplate deploy {app}@{}`", what.to.id));
    }
    let arrives = |group: &GroupName| only.contains(group) || current.runs(group, &what.to.id);
    if what.delivery.groups == current.delivery.groups && what.delivery.groups.iter().all(arrives) {
        // Then all of the app runs it, and is delivered as it says.
        what.only = None;
        return Ok(what);
    }
    what.delivery = current.delivery.clone();
    Ok(what)
}

/// Refuses process groups that the app has not.
pub(super) fn refuse_unknown(
    current: &Current,
    only: Option<&BTreeSet<GroupName>>,
    verb: &str,
) -> Result<(), Refusal> {
    let own = &current.delivery.groups;
    let unknown: Vec<&GroupName> = only.into_iter().flatten().filter(|group| !own.contains(*group)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        format!("cannot {verb} {}", subject(&current.path, only)),
        format!("the app has no {}; it has {}", named_groups(unknown), named_groups(own)),
        "name process groups that it has",
    ))
}

/// Refuses to go back to a release that has not all of these process groups.
pub(super) fn refuse_without(
    current: &Current,
    to: &Release,
    only: Option<&BTreeSet<GroupName>>,
) -> Result<(), Refusal> {
    let chosen = only.into_iter().flatten();
    let absent: Vec<&GroupName> = chosen.filter(|group| to.has_services() && !to.serves(group)).collect();
    if absent.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        format!("cannot roll back {} to `{}`", subject(&current.path, only), to.id),
        format!("that release has no {}", named_groups(absent)),
        "name a release that has it with `--to`",
    ))
}

/// Refuses to go back with other process groups than those that a rollout is moving.
pub(super) fn refuse_others(
    current: &Current,
    active: &Rollout,
    only: Option<&BTreeSet<GroupName>>,
) -> Result<(), Refusal> {
    if only.is_none_or(|only| *only == active.groups) {
        return Ok(());
    }
    Err(Refusal::new(
        format!("cannot roll back {}", subject(&current.path, only)),
        format!("rollout {} of {} is {}", active.number, named_groups(&active.groups), active.phase.word()),
        format!("wait for its end, or take that back first with `footplate rollback {}`", current.path.app),
    ))
}

/// Refuses to take process groups to a release that a rollout is only bringing: they ran none before.
pub(super) fn refuse_joining(
    active: &Rollout,
    to: Option<&Release>,
    only: Option<&BTreeSet<GroupName>>,
) -> Result<(), Refusal> {
    let Some(to) = to.filter(|_| active.joins && only.is_some()) else { return Ok(()) };
    Err(Refusal::new(
        format!("cannot roll back {} to `{}`", active.subject(), to.id),
        format!("rollout {} only brings what it moves, and nothing of it ran before", active.number),
        format!("take it away again with `footplate rollback {}`", active.path.app),
    ))
}

/// Lists the process groups that a deployment moves or brings; all it is about when they run the release already.
pub(super) fn moved(current: &Current, what: &Deploy) -> BTreeSet<GroupName> {
    let about = what.only.as_ref().unwrap_or(&what.delivery.groups);
    let behind: BTreeSet<GroupName> =
        about.iter().filter(|group| !current.runs(group, &what.to.id)).cloned().collect();
    if behind.is_empty() { about.clone() } else { behind }
}

/// Returns where these process groups go back to when no release is named: where each of them would, if that is the same.
pub(super) fn proposal(current: &Current, only: Option<&BTreeSet<GroupName>>) -> Result<Release, Refusal> {
    let (app, what) = (&current.path.app, format!("cannot roll back {}", subject(&current.path, only)));
    let groups = only.unwrap_or(&current.delivery.groups);
    let proposed = |group: &GroupName| current.track_of(group).proposal();
    let ids: BTreeSet<Option<&ReleaseId>> =
        groups.iter().map(|group| proposed(group).map(|to| &to.id)).collect();
    if ids.len() > 1 {
        let told = |group: &GroupName| match proposed(group) {
            Some(to) => format!("`{group}` would go back to `{}`", to.id),
            None => format!("`{group}` has nothing to go back to"),
        };
        let because = groups.iter().map(told).collect::<Vec<_>>().join(", and ");
        let next = format!(
            "roll back one with `footplate rollback {app} --group GROUP`, or name a release for all with `--to RELEASE`"
        );
        return Err(Refusal::new(what, because, next));
    }
    groups.first().and_then(proposed).cloned().ok_or_else(|| {
        Refusal::new(
            what,
            "no earlier release is kept that was not rolled back itself",
            format!("name one: `footplate rollback {app} --to RELEASE`, or deploy a better version"),
        )
    })
}
