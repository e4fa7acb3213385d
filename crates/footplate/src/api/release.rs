//! A release as a person pushes it, names it, and has it cleaned away.

use std::collections::BTreeMap;

use footplate_core::artifact::{ArtifactRef, Digest};
use footplate_core::name::{Actor, AppName, AppPath, EnvironmentName, ReleaseId, Version};
use footplate_core::release::{Routes, Variables, Workload};
use footplate_core::rollout::Delivery;
use serde::{Deserialize, Serialize};

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
    /// Plain variables by environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<EnvironmentName, Variables>,
    /// The requests that its services answer, for environments that say so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<EnvironmentName, Routes>,
    /// How each environment is delivered to.
    pub environments: BTreeMap<EnvironmentName, Delivery>,
    /// The person on whose behalf.
    #[serde(default)]
    pub actor: Option<Actor>,
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
    /// Pushed releases that no environment keeps and that the controller forgets.
    #[serde(default)]
    pub forgotten: Vec<ReleaseId>,
}
