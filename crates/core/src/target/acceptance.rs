//! What must pass before users get a release, and again after each step: a command or a request, tried on it alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{GroupName, ReleaseId};
use crate::release::duration_millis;

/// What the acceptance hook must pass on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The release whose service it is run against.
    pub release: ReleaseId,
    /// How often it must have passed: once before users get the release here, and once more after each step.
    pub times: u32,
    /// What is tried; nothing passes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<AcceptanceHook>,
}

/// What is tried against a new release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptanceHook {
    /// What.
    #[serde(flatten)]
    pub trial: Trial,
    /// How long it may take.
    #[serde(with = "duration_millis")]
    pub deadline: Duration,
    /// On which process group; on each when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
}

/// One trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tries", rename_all = "snake_case")]
pub enum Trial {
    /// A command in the service's folder with its variables, `ADDRESS`, `PORT` and `STEP`; status 0 is good.
    Command {
        /// The command line, run by `sh -c`.
        command: String,
    },
    /// `GET PATH` of the service's endpoint. A service without a port passes.
    Request {
        /// The path, with a leading slash; it may have a query.
        path: String,
        /// The status that is good.
        status: u16,
    },
}
