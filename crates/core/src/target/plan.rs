//! What one target does next.
//!
//! Invariants: a release is activated or started only when it is prepared; nothing that is live, wanted or kept is cleaned; no
//! service is stopped before what follows it on its host is prepared.

use std::time::Duration;

use super::{Acceptance, Action, Assignment, Report};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{GroupName, ReleaseId};

/// What a target does next and what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now, in order.
    pub actions: Vec<Action>,
    /// The barrier to watch, also while actions run: the release behind it is prepared and only the switch is missing.
    pub barrier: Option<Generation>,
    /// When a failed action may be tried again, or a service that lingers may be stopped.
    pub retry_at: Option<Moment>,
}

/// Plans what one target does next: switch, stop and start, then prepare, then clean.
///
/// Takes its process group, the newest assignment, the barrier as last read, what is on the disk, and the time. Switching comes first so
/// that a rollback never waits behind a download; what must run is prepared before anything that is only kept;
/// cleaning comes last, when nothing is left to prepare, to switch or to wait for. A service is switched to once it is
/// healthy, and the one before it is stopped after that; the other way round where two may never run at once.
///
/// The barrier must have been read after the assignment: one remembered from before a store was restored could open
/// an order that nobody opened. An agent whose `live` is not `run` reads it before its first plan, so that a host that
/// joins after the switch does not pass through the old release.
pub fn plan(
    group: &GroupName,
    want: &Assignment,
    barrier: Option<Generation>,
    have: &Report,
    now: Moment,
) -> Plan {
    let mut plan = Plan::default();
    let wanted = want.wanted(barrier);
    let unsettled = wanted.filter(|release| !have.runs(release));
    let is_up = |id: &ReleaseId| !want.serves(group, id) || have.is_ready(id);
    let can_run = |id: &&ReleaseId| have.prepared.contains(*id) && is_up(id);
    if let Some(release) = unsettled.filter(can_run) {
        plan.push_or_wait(Action::Activate(release.clone()), want, have, now);
    }
    for action in services(group, want, barrier, have) {
        match lingers_until(&action, want, barrier, have).filter(|until| *until > now) {
            None => plan.push_or_wait(action, want, have, now),
            Some(until) => plan.look_again(until),
        }
    }
    if plan.actions.is_empty() {
        for release in missing(want, unsettled, have) {
            plan.push_or_wait(Action::Prepare(release.clone()), want, have, now);
        }
    }
    plan.barrier = awaited_barrier(want, barrier, have);
    let idle = plan.actions.is_empty() && plan.retry_at.is_none() && plan.barrier.is_none();
    if idle && unsettled.is_none() && !want.is_outdated(barrier) {
        for release in unwanted(want, have) {
            plan.push_or_wait(Action::Clean(release.clone()), want, have, now);
        }
    }
    plan
}

/// Lists what must be done to services: stop what may not be up any more, start what must be, let it be accepted.
fn services(group: &GroupName, want: &Assignment, barrier: Option<Generation>, have: &Report) -> Vec<Action> {
    let wanted = want.wanted(barrier);
    let prepared = |id: &&ReleaseId| have.prepared.contains(*id);
    // What follows must be there first: on the disk where two may never run at once, else in charge.
    let followed = match wanted {
        None => want.idle,
        Some(id) if want.alone => prepared(&id),
        Some(id) => have.runs(id) && (!want.serves(group, id) || have.up.contains_key(id)),
    };
    let mut leaving = have.up.keys().filter(|id| !want.lets_up(id, barrier)).peekable();
    let is_free = !want.alone || leaving.peek().is_none();
    let stops =
        leaving.filter(|id| followed || have.live.as_ref() != Some(*id)).map(|id| Action::Stop(id.clone()));
    let due = wanted.into_iter().chain(&want.beside).filter(|id| want.serves(group, id)).filter(prepared);
    let starts = due.filter(|id| is_free && !have.up.contains_key(*id)).map(|id| Action::Start(id.clone()));
    let is_due = |accept: &&Acceptance| {
        have.is_ready(&accept.release)
            && have.up.get(&accept.release).is_some_and(|up| up.accepted < accept.times)
    };
    let tried = want.accept.iter().filter(is_due).map(|accept| Action::Accept(accept.release.clone()));
    stops.chain(starts).chain(tried).collect()
}

/// Returns until when a service that leaves stays up all the same: for a while from the moment on at which what follows it is ready.
fn lingers_until(
    action: &Action,
    want: &Assignment,
    barrier: Option<Generation>,
    have: &Report,
) -> Option<Moment> {
    let is_followed = matches!(action, Action::Stop(_)) && !want.alone;
    let follower = want.wanted(barrier).filter(|_| is_followed).and_then(|id| have.up.get(id))?;
    Some(follower.since + want.linger)
}

/// Returns how long after its last try a failed action may be tried again: 5 s, doubled each time, at most 5 min.
pub fn retry_delay(attempts: u32) -> Duration {
    Duration::from_secs(5u64.saturating_mul(1 << attempts.saturating_sub(1).min(6)).min(300))
}

impl Plan {
    /// Tells whether an action that runs already is still what must be done first; if not, it must be cut short.
    pub fn goes_on_with(&self, running: &Action) -> bool {
        self.actions.first() == Some(running)
    }

    /// Adds the action, or the time when it may be tried again after a failure under the same order.
    ///
    /// A newer order tries again at once: a person asked, and waits for an answer that belongs to this order.
    fn push_or_wait(&mut self, action: Action, want: &Assignment, have: &Report, now: Moment) {
        let (verb, release) = action.parts();
        let failure = have.failed.get(release);
        let same = failure.filter(|failure| failure.verb == verb && failure.generation >= want.generation);
        let retry_at = same.map(|failure| failure.at + retry_delay(failure.attempts));
        match retry_at.filter(|at| *at > now) {
            None => self.actions.push(action),
            Some(at) => self.look_again(at),
        }
    }

    fn look_again(&mut self, at: Moment) {
        self.retry_at = Some(self.retry_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Lists the kept releases without a completion mark; what must run now stands first.
fn missing<'a>(
    want: &'a Assignment,
    unsettled: Option<&'a ReleaseId>,
    have: &'a Report,
) -> impl Iterator<Item = &'a ReleaseId> {
    let kept = want.keep.iter().map(|release| &release.id);
    let first = kept.clone().filter(move |id| Some(*id) == unsettled);
    let others = kept.filter(move |id| Some(*id) != unsettled);
    first.chain(others).filter(|id| !have.prepared.contains(*id))
}

/// Returns the barrier to watch: not yet reached, and the release behind it is prepared.
fn awaited_barrier(want: &Assignment, barrier: Option<Generation>, have: &Report) -> Option<Generation> {
    let switch = want.switch.as_ref().filter(|switch| have.prepared.contains(&switch.to))?;
    barrier.is_none_or(|reached| reached < switch.barrier).then_some(switch.barrier)
}

/// Lists what may go: prepared, but neither live nor kept nor named by the order.
fn unwanted<'a>(want: &'a Assignment, have: &'a Report) -> impl Iterator<Item = &'a ReleaseId> {
    have.prepared.iter().filter(move |id| {
        let named = want.run.as_ref() == Some(*id) || want.switch.as_ref().is_some_and(|s| s.to == **id);
        let idle = have.live.as_ref() != Some(*id) && !have.up.contains_key(*id);
        want.release(id).is_none() && idle && !named
    })
}
