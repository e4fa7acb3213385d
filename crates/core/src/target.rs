//! One target: what the controller wants of it, what the agent saw, and what it does next.
//!
//! Invariants: a release is activated or started only when it is prepared; nothing that is live, wanted or kept is
//! cleaned; no service is stopped before what follows it on its host is prepared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::ReleaseId;
use crate::release::{Release, duration_millis};

mod acceptance;
mod source;

pub use acceptance::{Acceptance, AcceptanceHook, Trial};
pub use source::Source;

/// What the controller wants of one target. Written by the controller alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The age of this order; an agent that has obeyed a higher one ignores it.
    pub generation: Generation,
    /// What runs now, or until the switch below; nothing on a target that never ran the app.
    pub run: Option<ReleaseId>,
    /// What runs once the app's barrier has reached a generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Switch>,
    /// What must be up beside it, for services: the new release before it is let in, or the old one while it drains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<ReleaseId>,
    /// What must pass the acceptance hook, for services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Acceptance>,
    /// Whether a service must be stopped before what follows it starts: never two at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// How long a service stays up after what follows it became ready, where no rollout waits for routers to let it go: they
    /// follow meanwhile, and it finishes its requests.
    #[serde(default, with = "duration_millis", skip_serializing_if = "Duration::is_zero")]
    pub linger: Duration,
    /// The releases that must be prepared and stay so, whole, so that the agent needs no other key.
    pub keep: Vec<Release>,
    /// Where artifacts can be fetched from, best first.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// The second half of a barrier rollout's order: activate `to` once the barrier reached `barrier`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The release to activate.
    pub to: ReleaseId,
    /// The generation that the barrier must have reached.
    pub barrier: Generation,
}

impl Assignment {
    /// Returns the plain order: run this, keep these, and nothing else.
    pub fn to_run(generation: Generation, run: Option<ReleaseId>, keep: Vec<Release>) -> Self {
        let (switch, beside, accept, alone, sources) = (None, None, None, false, Vec::new());
        Self { generation, run, switch, beside, accept, alone, linger: Duration::ZERO, keep, sources }
    }

    /// Returns what must run when the barrier stands at `barrier`; `None` leaves as it is whatever runs.
    ///
    /// A barrier beyond the switch's was opened for a later order, which this host has not got yet (it was away): this
    /// order may have failed meanwhile, so it neither switches nor goes back, and waits for the new order.
    pub fn wanted(&self, barrier: Option<Generation>) -> Option<&ReleaseId> {
        match (&self.switch, barrier) {
            (Some(switch), Some(reached)) if reached == switch.barrier => Some(&switch.to),
            (Some(switch), Some(reached)) if reached > switch.barrier => None,
            _ => self.run.as_ref(),
        }
    }

    /// Tells whether the barrier stands beyond this order's switch: a newer order is on its way to this host.
    pub fn is_outdated(&self, barrier: Option<Generation>) -> bool {
        self.switch.as_ref().is_some_and(|switch| barrier.is_some_and(|reached| reached > switch.barrier))
    }

    /// Tells whether this release is only kept: neither what must run now nor what the switch leads to.
    pub fn only_keeps(&self, id: &ReleaseId, barrier: Option<Generation>) -> bool {
        self.wanted(barrier) != Some(id) && self.switch.as_ref().is_none_or(|switch| switch.to != *id)
    }

    /// Tells whether this release has a service to run.
    pub fn serves(&self, id: &ReleaseId) -> bool {
        self.release(id).is_some_and(Release::has_services)
    }

    /// Tells whether the service of this release may be up when the barrier stands at `barrier`.
    ///
    /// Also what is live may, while the barrier leaves open what must run.
    pub fn lets_up(&self, id: &ReleaseId, barrier: Option<Generation>) -> bool {
        self.beside.as_ref() == Some(id) || self.wanted(barrier).is_none_or(|wanted| wanted == id)
    }

    /// Returns the kept release with this id.
    pub fn release(&self, id: &ReleaseId) -> Option<&Release> {
        self.keep.iter().find(|release| release.id == *id)
    }
}

/// What an agent saw of one target. Written by that agent alone; observed, never believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The highest generation obeyed.
    pub generation: Generation,
    /// What `live` is, read from the disk.
    pub live: Option<ReleaseId>,
    /// When `live` became so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_since: Option<Moment>,
    /// The releases with a completion mark.
    pub prepared: BTreeSet<ReleaseId>,
    /// The services that are up, each with how it is; none for files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub up: BTreeMap<ReleaseId, Up>,
    /// What failed and has not succeeded since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<ReleaseId, Failure>,
    /// What somebody else changed under the agent, until it is repaired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// What the agent waits for that is nobody's failure, in a few words: `no artifact source answers: …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

impl Report {
    /// Tells whether this release is live and its activation went well.
    ///
    /// `live` alone does not say so: a release whose `activated` hook failed is live and still has to be activated.
    pub fn runs(&self, release: &ReleaseId) -> bool {
        self.live.as_ref() == Some(release) && self.failure(release, Verb::Activate).is_none()
    }

