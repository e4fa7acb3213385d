//! A release as it was pushed: the release itself, and how each environment wants it delivered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::EnvironmentName;
use crate::release::Release;
use crate::rollout::Delivery;

/// What stands at `releases/<app>.<release>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// The release; never changes.
    pub release: Release,
    /// How each environment is delivered to; empty for a record that the controller had to restore from an order.
    #[serde(default)]
    pub environments: BTreeMap<EnvironmentName, Delivery>,
}
