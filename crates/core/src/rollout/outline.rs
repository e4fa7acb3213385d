//! What a rollout in steps will do and how each step is undone, and where it is, in words that every place prints as they are.
//!
//! Invariant: a step's undo is said before it is done; both follow from the record alone.

use std::time::Duration;

use super::outcome::count;
use super::{Goal, Part, Phase, Rollout, WayBack};
use crate::moment::in_words;
use crate::release::{Release, Service};
use crate::traffic::Share;

/// One step, before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutline {
    /// What it does.
    pub does: String,
    /// How it is undone when it fails, or when somebody aborts after it.
    pub undo: String,
}

/// Lists the steps of a rollout with their undo; nothing for one that switches all at once.
pub fn outline(rollout: &Rollout) -> Vec<StepOutline> {
    if !rollout.goes_in_steps() {
        return Vec::new();
    }
    let mut before = Goal { up: 0, share: None, over: 0 };
    let goals = rollout.goals().into_iter().zip(0..);
    let steps = goals.map(|(goal, step)| {
        let does =
            [asked(rollout), Some(does(rollout, before, goal)), accepted(rollout), watched(rollout, step)];
        before = goal;
        let does = does.into_iter().flatten().collect::<Vec<_>>().join(", ");
        StepOutline { does, undo: undo(rollout, goal) }
    });
    steps.collect()
}

fn asked(rollout: &Rollout) -> Option<String> {
    let asks = rollout.policy.pace.hold_steps && !rollout.is_first();
    asks.then(|| format!("after `footplate promote {}`", rollout.path.app))
}

fn accepted(rollout: &Rollout) -> Option<String> {
    let accepts = rollout.policy.pace.accept && rollout.to.has_services();
    accepts.then(|| "the acceptance hook must pass".to_owned())
}

fn watched(rollout: &Rollout, step: u32) -> Option<String> {
    let time = rollout.time_for(step, Part::Watching);
    (time > Duration::ZERO).then(|| format!("watch it for {}", in_words(time)))
}

fn does(rollout: &Rollout, before: Goal, goal: Goal) -> String {
    let to = &rollout.to.id;
    let all = rollout.hosts.len();
    let further = match goal.up - before.up {
        0 => None,
        number if number == all && all > 1 => Some(format!("all {}", count(all, "host"))),
        number if before.up == 0 => Some(format!("{number} of {}", count(all, "host"))),
        number => Some(format!("{number} more ({} of {})", goal.up, count(all, "host"))),
    };
    let Some(from) = rollout.former() else {
        return format!("start `{to}` on {}", further.unwrap_or_default());
    };
    let share = |share: Share| match share {
        Share::ALL => "all requests".to_owned(),
        share => format!("{share} of the requests"),
    };
    match (goal.share, further) {
        (Some(_), Some(on)) if !takes_requests(rollout) => format!("start `{to}` beside {from} on {on}"),
        (Some(_), None) if !takes_requests(rollout) => {
            format!("leave `{to}` up beside {from} on {}", count(goal.up, "host"))
        }
        (Some(part), Some(on)) => format!("start `{to}` beside {from} on {on}, give it {}", share(part)),
        (Some(part), None) => format!("give `{to}` {}", share(part)),
        (None, Some(on)) if rollout.runs_beside() => {
            let requests = if takes_requests(rollout) { ", move their requests to it" } else { "" };
            format!("start `{to}` on {on}{requests}, stop {from} there")
        }
        (None, Some(on)) if rollout.leaves_services() => match takes_requests(rollout) {
            true => format!(
                "let the requests to {from} finish on {on}, stop {}, start `{to}`",
                rollout.of_former("it", "them")
            ),
            false => format!("stop {from} on {on}, start `{to}`"),
        },
        (None, Some(on)) => format!("activate `{to}` on {on}"),
        (None, None) => format!("stop {from} on all {}", count(all, "host")),
    }
}

fn undo(rollout: &Rollout, goal: Goal) -> String {
    let (to, gone) = (&rollout.to.id, count(goal.over, "host"));
    let former = |one: &str, several: &str| rollout.former_does(one, several).unwrap_or_default();
    let again = former("starts again", "start again");
    match (rollout.runs_beside(), takes_requests(rollout)) {
        _ if rollout.is_first() => "there is nothing to go back to yet".to_owned(),
        (_, true) if rollout.joins && rollout.to.has_services() => {
            format!("the requests to `{to}` finish on {gone}, it stops")
        }
        _ if rollout.joins && rollout.to.has_services() => format!("`{to}` stops on {gone}"),
        _ if rollout.joins => format!("nothing uses `{to}` on {gone}"),
        (true, false) if goal.over == 0 => format!("{}, `{to}` stops", former("is still up", "are still up")),
        (true, true) if goal.over == 0 => {
            let back =
                former("is still up and gets its requests back", "are still up and get their requests back");
            format!("{back}, `{to}` drains and stops")
        }
        (true, false) => format!("{again} on {gone}, `{to}` stops"),
        (true, true) => {
            let again = former(
                &format!("starts again on {gone} and takes the requests"),
                &format!("start again on {gone} and take the requests"),
            );
            format!("{again}, `{to}` drains and stops")
        }
        (false, true) if rollout.leaves_services() => {
            format!("the requests to `{to}` finish on {gone}, it stops, {again}")
        }
        (false, false) if rollout.leaves_services() => format!("`{to}` stops on {gone}, {again}"),
        (false, _) => format!("{} again on {gone}", former("becomes active", "become active")),
    }
}

/// Tells whether what it moves answers requests, or did before; workers and schedules do not.
pub(super) fn takes_requests(rollout: &Rollout) -> bool {
    let answers = |release: &Release, group| {
        !release.has_services() || release.service(group).is_some_and(Service::takes_connections)
    };
    let of_group = |group| rollout.from_of(group).into_iter().chain([&rollout.to]);
    rollout.groups.iter().any(|group| of_group(group).any(|release| answers(release, group)))
}

/// Says where a rollout in steps is: which step of how many, its part, and what it is about; nothing for any other.
pub fn whereabouts(rollout: &Rollout) -> Option<String> {
    let to = &rollout.to.id;
    match &rollout.phase {
        Phase::Stepping { step, part, .. } => {
            let goal = rollout.goal(*step);
            let hosts = format!("on {} of {}", goal.up, count(rollout.hosts.len(), "host"));
            let about = match goal.share.filter(|_| takes_requests(rollout)) {
                Some(share) => format!("{share} of the requests to `{to}`, {hosts}"),
                None => format!("`{to}` {hosts}"),
            };
            Some(format!("step {} of {}, {}: {about}", step + 1, rollout.goals().len(), part.word()))
        }
        Phase::TurningBack { .. } => {
            let back = match rollout.former() {
                Some(from) => format!("on the way back to {from}"),
                None => "on the way back".to_owned(),
            };
            let former = |one: &str, several: &str| rollout.former_does(one, several).unwrap_or_default();
            let word = match rollout.way_back()? {
                WayBack::Restoring => former("comes up where it is gone", "come up where they are gone"),
                WayBack::Shifting if rollout.joins => format!("`{to}` takes no more requests"),
                WayBack::Shifting => former("takes all requests", "take all requests"),
                WayBack::Draining => format!("`{to}` finishes its requests"),
                WayBack::Stopping => format!("`{to}` is stopped"),
            };
            Some(format!("{back}: {word}"))
        }
        Phase::Preparing { .. } | Phase::Holding { .. } | Phase::Switching { .. } | Phase::Ended { .. } => {
            None
        }
    }
}
