//! The routing table: which requests belong to which service, and which version and endpoint answers them.
//!
//! This is the published form: JSON, as `PUT /v1/table` takes it and the folder keeps it. Fields that are unknown are ignored, so
//! that a newer writer can speak to an older router. Times are in milliseconds; 0 stands for "no limit".

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The whole of all shares: parts per million.
pub const WHOLE: u32 = 1_000_000;

/// A routing table. A router takes a table only if its revision is not below that of the table in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Grows with every change. A router that has just been made is at 0.
    pub revision: u64,
    /// The services by name.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
}

/// One service: what belongs to it, its versions and their endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The requests that belong to it.
    pub routes: Vec<Route>,
    /// Its versions. Their order is the order of their ranges in a draw, so keep it while shares change.
    pub versions: Vec<Version>,
    /// Where its versions answer.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Whether a client stays with its version.
    #[serde(default)]
    pub stickiness: Stickiness,
    /// What a request may take.
    #[serde(default)]
    pub limits: Limits,
    /// How often a request is tried again.
    #[serde(default)]
    pub retries: Retries,
    /// How requests wait for an endpoint.
    #[serde(default)]
    pub hold: Hold,
    /// How long endpoints may take.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// Requests that belong to a service. The longest path of the most exact host wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// A host (`shop.example.com`), every host below one (`*.example.com`), or any (`*`). No port.
    #[serde(default = "any_host")]
    pub host: String,
    /// The beginning of the path, by whole segments: `/api` takes `/api` and `/api/x`, not `/apis`.
    #[serde(default = "any_path")]
    pub path: String,
}

/// A version of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its name.
    pub name: String,
    /// Its share of the requests, in parts per million; all shares of a service make a million.
    pub share: u32,
}

/// An address where a version answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name, which no other endpoint of the service has.
    pub name: String,
    /// Its address, which speaks HTTP/1.1.
    pub address: SocketAddr,
    /// The version it runs.
    pub version: String,
    /// Whether it gets new requests.
    #[serde(default)]
    pub state: State,
    /// Its part of its version's requests beside the other endpoints', from 1 to 1000.
    #[serde(default = "even")]
    pub weight: u32,
}

/// Whether an endpoint gets new requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    #[default]
    Ready,
    /// It does not; it finishes what it has.
    Draining,
}

/// Whether a client stays with its version: by which key, hashed together with a salt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Stickiness {
    /// An independent draw for each request.
    #[default]
    None,
    /// The value of a cookie.
    Cookie {
        /// The cookie's name.
        name: String,
        /// Drawn anew for each rollout, so that it is not always the same clients who go first.
        #[serde(default)]
        salt: String,
        /// Whether a client without the cookie is given one; else it is an independent draw.
        #[serde(default)]
        give: bool,
    },
    /// The value of a header; a request without it is an independent draw.
    Header {
        /// The header's name.
        name: String,
        /// Drawn anew for each rollout.
        #[serde(default)]
        salt: String,
    },
    /// The client's address.
    Address {
        /// Drawn anew for each rollout.
        #[serde(default)]
        salt: String,
    },
}

/// What a request may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest body of a request, in bytes; 0 for no limit.
    #[serde(default)]
    pub body_bytes: u64,
}

/// How often a request is tried again when its connection broke. Only idempotent requests without a body are, and
/// whichever never reached an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// How many times, after the first.
    pub attempts: u32,
}

/// How requests wait while no endpoint can take them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// How many wait at once; more are refused.
    pub requests: usize,
    /// How long each waits.
    pub time_ms: u64,
}

/// How long endpoints may take, in milliseconds; 0 for no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect_ms: u64,
    /// From the request to the head of the answer.
    pub answer_ms: u64,
    /// Between two pieces of an answer's body.
    pub body_ms: u64,
    /// Without a byte in either direction of an upgraded connection.
    pub tunnel_ms: u64,
}

impl Default for Retries {
    fn default() -> Self {
        Retries { attempts: 2 }
    }
}

impl Default for Hold {
    fn default() -> Self {
        Hold { requests: 1_000, time_ms: 10_000 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect_ms: 2_000, answer_ms: 60_000, body_ms: 60_000, tunnel_ms: 3_600_000 }
    }
}

fn any_host() -> String {
    "*".into()
}

fn any_path() -> String {
    "/".into()
}

fn even() -> u32 {
    100
}

/// Reads a time of the table: 0 is none.
pub fn time(milliseconds: u64) -> Option<Duration> {
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}
