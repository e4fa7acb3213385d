//! What the command line, the agents and the controller say to each other over HTTP, as JSON.
//!
//! Invariants: every type here is plain data; a field is only ever added, with a default; the paths are in one place
//! ([`path`]). Every request but `GET /v1/health` carries `Authorization: Bearer TOKEN`.

pub use footplate_core::fleet::Pushed;
pub use footplate_core::rollout::Delivery;

use footplate_core::moment::Moment;
use serde::{Deserialize, Serialize};

mod by;
mod gate;
mod history;
mod host;
mod killed;
mod release;
mod rollout;
mod status;
mod traffic;
mod usage;
mod verdict;

pub use by::By;
pub use gate::{GateChange, GateOrder, GateStatus};
pub use history::{HistoryEntry, OutputEntry, OutputPost};
pub use host::{HostOrder, HostStatus, HostVerb};
pub use killed::killed;
pub use release::{Clean, Cleaned, Push, Wanted};
pub use rollout::{Deploy, Order, OrderVerb, Overrides, Planned, RollBack};
pub use status::{
    Acting, AppStatus, GroupStatus, ReleaseSummary, RolloutStatus, Stage, Status, TargetStatus, WaitingStatus,
};
pub use traffic::{
    AppTraffic, COUNTS_AT_LEAST_EVERY, Endpoints, GroupTraffic, Measured, ReleaseTraffic, RouterTraffic,
};
pub use usage::{AppUsage, GroupUsage};
pub use verdict::JudgedStage;

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
    /// `GET ?environment=&app=`: the gate of an app, or `POST` a [`super::GateOrder`].
    pub const GATE: &str = "/v1/gate";
    /// `GET ?environment=&app=&seen=&wait_ms=`: everything, or one app; waits for a change when `seen` is given.
    pub const STATUS: &str = "/v1/status";
    /// `GET ?environment=&app=&over_ms=`: the requests of every app with endpoints that is called so, over the last while. Or
    /// `POST /HOST` a [`Look`](footplate_core::traffic::counts::Look): an agent tells what the router beside it counted; 409 when
    /// it follows a look that is not known here, and a whole one is wanted.
    pub const TRAFFIC: &str = "/v1/traffic";
    /// `GET ?environment=&app=&over_ms=`: what the services of an app use. Or `POST /HOST` a
    /// [`UsageLook`](footplate_core::usage::UsageLook): an agent tells what those on its host do.
    pub const USAGE: &str = "/v1/usage";
    /// `GET ?environment=&app=&rollout=`: what judges heard of a rollout.
    pub const VERDICTS: &str = "/v1/verdicts";
    /// `GET ?environment=&app=&limit=&before=`: what happened.
    pub const HISTORY: &str = "/v1/history";
    /// `GET ?environment=&app=&host=&release=&limit=`: the newest, before the entry `&before=`; with `&after=` the ones that
    /// follow that entry. Or `POST /HOST/TARGET/RELEASE/VERB`: what hooks and scripts printed.
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
