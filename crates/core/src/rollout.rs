//! Moving an app's targets from one release to another: a pure state machine.
//!
//! Invariants: what must be true of every target is computed from the record alone ([`assignments`], [`barrier`]);
//! no target may activate before every required target reported the release prepared; turning back takes a higher
//! generation; every waiting phase has a deadline and says what it waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gate::Fix;
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{Actor, AppPath, GroupName, HostName, Target};
use crate::release::Release;
use crate::target::Report;
use crate::traffic::Followed;

mod announce;
mod course;
mod delivery;
mod following;
mod judged;
mod leaving;
mod obey;
mod observe;
mod orders;
mod outcome;
mod outline;
mod pace;
mod placing;
mod plan;
mod policy;
mod reached;
mod returning;
mod standing;
mod step;
mod stepping;
mod strategy;
mod waiting;

pub use announce::{Announcement, announce};
pub use course::{At, Course, Part, Position, WayBack};
pub use delivery::Delivery;
pub use judged::Judged;
pub use leaving::{Leaving, divided};
pub(crate) use leaving::{named_groups, subject};
pub(crate) use orders::distinct;
pub use orders::{age, assignments, barrier};
pub use outcome::{Class, Few, NAMED_MAX, Outcome, REASON_CHARS_MAX, Why, describe};
pub use outline::{StepOutline, outline, whereabouts};
pub use pace::Pace;
pub use plan::{Request, plan};
pub(crate) use policy::is_usual;
pub use policy::{During, OnFailedActivation, OnVanished, Policy};
pub use step::{Command, Event, Step, step};
pub use strategy::{
    Goal, NotAPortion, Portion, Senseless, Strategy, StrategyWord, batch_default, goals, ramp_default,
};
pub use waiting::{Missing, Progress, TargetState, WaitingOn, missing, progress, waiting_on};

/// One rollout as it is stored. The controller writes it before it does anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Counts an app's rollouts from 1.
    pub number: u64,
    /// The app and its environment.
    pub path: AppPath,
    /// Whether it goes on to a new release or back to an older one.
    pub kind: Kind,
    /// What ran before; nothing where it takes nobody's place.
    pub from: Option<Release>,
    /// Where it goes.
    pub to: Release,
    /// Further releases that stay prepared meanwhile.
    pub keep: Vec<Release>,
    /// The process groups that leave something else than `from` and `keep`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apart: BTreeMap<GroupName, Leaving>,
    /// The age of its present orders; rises when it turns back or ends with nothing switched.
    pub generation: Generation,
    /// The age from which a report that names `to` as prepared counts: since then every order has kept it.
    pub kept_since: Generation,
    /// The process groups that it moves on each host.
    pub groups: BTreeSet<GroupName>,
    /// Whether these were chosen by whoever ordered it: the app's others go on as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_partial: bool,
    /// Whether the app runs, and these process groups only join it: then it can go back to where they were not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joins: bool,
    /// The hosts that must take part: the matching ones when the rollout was planned.
    pub hosts: BTreeSet<HostName>,
    /// Hosts that it no longer waits for: they vanished, or were cordoned and are not any more. They have its orders.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub excused: BTreeSet<HostName>,
    /// Hosts that were cordoned while it prepared, and still are, with the age of their orders, which leave out `to` and
    /// the switch. No other order has that age, so that a host that is free again gets a newer one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set_aside: BTreeMap<HostName, Generation>,
    /// The rules it follows.
    pub policy: Policy,
    /// How the app is delivered once it arrives; as before when absent. A host that joins gets `to` by it from the
    /// switch on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Who ordered it.
    pub actor: Actor,
    /// Why, when the person said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it was marked as the fix for what halted the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// When it was planned.
    pub begun_at: Moment,
    /// Who promoted it, when it held and a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Signature>,
    /// Who paused it and when, while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Signature>,
    /// How far it is in its steps, when it goes in steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<Course>,
    /// What a router must have followed once to be waited for also while its agent is away: it may serve on, and cut off
    /// what stops. One that followed less was gone before.
    #[serde(default, skip_serializing_if = "policy::is_usual")]
    pub roll_call: Generation,
    /// Where it is.
    pub phase: Phase,
}

