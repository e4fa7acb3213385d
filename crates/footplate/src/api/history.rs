//! What happened, and what hooks and scripts printed.

use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppPath, HostName, ReleaseId};
use footplate_core::release::duration_millis;
use footplate_core::target::Verb;
use serde::{Deserialize, Serialize};

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
