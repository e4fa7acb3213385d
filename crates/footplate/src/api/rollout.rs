//! Orders for rollouts, and what one does or would do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::gate::Fix;
use footplate_core::name::{AppPath, GroupName, HostName, ReleaseId, Target};
use footplate_core::rollout::{
    During, Kind, OnFailedActivation, OnVanished, Pace, Policy, Portion, Senseless, StrategyWord,
};
use footplate_core::traffic::Share;
use serde::{Deserialize, Serialize};

use super::{By, Wanted};

/// Begins a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// Where.
    pub path: AppPath,
    /// What.
    pub release: Wanted,
    /// The process groups that alone are moved; all of them when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<GroupName>,
    /// What differs from the app's own rules this time.
    #[serde(default)]
    pub overrides: Overrides,
    /// Whether it is marked as the fix for what halted the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// Who orders it, and why.
    #[serde(flatten)]
    pub by: By,
}

impl Deploy {
    /// Returns the process groups that were chosen, if any were.
    pub fn only(&self) -> Option<BTreeSet<GroupName>> {
        chosen(&self.groups)
    }
}

fn chosen(groups: &BTreeSet<GroupName>) -> Option<BTreeSet<GroupName>> {
    (!groups.is_empty()).then(|| groups.clone())
}

/// What one deploy changes in the app's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// At least so many hosts.
    pub nodes: Option<u32>,
    /// How long all targets may take to prepare, in milliseconds.
    pub prepare_deadline_ms: Option<u64>,
    /// How long all targets may take to activate, in milliseconds.
    pub activate_deadline_ms: Option<u64>,
    /// Whether to wait for `promote` before the switch.
    pub hold: Option<bool>,
    /// What a failed activation means for the others.
    pub on_failed_activation: Option<OnFailedActivation>,
    /// What a vanished host means.
    pub on_vanished: Option<OnVanished>,
    /// How the hosts are moved.
    #[serde(default)]
    pub strategy: Option<StrategyWord>,
    /// How many hosts at a time.
    #[serde(default)]
    pub batch: Option<Portion>,
    /// The canary's shares, in millionths.
    #[serde(default)]
    pub ramp: Option<Vec<Share>>,
    /// Whether to wait for `promote` before each step.
    #[serde(default)]
    pub hold_steps: Option<bool>,
    /// How long each step is watched, in milliseconds.
    #[serde(default)]
    pub watch_ms: Option<u64>,
    /// How long the last one is, in milliseconds.
    #[serde(default)]
    pub soak_ms: Option<u64>,
    /// What happens when another rollout is under way.
    #[serde(default)]
    pub during: Option<During>,
}

impl Overrides {
    /// Returns the app's own rules with what this deploy changes.
    ///
    /// # Errors
    /// A number is given that the strategy has no use for.
    pub fn over(&self, own: &Policy) -> Result<Policy, Senseless> {
        let millis = |millis: Option<u64>, own| millis.map_or(own, Duration::from_millis);
        let strategy = own.strategy.changed(self.strategy, self.batch, self.ramp.clone())?;
        let pace = Pace {
            hold_steps: self.hold_steps.unwrap_or(own.pace.hold_steps),
            watch: millis(self.watch_ms, own.pace.watch),
            soak: millis(self.soak_ms, own.pace.soak),
            ..own.pace.clone()
        };
        Ok(Policy {
            nodes_min: self.nodes.unwrap_or(own.nodes_min),
            prepare_deadline: millis(self.prepare_deadline_ms, own.prepare_deadline),
            activate_deadline: millis(self.activate_deadline_ms, own.activate_deadline),
            hold: self.hold.unwrap_or(own.hold),
            hold_deadline: own.hold_deadline,
            on_failed_activation: self.on_failed_activation.unwrap_or(own.on_failed_activation),
            on_vanished: self.on_vanished.unwrap_or(own.on_vanished),
            strategy,
            during: self.during.unwrap_or(own.during),
            halt: own.halt,
            acceptance: own.acceptance.clone(),
            pace,
            judging: own.judging.clone(),
        })
    }
}

/// Begins a rollout back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollBack {
    /// Where.
    pub path: AppPath,
    /// To which release; the one before when absent.
    pub to: Option<Wanted>,
    /// The process groups that alone go back; all of them when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<GroupName>,
    /// Who orders it, and why.
    #[serde(flatten)]
    pub by: By,
}

impl RollBack {
    /// Returns the process groups that were chosen, if any were.
    pub fn only(&self) -> Option<BTreeSet<GroupName>> {
        chosen(&self.groups)
    }
}

/// What a deploy or a rollback would do, or does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Where.
    pub path: AppPath,
    /// The rollout's number: of the one begun, or of the one that would begin.
    pub number: u64,
    /// On or back.
    pub kind: Kind,
    /// What runs now.
    pub from: Option<ReleaseId>,
    /// The process groups that run something else than that now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apart: BTreeMap<GroupName, ReleaseId>,
    /// The process groups that were chosen by whoever ordered it; all are meant when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub chosen: BTreeSet<GroupName>,
    /// The process groups that move, when some do not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<GroupName>,
    /// The process groups that stay as they are, with what they run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub untouched: BTreeMap<GroupName, ReleaseId>,
    /// What will run.
    pub to: ReleaseId,
    /// The targets that must take part.
    pub required: Vec<Target>,
    /// The targets that have the release prepared already.
    pub prepared: Vec<Target>,
    /// Matching hosts that are left out, each with the reason.
    pub left_out: BTreeMap<HostName, String>,
    /// The bytes each target fetches; absent for a workload without an artifact.
    pub artifact_bytes: Option<u64>,
    /// Releases that retention will remove from the hosts.
    pub removes: Vec<ReleaseId>,
    /// What will happen, a sentence a line.
    pub steps: Vec<String>,
    /// By what it is judged, and what that can see with the traffic of this moment; nothing when nobody judges it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judged: Vec<String>,
    /// What it waits for, when another rollout is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// A command to the running rollout of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which app's.
    pub path: AppPath,
    /// What to do.
    pub verb: OrderVerb,
    /// Who orders it, and why.
    #[serde(flatten)]
    pub by: By,
}

/// The commands a running rollout obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderVerb {
    /// Go on past the hold.
    Promote,
    /// Stop going forward.
    Pause,
    /// Go forward again.
    Resume,
    /// End it before the switch, turn it back after. What waits for it does so no more.
    Abort,
    /// Take back the deployment that waits for it, and nothing else.
    Forgo,
}