impl Rollout {
    /// Returns by how many bytes its stored form grows, at most, between its plan and its end: by how it ends, and in steps by the
    /// position of every host.
    pub fn growth_bytes_max(&self) -> usize {
        const END: usize = 20 * 1024;
        /// `"":{"at":"restoring","since":""},`, and the age of an order.
        const POSITION: usize = 33 + 41;
        let positions = self.hosts.iter().filter(|_| self.goes_in_steps());
        END + positions.map(|host| host.as_str().len() + POSITION).sum::<usize>()
    }

    /// Lists the targets that must report before it goes on.
    pub fn required(&self) -> impl Iterator<Item = Target> {
        targets(&self.hosts, &self.groups)
    }

    /// Tells whether this target must report before it goes on.
    pub fn requires(&self, target: &Target) -> bool {
        self.hosts.contains(&target.host) && self.groups.contains(&target.group)
    }

    /// Lists all targets that it takes along: the required and the excused ones.
    pub(crate) fn participants(&self) -> impl Iterator<Item = Target> {
        targets(&self.hosts, &self.groups).chain(targets(&self.excused, &self.groups))
    }

    /// Tells whether this host has its orders.
    pub fn concerns(&self, host: &HostName) -> bool {
        self.hosts.contains(host) || self.excused.contains(host) || self.set_aside.contains_key(host)
    }

    /// Tells whether it is still under way.
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Ended { .. })
    }

    /// Tells whether its orders lead to `to`, rather than back to `from`.
    pub fn leads_forward(&self) -> bool {
        match &self.phase {
            Phase::Preparing { .. }
            | Phase::Holding { .. }
            | Phase::Switching { .. }
            | Phase::Stepping { .. } => true,
            Phase::TurningBack { .. } => false,
            Phase::Ended { outcome, .. } => outcome.keeps_forward_orders(),
        }
    }

    /// Tells whether targets that do not take part run `to` as well: its barrier is open and it has not turned back.
    pub fn has_switched(&self) -> bool {
        barrier(self).is_some()
    }

    /// Tells whether targets may have activated `to` that have not come back from it.
    pub(crate) fn has_reached(&self) -> bool {
        matches!(self.phase, Phase::Switching { .. } | Phase::Stepping { .. } | Phase::TurningBack { .. })
    }

    /// Tells whether users had the new release: its barrier is open, its files are live somewhere, or it takes requests. What
    /// only started beside the old release, or was only tried, they never had.
    pub fn has_met_users(&self) -> bool {
        let mut positions = self.course.iter().flat_map(|course| course.positions.values());
        let is_live = |position: &Position| match position.at {
            At::Emptied | At::Returned | At::Failed | At::Skipped => false,
            At::Renewed | At::Beside | At::Admitted | At::Leaving => true,
            At::Over | At::Returning | At::Restoring => true,
        };
        match self.phase {
            Phase::Switching { .. } => true,
            Phase::Stepping { .. } if self.to.has_services() => self.lets_in(),
            Phase::Stepping { .. } => positions.any(is_live),
            _ => false,
        }
    }

    /// Returns when something happens to it even if nothing is reported; a pause moves this.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.paused {
            Some(pause) if self.is_active() => Some(pause.at + self.policy.hold_deadline),
            _ => self.phase.until(),
        }
    }

    /// Returns how it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.phase {
            Phase::Ended { outcome, .. } => Some(outcome),
            _ => None,
        }
    }
}

fn targets(hosts: &BTreeSet<HostName>, groups: &BTreeSet<GroupName>) -> impl Iterator<Item = Target> {
    hosts.iter().flat_map(|host| targets_of(host, groups))
}

fn targets_of(host: &HostName, groups: &BTreeSet<GroupName>) -> impl Iterator<Item = Target> {
    groups.iter().map(|group| Target { host: host.clone(), group: group.clone() })
}

