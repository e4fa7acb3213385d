//! How fast a rollout goes through its steps, and what it puts up with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::strategy::Portion;
use crate::release::duration_millis;

/// How fast a rollout goes through its steps, and what it puts up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// How long each part of a step may take.
    #[serde(with = "duration_millis")]
    pub step_deadline: Duration,
    /// How long requests in flight on an endpoint that leaves may take.
    #[serde(with = "duration_millis")]
    pub drain: Duration,
    /// How long a step is watched before the next one begins.
    #[serde(with = "duration_millis")]
    pub watch: Duration,
    /// How long the last step is watched, and how long blue/green keeps the old release up.
    #[serde(with = "duration_millis")]
    pub soak: Duration,
    /// How many hosts in a row may fail before it turns back; a host that succeeds begins the count anew.
    #[serde(default)]
    pub failures_max: u32,
    /// How often a new service may crash that was healthy before; each time it is started again.
    #[serde(default, skip_serializing_if = "is_none")]
    pub crashes_max: u32,
    /// Whether old and new may never be up at once on a host.
    #[serde(default)]
    pub alone: bool,
    /// Whether the acceptance hook must pass before users get the new release, and again after each step.
    #[serde(default)]
    pub accept: bool,
    /// Whether it waits for `promote` before every step that gives more traffic to the new release.
    #[serde(default)]
    pub hold_steps: bool,
    /// How many hosts at most may have old and new up side by side in a batch, each with room for both; as many as the batch
    /// has when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surge_max: Option<Portion>,
    /// How many hosts at most may be out at once: where old and new may never be up at once, a batch has no more; elsewhere so
    /// many of the hosts that were moved may be unready when the next batch begins, none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable_max: Option<Portion>,
}

impl Default for Pace {
    /// Returns 5 minutes for each part, 20 s to drain, 10 s between steps, no soak, no failure, no late crash.
    fn default() -> Self {
        Self {
            step_deadline: Duration::from_secs(5 * 60),
            drain: Duration::from_secs(20),
            watch: Duration::from_secs(10),
            soak: Duration::ZERO,
            failures_max: 0,
            crashes_max: 0,
            alone: false,
            accept: false,
            hold_steps: false,
            surge_max: None,
            unavailable_max: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_none(number: &u32) -> bool {
    *number == 0
}
