//! What halts a gate: a deployment that is taken back by a fact or by a person, by the rule that it was planned with.
//!
//! Invariants: a rollback never halts by itself, only what it takes back; what takes a deployment's place takes nothing
//! back; what users never had halts only where the rule says so.

use std::collections::BTreeSet;

use super::{Current, Order};
use crate::gate::{Fixed, Halt, Halted};
use crate::moment::Moment;
use crate::name::GroupName;
use crate::release::Release;
use crate::rollout::{Kind, Outcome, Phase, Rollout, Why};

/// Returns what halts the gate when `before` becomes `after` at `now`, by a fact or by a person's order to it.
pub(super) fn by_step(before: &Rollout, after: &Rollout, now: Moment) -> Option<Halted> {
    if before.kind != Kind::Deploy || !before.is_active() || is_going_back(before) {
        return None;
    }
    let (why, went_back) = match &after.phase {
        Phase::TurningBack { why, .. } => (why, true),
        Phase::Ended { outcome: Outcome::TurnedBack { why, .. }, .. } => (why, true),
        Phase::Ended { outcome: Outcome::Failed { why, .. } | Outcome::LeftAsIs { why }, .. } => (why, false),
        _ => return None,
    };
    let halts = match before.policy.halt {
        Halt::Never => false,
        Halt::Users => went_back && before.has_met_users(),
        Halt::Always => true,
    };
    halts.then(|| halted(before, why.clone(), now))
}

/// Returns what halts the gate when a person rolls back an app on which nothing is under way: users had what runs.
///
/// Nothing halts it when `to` was rolled back itself before: then the app goes on again.
pub(super) fn by_rollback(
    current: &Current,
    latest: Option<&Rollout>,
    (to, only): (&Release, Option<&BTreeSet<GroupName>>),
    by: &Order,
    now: Moment,
) -> Option<Halted> {
    let group = only.and_then(BTreeSet::first);
    let track = group.map_or(&current.track, |group| current.track_of(group));
    let was_rolled_back =
        track.past.iter().any(|past| past.release.id == to.id && past.left_by == Kind::Rollback);
    let release = track.release.as_ref().filter(|release| release.id != to.id)?;
    if current.delivery.policy.halt == Halt::Never || was_rolled_back {
        return None;
    }
    // The deployment that brought it, when that is still known; else the rollout that takes it back.
    let brought = latest.filter(|latest| latest.to.id == release.id).map(|latest| latest.number);
    Some(Halted {
        rollout: brought.unwrap_or(current.rollouts + 1),
        release: release.id.clone(),
        since: now,
        sentence: told(by),
        output: String::new(),
        is_judged: latest.is_some_and(|latest| latest.to.id == release.id && latest.judging().is_some()),
        fixed_by: None,
    })
}

/// Returns what halts the gate when a person rolls back to another release than the one that a rollout under way would go back to.
pub(super) fn by_replacement(
    current: &Current,
    active: &Rollout,
    back: (&Release, Option<&BTreeSet<GroupName>>),
    by: &Order,
    now: Moment,
) -> Option<Halted> {
    match active.kind == Kind::Deploy && active.has_met_users() {
        true if active.policy.halt == Halt::Never => None,
        true => Some(halted(active, told(by).into(), now)),
        // What runs was brought by an earlier one.
        false => by_rollback(current, None, back, by, now),
    }
}

/// Returns the deployment marked as the fix that arrived when `before` became `after`.
pub(super) fn fixed_by(before: &Rollout, after: &Rollout) -> Option<Fixed> {
    let arrived = before.is_active() && after.outcome().is_some_and(Outcome::arrived);
    let is_fix = arrived && after.fix.is_some();
    is_fix.then(|| Fixed { rollout: after.number, release: after.to.id.clone() })
}

fn is_going_back(rollout: &Rollout) -> bool {
    matches!(rollout.phase, Phase::TurningBack { .. })
}

fn told(by: &Order) -> String {
    match &by.reason {
        Some(reason) => format!("{} rolled it back, because {reason}", by.actor),
        None => format!("{} rolled it back", by.actor),
    }
}

fn halted(rollout: &Rollout, why: Why, now: Moment) -> Halted {
    Halted {
        rollout: rollout.number,
        release: rollout.to.id.clone(),
        since: now,
        sentence: why.sentence,
        output: why.output,
        is_judged: rollout.is_heard(),
        fixed_by: None,
    }
}
