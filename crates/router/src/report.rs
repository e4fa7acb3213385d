//! What `GET /v1/counts` tells: everything counted since this line of routers began, by service, version and endpoint.
//!
//! Counts only grow while the instance is the same; readers work with differences. `in_flight`, `open` and `waiting` are of the moment.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::busy::Busiest;
use crate::count::{Counts, Encoded, Times};
use crate::failed::FailedRequest;

/// All counts of a router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Drawn when a router starts with nobody before it. When it changes, counts have begun anew.
    pub instance: String,
    /// The revision of the table in force, in every process that still has a client.
    pub revision: u64,
    /// What belongs to no service.
    pub clients: Clients,
    /// The services by name.
    pub services: BTreeMap<String, Service>,
    /// Attempts that failed by their version's fault, by number: where they were asked for, those that were kept after a number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedRequest>,
}

/// What belongs to no service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clients {
    /// Connections so far.
    pub connections: u64,
    /// Connections now.
    pub open: u64,
    /// Requests that no route took.
    pub unrouted: u64,
    /// Requests refused for what they are.
    pub bad: u64,
}

/// The counts of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Times that a request had to wait for an endpoint.
    pub held: u64,
    /// Requests that were told that there is no endpoint.
    pub refused: u64,
    /// Requests that wait now.
    pub waiting: u64,
    /// How much its busiest clients carry, where failures were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busiest: Option<Busiest>,
    /// Its versions by name.
    pub versions: BTreeMap<String, Version>,
    /// Its endpoints. One that the table no longer has is `gone`, and is listed while it has something in flight.
    pub endpoints: Vec<Endpoint>,
}

/// The counts of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Version {
    /// What happened.
    #[serde(flatten)]
    pub counts: Counts,
    /// How long answers took until their heads were there, by status class.
    pub times: Vec<Encoded>,
}

/// The counts of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    /// The version it runs.
    pub version: String,
    /// Whether it takes requests.
    pub state: Stand,
    /// Whether it refused a connection and is left alone for a moment.
    #[serde(default)]
    pub is_away: bool,
    /// What happened.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Whether an endpoint takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// It does.
    Ready,
    /// It finishes what it has.
    Draining,
    /// The table no longer has it; it finishes what it has.
    Gone,
}

impl Report {
    /// Returns how many requests an endpoint has, wherever they are.
    pub fn in_flight(&self, service: &str, endpoint: &str) -> u64 {
        let endpoints = self.services.get(service).into_iter().flat_map(|service| &service.endpoints);
        endpoints.filter(|other| other.name == endpoint).map(|other| other.counts.in_flight).sum()
    }

    /// Adds what another process of the same line counted. What is of the moment is added as well; what failed is not, as each process has
    /// numbers of its own.
    pub fn add(&mut self, other: &Report) {
        self.clients.connections += other.clients.connections;
        self.clients.open += other.clients.open;
        self.clients.unrouted += other.clients.unrouted;
        self.clients.bad += other.clients.bad;
        for (name, service) in &other.services {
            self.services.entry(name.clone()).or_default().add(service);
        }
    }

    /// Leaves out what was counted up to an earlier word of the same process. What is of the moment stays.
    pub fn leave_out(&mut self, before: &Report) {
        let (mine, theirs) = (&mut self.clients, &before.clients);
        mine.connections = mine.connections.saturating_sub(theirs.connections);
        mine.unrouted = mine.unrouted.saturating_sub(theirs.unrouted);
        mine.bad = mine.bad.saturating_sub(theirs.bad);
        for (name, service) in &mut self.services {
            if let Some(before) = before.services.get(name) {
                service.leave_out(before);
            }
        }
    }

    /// Leaves out what is of the moment: what remains of a process that has ended.
    pub fn past(mut self) -> Report {
        self.clients.open = 0;
        self.failed.clear();
        for service in self.services.values_mut() {
            (service.waiting, service.busiest) = (0, None);
            service.versions.values_mut().for_each(|version| version.counts.in_flight = 0);
            service.endpoints.retain(|endpoint| endpoint.state != Stand::Gone);
            service.endpoints.iter_mut().for_each(|endpoint| endpoint.counts.in_flight = 0);
        }
        self
    }
}

impl Service {
    fn add(&mut self, other: &Service) {
        self.held += other.held;
        self.refused += other.refused;
        self.waiting += other.waiting;
        if let Some(busiest) = other.busiest {
            self.busiest.get_or_insert_default().add(busiest);
        }
        for (name, version) in &other.versions {
            self.versions.entry(name.clone()).or_default().add(version);
        }
        for endpoint in &other.endpoints {
            self.add_endpoint(endpoint);
        }
    }

    fn leave_out(&mut self, before: &Service) {
        self.held = self.held.saturating_sub(before.held);
        self.refused = self.refused.saturating_sub(before.refused);
        for (name, version) in &mut self.versions {
            if let Some(before) = before.versions.get(name) {
                version.counts.leave_out(&before.counts);
                version.times.iter_mut().for_each(|times| times.leave_out(&before.times));
            }
        }
        for endpoint in &mut self.endpoints {
            if let Some(before) = before.endpoints.iter().find(|before| before.is(endpoint)) {
                endpoint.counts.leave_out(&before.counts);
            }
        }
    }

    /// Adds an endpoint's counts to those of the same one.
    pub fn add_endpoint(&mut self, endpoint: &Endpoint) {
        match self.endpoints.iter_mut().find(|mine| mine.is(endpoint)) {
            Some(mine) => mine.counts.add(&endpoint.counts),
            None => self.endpoints.push(endpoint.clone()),
        }
    }
}

impl Endpoint {
    fn is(&self, other: &Endpoint) -> bool {
        (&self.name, self.address, &self.version) == (&other.name, other.address, &other.version)
    }
}

impl Version {
    fn add(&mut self, other: &Version) {
        self.counts.add(&other.counts);
        let mut times = Times::default();
        times.add_encoded(&self.times);
        times.add_encoded(&other.times);
        self.times = times.encode();
    }
}
