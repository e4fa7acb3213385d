//! What services use, as programs are told.

use std::collections::BTreeMap;

use footplate_core::name::{AppPath, GroupName, ReleaseId};
use footplate_core::usage::Summary;
use serde::{Deserialize, Serialize};

/// What the services of an app use; answer to `GET /v1/usage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppUsage {
    /// Which app.
    pub path: AppPath,
    /// Its process groups of which a host tells.
    pub groups: Vec<GroupUsage>,
}

/// What the services of one process group use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupUsage {
    /// Which.
    pub group: GroupName,
    /// By release: all hosts that tell, added up.
    pub releases: BTreeMap<ReleaseId, Summary>,
}
