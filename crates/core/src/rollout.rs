//! Moving an app's targets from one release to another: a pure state machine.
//!
//! Invariants: what must be true of every target is computed from the record alone ([`assignments`], [`barrier`]);
//! no target may activate before every required target reported the release prepared; a rollback takes a higher
//! generation; every waiting phase has a deadline and says what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{Actor, AppPath, HostName, Target};
use crate::release::{Release, duration_millis};
use crate::target::{Assignment, Report};

/// One rollout as it is stored. The controller writes it before it does anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Counts an app's rollouts from 1.
    pub number: u64,
    /// The app and its environment.
    pub path: AppPath,
    /// Whether it goes on to a new release or back to an older one.
    pub kind: Kind,
    /// What ran before; nothing on an app's first deployment.
    pub from: Option<Release>,
    /// Where it goes.
    pub to: Release,
    /// Further releases that stay prepared meanwhile.
    pub keep: Vec<Release>,
    /// The age of its present orders; rises when it turns back.
    pub generation: Generation,
    /// The targets that must take part: the matching ones when the rollout was planned.
    pub required: BTreeSet<Target>,
    /// The rules it follows.
    pub policy: Policy,
    /// Who ordered it.
    pub actor: Actor,
    /// Why, when the person said so.
    pub reason: Option<String>,
    /// When it was planned.
    pub begun_at: Moment,
    /// Who paused it and when, while it is paused.
    pub paused: Option<Pause>,
    /// Where it is.
    pub phase: Phase,
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

/// The rules of one rollout, fixed when it was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The least number of hosts that must take part; the rollout waits for them until its prepare deadline.
    pub nodes_min: u32,
    /// How long all targets may take to prepare.
    #[serde(with = "duration_millis")]
    pub prepare_deadline: Duration,
    /// How long all targets may take to activate.
    #[serde(with = "duration_millis")]
    pub activate_deadline: Duration,
    /// Whether to wait for `promote` when all are prepared.
    pub hold: bool,
    /// What a failed activation means for the others.
    pub on_failed_activation: OnFailedActivation,
    /// What a required host that vanished means at the deadline.
    pub on_vanished: OnVanished,
}

/// What happens to the other targets when one could not activate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailedActivation {
    /// All go back to the release before.
    Rollback,
    /// The others stay; the failed ones are tried again by their agents.
    Keep,
}

/// What happens when a required host is gone at the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnVanished {
    /// The rollout fails; nothing was switched.
    Fail,
    /// The rollout goes on with the others.
    GoOn,
}

/// Who paused a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The person.
    pub actor: Actor,
    /// Since when.
    pub at: Moment,
}

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Every required target fetches, unpacks and runs its prepare hook.
    Preparing {
        /// When it fails if some are still missing.
        until: Moment,
    },
    /// All are prepared; a person must promote (or abort) before the deadline.
    Holding {
        /// When it is aborted by itself.
        until: Moment,
    },
    /// The barrier is open; targets activate.
    Switching {
        /// When it turns back if some have not activated.
        until: Moment,
    },
    /// The targets go back to `from`.
    TurningBack {
        /// Why.
        why: String,
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

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Every target that takes part runs `to`.
    Done,
    /// `to` runs, except on targets whose activation failed (policy `keep`).
    DoneExcept {
        /// The targets that failed, with the reason of each.
        failed: BTreeMap<String, String>,
    },
    /// Nothing was switched, because this failed.
    Failed {
        /// Why, in a sentence.
        why: String,
        /// Whether a deadline passed (exit code 4) rather than something failing (exit code 1).
        deadline: bool,
    },
    /// A person stopped it before the switch; nothing was switched.
    Aborted {
        /// Who.
        by: Actor,
    },
    /// Targets were switched and taken back.
    TurnedBack {
        /// Why, in a sentence.
        why: String,
        /// Targets that had not come back when it ended.
        missing: BTreeSet<Target>,
    },
}

/// What the controller saw in one look at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When it looked.
    pub now: Moment,
    /// Every host that matches the app's selector, and every required one that is known at all.
    pub hosts: BTreeMap<HostName, HostSeen>,
}

/// One host as seen in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSeen {
    /// Whether its agent's session is alive.
    pub alive: bool,
    /// What it last reported of the app's targets.
    pub reports: BTreeMap<Target, Report>,
}
