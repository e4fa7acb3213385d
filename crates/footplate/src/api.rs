//! What the command line, the agents and the controller say to each other over HTTP, as JSON.
//!
//! Invariants: every type here is plain data; a field is only ever added, with a default; the paths are in one place
//! ([`path`]). Every request but `GET /v1/health` carries `Authorization: Bearer TOKEN`.

use std::collections::BTreeMap;
use std::time::Duration;

pub use footplate_core::fleet::Pushed;
pub use footplate_core::rollout::Delivery;

use footplate_core::artifact::{ArtifactRef, Digest};
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppName, AppPath, EnvironmentName, HostName, ReleaseId, Target, Version};
use footplate_core::release::{Release, Workload, duration_millis};
use footplate_core::rollout::{Kind, OnFailedActivation, OnVanished, Policy, Rollout};
use footplate_core::target::{Failure, Verb};
use serde::{Deserialize, Serialize};

/// The paths of the API, so that server and client cannot differ.
pub mod path {
    /// `GET`: is anybody there; needs no token.
    pub const HEALTH: &str = "/v1/health";
    /// `PUT`, `GET`, `HEAD` + `/sha256:HEX`: an artifact's bytes.
    pub const ARTIFACTS: &str = "/v1/artifacts";
    /// `POST` a [`super::Push`], `GET ?app=`: releases.
    pub const RELEASES: &str = "/v1/releases";
    /// `POST` a [`super::Deploy`]: what a deploy would do; changes nothing.
    pub const PLANS: &str = "/v1/plans";
    /// `POST` a [`super::Deploy`]: begins a rollout.
    pub const DEPLOYMENTS: &str = "/v1/deployments";
    /// `POST` a [`super::RollBack`]: begins a rollout back.
    pub const ROLLBACKS: &str = "/v1/rollbacks";
    /// `POST` a [`super::Order`]: a command to the running rollout.
    pub const ORDERS: &str = "/v1/orders";
    /// `GET ?environment=&app=&seen=&wait_ms=`: everything, or one app; waits for a change when `seen` is given.
    pub const STATUS: &str = "/v1/status";
    /// `GET ?environment=&app=&limit=&before=`: what happened.
    pub const HISTORY: &str = "/v1/history";
    /// `GET ?…` a list, or `POST /HOST/TARGET/RELEASE/VERB`: what hooks and scripts printed.
    pub const OUTPUTS: &str = "/v1/outputs";
    /// `GET` the list, `POST /HOST` a [`super::HostOrder`].
    pub const HOSTS: &str = "/v1/hosts";
    /// `POST` a [`super::Clean`].
    pub const CLEAN: &str = "/v1/clean";
    /// `GET`: the controller's own view of its set-up.
    pub const DOCTOR: &str = "/v1/doctor";
}

/// Answer to `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Footplate's version.
    pub version: String,
    /// Whether this controller holds the lease; one that does not still reads.
    pub acting: bool,
    /// The controller's clock.
    pub now: Moment,
}

/// A refusal or a failure, with the same three parts as on the terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What could not be done.
    pub what: String,
    /// Why, outermost first.
    pub because: Vec<String>,
    /// What to do next.
    pub next: Option<String>,
    /// What kind of failure it is; decides the exit code.
    pub kind: ProblemKind,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The request makes no sense: a bad name, an unknown field (HTTP 400, exit code 2).
    Invalid,
    /// What it names does not exist (HTTP 404, exit code 3).
    Unknown,
    /// The token is missing or wrong (HTTP 401, exit code 3).
    Denied,
    /// The state of things forbids it (HTTP 409, exit code 3).
    Refused,
    /// The store or this controller cannot do it now (HTTP 503, exit code 5).
    Unavailable,
    /// A fault of our own (HTTP 500, exit code 1).
    Internal,
}

/// Registers a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The app.
    pub app: AppName,
    /// The version's name.
    pub version: Version,
    /// The full commit id, when it came from git.
    pub commit: Option<String>,
    /// The commit's first line.
    pub summary: Option<String>,
    /// The uploaded artifact, if the workload has one.
    pub artifact: Option<ArtifactRef>,
    /// What prepare, activate and clean mean.
    pub workload: Workload,
    /// How each environment is delivered to.
    pub environments: BTreeMap<EnvironmentName, Delivery>,
}

/// How a person names a release: its version, the beginning of its commit id, or its artifact's digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// By version or commit; a commit may be shortened to seven digits.
    Name(String),
    /// By digest.
    Digest(Digest),
    /// The one pushed last.
    Newest,
}

/// Begins a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// Where.
    pub path: AppPath,
    /// What.
    pub release: Wanted,
    /// Why, for the history.
    #[serde(default)]
    pub reason: Option<String>,
    /// What differs from the app's own rules this time.
    #[serde(default)]
    pub overrides: Overrides,
    /// The person on whose behalf; the token's owner when absent.
    #[serde(default)]
    pub actor: Option<Actor>,
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
}

