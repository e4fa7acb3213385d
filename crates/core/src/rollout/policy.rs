//! The rules of one rollout, fixed when it was planned.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pace::Pace;
use super::strategy::Strategy;
use crate::gate::Halt;
use crate::release::duration_millis;
use crate::target::AcceptanceHook;
use crate::verdict::Judging;

/// The rules of one rollout.
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
    /// Whether to wait for `promote` when all are prepared. A rollback never waits.
    pub hold: bool,
    /// How long a rollout waits for a person: for `promote`, or for `resume` when it is paused.
    #[serde(with = "duration_millis", default = "a_day")]
    pub hold_deadline: Duration,
    /// What a failed activation means for the others.
    pub on_failed_activation: OnFailedActivation,
    /// What a required host that vanished means at the deadline.
    pub on_vanished: OnVanished,
    /// What happens when it is ordered while another rollout is under way.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub during: During,
    /// Whether the gate is halted when it is taken back or fails.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub halt: Halt,
    /// How it moves the hosts.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub strategy: Strategy,
    /// What is tried against the new release, when `pace.accept` says that anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<AcceptanceHook>,
    /// How fast it goes through its steps.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub pace: Pace,
    /// How the new release is judged while both answer requests, and afterwards; nothing when nobody judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judging: Option<Judging>,
}

impl Policy {
    /// Returns the rules of a rollback under these: it waits for nobody, watches nothing and gives no shares, as what it leads to ran
    /// before. Batches stay, so that as much is up as otherwise.
    pub(crate) fn of_rollback(&self) -> Self {
        let strategy = match &self.strategy {
            Strategy::Canary { batch, .. } => Strategy::Rolling { batch: *batch },
            Strategy::Barrier | Strategy::Rolling { .. } | Strategy::BlueGreen => self.strategy.clone(),
        };
        let (watch, soak) = (Duration::ZERO, Duration::ZERO);
        let pace = Pace { hold_steps: false, watch, soak, ..self.pace.clone() };
        Self { hold: false, strategy, pace, judging: None, ..self.clone() }
    }
}

impl Default for Policy {
    /// Returns one host at least, 10 minutes to prepare, 2 minutes to activate, no hold (24 hours when there is one),
    /// and on any trouble nothing stays switched.
    fn default() -> Self {
        Self {
            nodes_min: 1,
            prepare_deadline: Duration::from_secs(10 * 60),
            activate_deadline: Duration::from_secs(2 * 60),
            hold: false,
            hold_deadline: a_day(),
            on_failed_activation: OnFailedActivation::Rollback,
            on_vanished: OnVanished::Fail,
            during: During::default(),
            halt: Halt::default(),
            strategy: Strategy::default(),
            acceptance: None,
            pace: Pace::default(),
            judging: None,
        }
    }
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
    /// The rollout fails: before the switch nothing was switched, after it all go back.
    Fail,
    /// The rollout goes on with the others; the vanished ones follow when they come back.
    GoOn,
}

/// What happens to a deployment that is ordered while another rollout is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum During {
    /// It is refused.
    #[default]
    Refuse,
    /// It begins when the other has arrived. A newer one that waits takes its place.
    Wait,
    /// The other ends or is taken back first, and then it begins.
    Replace,
}

pub(crate) fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn a_day() -> Duration {
    Duration::from_secs(24 * 60 * 60)
}