/// Whether a rollout goes on or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To a release that was asked for.
    Deploy,
    /// Back to a release that ran before.
    Rollback,
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signature {
    /// The person or program.
    pub actor: Actor,
    /// When.
    pub at: Moment,
}

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Every required target fetches, unpacks and runs its prepare hook.
    Preparing {
        /// When it fails if some are still missing.
        until: Moment,
    },
    /// All are prepared; a person must promote (or abort) before the deadline.
    Holding {
        /// When it fails because nobody did.
        until: Moment,
    },
    /// The barrier is open; targets activate.
    Switching {
        /// When it turns back if some have not activated.
        until: Moment,
    },
    /// Hosts are moved step by step.
    Stepping {
        /// Which step, from 0.
        step: u32,
        /// Which part of it.
        part: Part,
        /// When it goes on or turns back if the part is not done.
        until: Moment,
    },
    /// The targets go back to `from`.
    TurningBack {
        /// Why.
        why: Why,
        /// When it ends even if some have not come back; their agents go on trying.
        until: Moment,
    },
    /// Over.
    Ended {
        /// When.
        at: Moment,
        /// How.
        outcome: Outcome,
    },
}

impl Phase {
    /// Returns the phase in one word, for people and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Phase::Preparing { .. } => "preparing",
            Phase::Holding { .. } => "holding",
            Phase::Switching { .. } => "switching",
            Phase::Stepping { part, .. } => part.word(),
            Phase::TurningBack { .. } => "turning back",
            Phase::Ended { .. } => "ended",
        }
    }

    /// Returns when something happens even if nothing is reported.
    pub fn until(&self) -> Option<Moment> {
        match self {
            Phase::Preparing { until }
            | Phase::Holding { until }
            | Phase::Switching { until }
            | Phase::Stepping { until, .. }
            | Phase::TurningBack { until, .. } => Some(*until),
            Phase::Ended { .. } => None,
        }
    }

    /// Returns when it ended, once it has.
    pub fn ended_at(&self) -> Option<Moment> {
        match self {
            Phase::Ended { at, .. } => Some(*at),
            _ => None,
        }
    }
}

/// What the controller saw in one look at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When it looked.
    pub now: Moment,
    /// Every host that matches the app's selector, and every one that takes part in its rollout.
    pub hosts: BTreeMap<HostName, HostSeen>,
    /// What routers said last of the app, by their hosts.
    pub routers: BTreeMap<HostName, RouterSeen>,
    /// How the traffic was divided that the store holds; nothing where that was not looked at.
    pub told: Option<Generation>,
    /// What its judge says; nothing when nobody judges, or when the judge has heard nothing yet.
    pub judged: Option<Judged>,
}

/// One router as seen in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterSeen {
    /// Whether the session of the agent beside it is alive. A router serves on when it is not.
    pub alive: bool,
    /// How far it followed the app's table when its agent last said so.
    pub followed: Followed,
}

/// One host as seen in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSeen {
    /// Whether its agent's session is alive.
    pub alive: bool,
    /// Whether its labels match the app's selector. Known only while it is alive.
    pub matches: bool,
    /// Whether a person cordoned or drained it.
    pub cordoned: bool,
    /// What it last reported of the app's targets.
    pub reports: BTreeMap<Target, Report>,
}

impl HostSeen {
    /// Tells whether a rollout planned now would require this host.
    pub fn takes_part(&self) -> bool {
        self.alive && self.matches && !self.cordoned
    }
}

impl Observation {
    /// Lists the hosts that a rollout planned now would require.
    pub fn eligible(&self) -> impl Iterator<Item = &HostName> {
        self.hosts.iter().filter(|(_, seen)| seen.takes_part()).map(|(host, _)| host)
    }

    /// Returns what this target last reported.
    pub fn report(&self, target: &Target) -> Option<&Report> {
        self.hosts.get(&target.host)?.reports.get(target)
    }

    /// Tells whether this host's agent is alive.
    pub fn is_alive(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|seen| seen.alive)
    }

    /// Tells whether a person cordoned or drained this host.
    pub fn is_cordoned(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|seen| seen.cordoned)
    }
}
