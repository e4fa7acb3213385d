//! What runs where.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppPath, GroupName, ReleaseId, Target};
use footplate_core::release::Release;
use footplate_core::rollout::Rollout;
use footplate_core::target::{Failure, Up};
use serde::{Deserialize, Serialize};

use super::HostStatus;

/// What runs where; answer to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Changes whenever anything below does; pass it back as `seen`.
    pub change: u64,
    /// When the store was looked at.
    pub at: Moment,
    /// Which store.
    pub store: String,
    /// Who acts on rollouts, if anybody.
    pub controller: Option<Acting>,
    /// Every app in every environment, by name.
    pub apps: Vec<AppStatus>,
    /// Every known host.
    pub hosts: Vec<HostStatus>,
}

/// The acting controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acting {
    /// Where its API listens.
    pub address: String,
    /// Footplate's version.
    pub version: String,
    /// Since when.
    pub since: Moment,
}

/// One app in one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// Which.
    pub path: AppPath,
    /// The release to run when nothing rolls out.
    pub current: Option<ReleaseSummary>,
    /// The release before.
    pub previous: Option<ReleaseSummary>,
    /// Where a rollback goes that names no release. It is not `previous` when that was rolled back itself.
    pub proposal: Option<ReleaseSummary>,
    /// Since when `current` is that, and by whom.
    pub since: Option<Moment>,
    /// By whom.
    pub by: Option<Actor>,
    /// The process groups that were deployed on their own and differ from that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apart: BTreeMap<GroupName, GroupStatus>,
    /// The rollout that is under way, or the last one.
    pub rollout: Option<RolloutStatus>,
    /// Why its gate is closed, in a line; nothing while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The deployment that begins when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingStatus>,
    /// What each target does.
    pub targets: Vec<TargetStatus>,
}

/// One process group that was deployed on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The release to run when nothing rolls out.
    pub current: Option<ReleaseSummary>,
    /// The release before.
    pub previous: Option<ReleaseSummary>,
    /// Where a rollback of it goes that names no release.
    pub proposal: Option<ReleaseSummary>,
    /// Since when `current` is that.
    pub since: Option<Moment>,
    /// By whom.
    pub by: Option<Actor>,
}

/// What a release is, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSummary {
    /// Its name.
    pub id: ReleaseId,
    /// The commit it was built from.
    pub commit: Option<String>,
    /// The commit's first line.
    pub summary: Option<String>,
    /// When it was pushed.
    pub created_at: Moment,
}

impl From<&Release> for ReleaseSummary {
    fn from(release: &Release) -> Self {
        Self {
            id: release.id.clone(),
            commit: release.commit.clone(),
            summary: release.summary.clone(),
            created_at: release.created_at,
        }
    }
}

/// A rollout as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// The record itself.
    pub record: Rollout,
    /// Whether it is over.
    pub ended: bool,
    /// How it ended, or what it waits for: the core's own sentence.
    pub sentence: String,
    /// Where it is when it goes in steps: which step of how many, its part, and what it is about.
    #[serde(default)]
    pub step: Option<String>,
    /// When the present wait ends by itself.
    pub until: Option<Moment>,
    /// Nobody holds the lease while it is under way.
    pub unattended: bool,
    /// The exit code of its end: 0 done, 1 failed or turned back, 4 a deadline passed.
    pub exit_code: Option<u8>,
}

impl RolloutStatus {
    /// Renders it in a line: number, release, where it is, and what it waits for.
    pub fn in_a_line(&self) -> String {
        let Rollout { number, to, .. } = &self.record;
        let step = self.step.as_ref().map(|step| format!("{step}; ")).unwrap_or_default();
        format!("rollout {number} to {}, {step}{}", to.id, self.sentence)
    }
}

/// A deployment that waits for the end of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingStatus {
    /// To which release.
    pub to: ReleaseId,
    /// The process groups that alone are moved; all of them when empty.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<GroupName>,
    /// Who ordered it.
    pub actor: Actor,
    /// When.
    pub since: Moment,
    /// What it waits for: the core's own sentence.
    pub sentence: String,
}

/// One target as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Which.
    pub target: Target,
    /// Whether its host's agent is alive.
    pub alive: bool,
    /// What runs there, as observed.
    pub live: Option<ReleaseId>,
    /// Since when.
    pub live_since: Option<Moment>,
    /// What should run there.
    pub wanted: Option<ReleaseId>,
    /// How the service of what runs there is; nothing for files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Up>,
    /// The services of other releases that are up there beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<ReleaseId, Up>,
    /// The releases that are ready there.
    pub prepared: Vec<ReleaseId>,
    /// The highest generation it obeyed.
    pub generation: Option<Generation>,
    /// What somebody changed by hand.
    pub drift: Option<String>,
    /// What failed there.
    pub failed: BTreeMap<ReleaseId, Failure>,
    /// Where it is in the rollout that is under way.
    pub stage: Stage,
}

/// Where a target is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing rolls out, and it runs what it should.
    Steady,
    /// Fetching, unpacking, running its prepare hook.
    Preparing,
    /// Ready for the switch.
    Prepared,
    /// Switching.
    Activating,
    /// Runs the new release.
    Live,
    /// Something failed there.
    Failed,
    /// Its agent is not alive.
    Gone,
    /// It runs something else than it should; its agent is at it.
    Converging,
}