    /// Tells whether the service of this release is up and healthy.
    pub fn is_ready(&self, release: &ReleaseId) -> bool {
        self.up.get(release).is_some_and(|up| up.readiness == Readiness::Ready)
    }

    /// Returns how this verb failed on this release and has not succeeded since.
    pub fn failure(&self, release: &ReleaseId, verb: Verb) -> Option<&Failure> {
        self.failed.get(release).filter(|failure| failure.verb == verb)
    }
}

/// A service that was started and has not been stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    /// How it is.
    pub readiness: Readiness,
    /// Where it listens (`ADDRESS:PORT`); nothing for a service without a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Since when it is so.
    pub since: Moment,
    /// How often the acceptance hook passed on it, as the order counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub accepted: u32,
}

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// It has not been healthy for long enough yet.
    Starting,
    /// It may take requests.
    Ready,
    /// It was ready, and is not now.
    Unready,
}

/// Why a release could not be prepared, activated or cleaned on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was tried.
    pub verb: Verb,
    /// The generation it was tried for.
    pub generation: Generation,
    /// Why it failed, in a sentence.
    pub reason: String,
    /// The last lines it printed; at most [`OUTPUT_TAIL_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was last tried.
    pub at: Moment,
}

/// The most of a script's output that goes into a report; the whole of it is read with `footplate logs`.
pub const OUTPUT_TAIL_BYTES_MAX: usize = 2048;

/// What can be done to a release on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Fetch, unpack, run the prepare hook, mark as complete.
    Prepare,
    /// Switch `live`, run the activated hook.
    Activate,
    /// Start its service and wait until it is healthy. A service that dies later fails this, too.
    Start,
    /// Run the acceptance hook against it.
    Accept,
    /// Stop its service.
    Stop,
    /// Delete.
    Clean,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Prepare => "prepare",
            Verb::Activate => "activate",
            Verb::Start => "start",
            Verb::Accept => "accept",
            Verb::Stop => "stop",
            Verb::Clean => "clean",
        })
    }
}

/// One thing for the agent to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make this release live.
    Activate(ReleaseId),
    /// Stop the service of this release.
    Stop(ReleaseId),
    /// Start the service of this release.
    Start(ReleaseId),
    /// Run the acceptance hook against the service of this release.
    Accept(ReleaseId),
    /// Make this release ready.
    Prepare(ReleaseId),
    /// Remove this release.
    Clean(ReleaseId),
}

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
/// Takes the newest assignment, the barrier as last read, what is on the disk, and the time. Switching comes first so
/// that a rollback never waits behind a download; what must run is prepared before anything that is only kept;
/// cleaning comes last, when nothing is left to prepare, to switch or to wait for. A service is switched to once it is
/// healthy, and the one before it is stopped after that; the other way round where two may never run at once.
///
/// The barrier must have been read after the assignment: one remembered from before a store was restored could open
/// an order that nobody opened. An agent whose `live` is not `run` reads it before its first plan, so that a host that
/// joins after the switch does not pass through the old release.
pub fn plan(want: &Assignment, barrier: Option<Generation>, have: &Report, now: Moment) -> Plan {
    let mut plan = Plan::default();
    let wanted = want.wanted(barrier);
    let unsettled = wanted.filter(|release| !have.runs(release));
    let can_run = |id: &&ReleaseId| have.prepared.contains(*id) && (!want.serves(id) || have.is_ready(id));
    if let Some(release) = unsettled.filter(can_run) {
        plan.push_or_wait(Action::Activate(release.clone()), want, have, now);
    }
    for action in services(want, barrier, have) {
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
fn services(want: &Assignment, barrier: Option<Generation>, have: &Report) -> Vec<Action> {
    let wanted = want.wanted(barrier);
    let prepared = |id: &&ReleaseId| have.prepared.contains(*id);
    // What follows must be there first: on the disk where two may never run at once, else in charge.
    let followed = match want.alone {
        true => wanted.is_some_and(|id| prepared(&id)),
        false => wanted.is_some_and(|id| have.runs(id) && (!want.serves(id) || have.up.contains_key(id))),
    };
    let mut leaving = have.up.keys().filter(|id| !want.lets_up(id, barrier)).peekable();
    let is_free = !want.alone || leaving.peek().is_none();
    let stops =
        leaving.filter(|id| followed || have.live.as_ref() != Some(*id)).map(|id| Action::Stop(id.clone()));
    let due = wanted.into_iter().chain(&want.beside).filter(|id| want.serves(id)).filter(prepared);
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

impl Action {
    /// Returns the release and what is done to it.
    pub fn parts(&self) -> (Verb, &ReleaseId) {
        match self {
            Action::Activate(release) => (Verb::Activate, release),
            Action::Stop(release) => (Verb::Stop, release),
            Action::Start(release) => (Verb::Start, release),
            Action::Accept(release) => (Verb::Accept, release),
            Action::Prepare(release) => (Verb::Prepare, release),
            Action::Clean(release) => (Verb::Clean, release),
        }
    }
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
