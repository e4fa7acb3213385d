//! What a router lets a request of a service take.
//!
//! Invariants: a time of zero is none; what a stored service does not say has the default of the version that reads it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_millis;

/// What a router lets a request of a service take, as far as that router can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// The largest body of a request, in bytes; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes_max: Option<u64>,
    /// How long until an answer begins; zero for as long as it takes.
    #[serde(with = "duration_millis")]
    pub answer: Duration,
    /// How long between two pieces of an answer; zero for as long as it takes.
    #[serde(with = "duration_millis")]
    pub silence: Duration,
    /// How long an upgraded connection may pass no byte in either direction; zero for as long as it likes.
    #[serde(with = "duration_millis")]
    pub tunnel: Duration,
    /// How often a request is tried again whose connection broke, if that is harmless.
    pub retries: u32,
    /// How long a request waits while no endpoint takes any; zero for not at all.
    #[serde(with = "duration_millis")]
    pub hold: Duration,
}

impl Default for Requests {
    /// Returns: any body, a minute to begin and between two pieces, an hour for a tunnel, tried again twice, held for 10 s.
    fn default() -> Self {
        Self {
            body_bytes_max: None,
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
            retries: 2,
            hold: Duration::from_secs(10),
        }
    }
}

impl Requests {
    /// Tells whether nothing was said of them.
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}
