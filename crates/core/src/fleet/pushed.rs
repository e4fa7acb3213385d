//! A release as it was pushed: the release itself, and how each environment wants it delivered.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Selector;
use crate::name::{EnvironmentName, GroupName};
use crate::release::Release;
use crate::retention::Retention;
use crate::rollout::Policy;

/// How an app is delivered to one environment: what its `footplate.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Which hosts run it.
    pub selector: Selector,
    /// Its process groups; `files` alone for an app without services.
    pub groups: BTreeSet<GroupName>,
    /// The rules of its rollouts.
    pub policy: Policy,
    /// Which releases stay on the hosts.
    pub retention: Retention,
}

/// What stands at `releases/<app>.<release>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// The release; never changes.
    pub release: Release,
    /// How each environment is delivered to; empty for a record that the controller had to restore from an order.
    #[serde(default)]
    pub environments: BTreeMap<EnvironmentName, Delivery>,
}
