//! A host as people see it, and what they order for it.

use std::collections::BTreeMap;

use footplate_core::name::HostName;
use serde::{Deserialize, Serialize};

use super::By;

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
    /// Who orders it, and why.
    #[serde(flatten)]
    pub by: By,
}

/// What can be done with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostVerb {
    /// Take part in no further rollout; what runs stays.
    Cordon,
    /// Take part again.
    Uncordon,
    /// As cordon; once footplate routes traffic, no traffic either.
    Drain,
    /// Forget a host that is gone.
    Remove,
}