impl Overrides {
    /// Returns the app's own rules with what this deploy changes.
    pub fn over(&self, own: &Policy) -> Policy {
        let millis = |millis: Option<u64>, own| millis.map_or(own, Duration::from_millis);
        Policy {
            nodes_min: self.nodes.unwrap_or(own.nodes_min),
            prepare_deadline: millis(self.prepare_deadline_ms, own.prepare_deadline),
            activate_deadline: millis(self.activate_deadline_ms, own.activate_deadline),
            hold: self.hold.unwrap_or(own.hold),
            hold_deadline: own.hold_deadline,
            on_failed_activation: self.on_failed_activation.unwrap_or(own.on_failed_activation),
            on_vanished: self.on_vanished.unwrap_or(own.on_vanished),
        }
    }
}

/// Begins a rollout back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollBack {
    /// Where.
    pub path: AppPath,
    /// To which release; the one before when absent.
    pub to: Option<Wanted>,
    /// Why, for the history.
    #[serde(default)]
    pub reason: Option<String>,
    /// The person on whose behalf.
    #[serde(default)]
    pub actor: Option<Actor>,
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
}

/// A command to the running rollout of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which app's.
    pub path: AppPath,
    /// What to do.
    pub verb: OrderVerb,
    /// Why, for the history.
    #[serde(default)]
    pub reason: Option<String>,
    /// The person on whose behalf.
    #[serde(default)]
    pub actor: Option<Actor>,
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
    /// End it before the switch, turn it back after.
    Abort,
}

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
    /// Since when `current` is that, and by whom.
    pub since: Option<Moment>,
    /// By whom.
    pub by: Option<Actor>,
    /// The rollout that is under way, or the last one.
    pub rollout: Option<RolloutStatus>,
    /// What each target does.
    pub targets: Vec<TargetStatus>,
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
    /// When the present wait ends by itself.
    pub until: Option<Moment>,
    /// Nobody holds the lease while it is under way.
    pub unattended: bool,
    /// The exit code of its end: 0 done, 1 failed or turned back, 4 a deadline passed.
    pub exit_code: Option<u8>,
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

/// One host as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub host: HostName,
    /// Whether its agent is alive.
    pub alive: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its agent's version of footplate.
    pub version: Option<String>,
    /// Cordoned or drained: the sentence with who and why.
    pub set_aside: Option<String>,
    /// How many targets it has.
    pub targets: usize,
}

/// What to do with a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostOrder {
    /// What.
    pub verb: HostVerb,
    /// Why, for the history.
    #[serde(default)]
    pub reason: Option<String>,
    /// The person on whose behalf.
    #[serde(default)]
    pub actor: Option<Actor>,
}

/// What can be done with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostVerb {
    /// Take part in no further rollout; what runs stays.
    Cordon,
    /// Take part again.
    Uncordon,
    /// Cordon, and say when nothing is being done there any more.
    Drain,
    /// Forget a host that is gone.
    Remove,
}

/// Removes releases from the hosts and from the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clean {
    /// Which app's.
    pub path: AppPath,
    /// This one; all that the retention rule lets go when absent.
    pub release: Option<Wanted>,
    /// Only say what would go.
    #[serde(default)]
    pub plan: bool,
    /// The person on whose behalf.
    #[serde(default)]
    pub actor: Option<Actor>,
}

/// What a clean removes and what stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// What goes.
    pub removed: Vec<ReleaseId>,
    /// What stays, and why.
    pub kept: BTreeMap<ReleaseId, String>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Counts up; pass the smallest back as `before` for the page before.
    pub sequence: u64,
    /// When.
    pub at: Moment,
    /// Which app, if one.
    pub path: Option<AppPath>,
    /// Which of its rollouts, if one.
    pub rollout: Option<u64>,
    /// What kind: `deploy`, `done`, `failed`, `turned_back`, `cordon`, …
    pub kind: String,
    /// Who.
    pub actor: Actor,
    /// The sentence.
    pub text: String,
}

/// What one run of a hook or a script printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputEntry {
    /// Counts up.
    pub sequence: u64,
    /// When it ended.
    pub at: Moment,
    /// Which host.
    pub host: HostName,
    /// `ENVIRONMENT.APP.GROUP`.
    pub target: String,
    /// Which release.
    pub release: ReleaseId,
    /// What was being done.
    pub verb: Verb,
    /// Whether it succeeded.
    pub ok: bool,
    /// What it printed, within the capture's bound.
    pub text: String,
}

/// The body of `POST /v1/outputs/HOST/TARGET/RELEASE/VERB`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPost {
    /// When it ended.
    pub at: Moment,
    /// Whether it succeeded.
    pub ok: bool,
    /// What it printed.
    pub text: String,
    /// How long it ran.
    #[serde(with = "duration_millis")]
    pub elapsed: Duration,
}

/// One check of the set-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do, when it is not well.
    pub next: Option<String>,
}
