//! What must be true of every target, computed from the record alone.
//!
//! Invariant: the barrier's generation is that of the forward orders, so a target that turned back has no order left
//! that the open barrier could release.

use std::collections::BTreeMap;

use super::{At, Course, Outcome, Phase, Rollout, targets_of};
use crate::generation::Generation;
use crate::name::{GroupName, HostName, Target};
use crate::release::Release;
use crate::target::{Assignment, Switch};

/// Returns the order of every target that takes part. Sources are left to the controller, which knows the addresses.
///
/// Forward: run what ran before, and switch at the barrier. Back, and after an end with nothing switched: run what ran
/// before, no switch, at a higher generation, so that nobody waits for a barrier that never opens. A host that is set aside
/// goes on with what it runs.
pub fn assignments(rollout: &Rollout) -> BTreeMap<Target, Assignment> {
    if rollout.goes_in_steps() {
        return in_steps(rollout);
    }
    let order = if rollout.leads_forward() { forward } else { back };
    let ordered = |target: Target| (target.clone(), order(rollout, &target.group));
    rollout.participants().map(ordered).chain(left_out(rollout)).collect()
}

fn left_out(rollout: &Rollout) -> impl Iterator<Item = (Target, Assignment)> {
    rollout.set_aside.iter().flat_map(|(host, age)| {
        targets_of(host, &rollout.groups).map(|target| (target.clone(), aside(rollout, &target.group, *age)))
    })
}

/// The orders of a rollout in steps: by each host's position, from the first step on.
fn in_steps(rollout: &Rollout) -> BTreeMap<Target, Assignment> {
    let staged = Course { base: rollout.generation, ..Course::default() };
    let course = rollout.course.as_ref().unwrap_or(&staged);
    let arrived = rollout.outcome().is_some_and(Outcome::keeps_forward_orders);
    let order = |target: &Target| match &rollout.phase {
        Phase::Preparing { .. } | Phase::Holding { .. } => rollout.order_at(target, &staged),
        // A switch is the barrier's; were there one here, its hosts would have their positions all the same.
        Phase::Switching { .. } | Phase::Stepping { .. } | Phase::TurningBack { .. } => {
            rollout.order_at(target, course)
        }
        Phase::Ended { .. } if arrived => rollout.order_at_end(target, course),
        Phase::Ended { .. } if course.way_back.is_some() => rollout.order_at(target, course),
        Phase::Ended { .. } => back(rollout, &target.group),
    };
    let aged = |target: &Target| Assignment { generation: age(rollout, &target.host), ..order(target) };
    rollout.participants().map(|target| (target.clone(), aged(&target))).chain(left_out(rollout)).collect()
}

/// Returns the age of the order of a host that takes part, or that is set aside.
pub fn age(rollout: &Rollout, host: &HostName) -> Generation {
    let Some(course) = rollout.course.as_ref().filter(|_| !rollout.set_aside.contains_key(host)) else {
        return rollout.set_aside.get(host).copied().unwrap_or(rollout.generation);
    };
    let position = course.positions.get(host);
    let by_position = position.map_or(course.base, |position| position.since);
    let arrived = rollout.outcome().is_some_and(Outcome::keeps_forward_orders);
    match &rollout.phase {
        Phase::Preparing { .. } | Phase::Holding { .. } => rollout.generation,
        Phase::Switching { .. } | Phase::Stepping { .. } | Phase::TurningBack { .. } => by_position,
        Phase::Ended { .. } if arrived && position.is_some_and(|position| position.at == At::Over) => {
            by_position
        }
        Phase::Ended { .. } if !arrived && course.way_back.is_some() => by_position,
        Phase::Ended { .. } => rollout.generation,
    }
}

/// Returns the generation that the app's barrier must have reached, once the rollout opened it.
///
/// `None` asks for nothing: whatever stands there stays.
pub fn barrier(rollout: &Rollout) -> Option<Generation> {
    let open = match &rollout.phase {
        _ if rollout.goes_in_steps() => false,
        Phase::Preparing { .. }
        | Phase::Holding { .. }
        | Phase::Stepping { .. }
        | Phase::TurningBack { .. } => false,
        Phase::Switching { .. } => true,
        Phase::Ended { outcome, .. } => outcome.keeps_forward_orders(),
    };
    open.then_some(rollout.generation)
}

/// Returns the releases without repetition, in the order given.
pub(crate) fn distinct<'a>(releases: impl IntoIterator<Item = &'a Release>) -> Vec<Release> {
    let mut kept: Vec<Release> = Vec::new();
    for release in releases {
        if kept.iter().all(|other| other.id != release.id) {
            kept.push(release.clone());
        }
    }
    kept
}

fn forward(rollout: &Rollout, group: &GroupName) -> Assignment {
    let switch = Switch { to: rollout.to.id.clone(), barrier: rollout.generation };
    Assignment { switch: Some(switch), keep: rollout.kept_forward(group), ..back(rollout, group) }
}

fn back(rollout: &Rollout, group: &GroupName) -> Assignment {
    let run = rollout.from_of(group).map(|from| from.id.clone());
    let alone = rollout.policy.pace.alone;
    Assignment { alone, ..Assignment::to_run(rollout.generation, run, rollout.kept_back(group)) }
}

/// Under another delivery the host may never have run the app, so the order names nothing to run: whatever runs stays.
fn aside(rollout: &Rollout, group: &GroupName, generation: Generation) -> Assignment {
    let back = back(rollout, group);
    Assignment { generation, run: back.run.filter(|_| rollout.delivery.is_none()), ..back }
}
