//! How an app is delivered to one environment.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Policy;
use crate::gate::Window;
use crate::name::GroupName;
use crate::retention::Retention;
use crate::selector::Selector;

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
    /// When nothing new is deployed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Window>,
}

impl Delivery {
    /// Returns the delivery of these groups to these hosts, by the usual rules.
    pub fn new(selector: Selector, groups: BTreeSet<GroupName>) -> Self {
        Self {
            selector,
            groups,
            policy: Policy::default(),
            retention: Retention::default(),
            freezes: Vec::new(),
        }
    }
}
