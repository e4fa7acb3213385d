//! One target: what the controller wants of it, what the agent saw, and what it does next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{GroupName, ReleaseId};
use crate::release::{Release, duration_millis};

mod acceptance;
mod failure;
mod plan;
mod source;

pub use acceptance::{Acceptance, AcceptanceHook, Trial};
pub use failure::{Failure, Lapse, OUTPUT_TAIL_BYTES_MAX};
pub use plan::{Plan, plan, retry_delay};
pub use source::Source;

/// What the controller wants of one target. Written by the controller alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The age of this order; an agent that has obeyed a higher one ignores it.
    pub generation: Generation,
    /// What runs now, or until the switch below; nothing on a target that never ran the app.
    pub run: Option<ReleaseId>,
    /// Whether nothing may be up where `run` names nothing: what was started is stopped. Else whatever is up stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
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
    /// Where the app has left the target: when nothing may be up any more. The controller keeps it here for itself; the order that
    /// comes then says so by `idle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves_at: Option<Moment>,
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
        let (switch, beside, accept, leaves_at, sources) = (None, None, None, None, Vec::new());
        let (idle, alone, linger) = (false, false, Duration::ZERO);
        Self { generation, run, idle, switch, beside, accept, alone, linger, leaves_at, keep, sources }
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

    /// Tells whether this release has a service to run on targets of this process group.
    pub fn serves(&self, group: &GroupName, id: &ReleaseId) -> bool {
        self.release(id).is_some_and(|release| release.serves(group))
    }

    /// Tells whether the service of this release may be up when the barrier stands at `barrier`.
    ///
    /// Also what is live may, while the barrier leaves open what must run.
    pub fn lets_up(&self, id: &ReleaseId, barrier: Option<Generation>) -> bool {
        let is_wanted = self.wanted(barrier).map_or(!self.idle, |wanted| wanted == id);
        is_wanted || self.beside.as_ref() == Some(id)
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

impl Verb {
    /// All of them.
    pub const ALL: [Verb; 6] =
        [Verb::Prepare, Verb::Activate, Verb::Start, Verb::Accept, Verb::Stop, Verb::Clean];
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
