//! Which hosts run which apps, and what each target must run now.
//!
//! Invariants: what must be true is computed from the records and the hosts of this moment, never remembered; a target
//! of a rollout has the rollout's order, every other matching one the steady order; a host that joins, or comes back
//! re-imaged, needs no path of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::name::{Actor, HostName, Target};
use crate::rollout::{Delivery, HostSeen, Observation, Rollout, RouterSeen};
use crate::selector::{Labels, Selector};
use crate::target::Report;
use crate::traffic::Followed;

mod assign;
mod change;
mod claims;
mod current;
mod groups;
mod halting;
mod late;
mod leftover;
mod pushed;
mod routes;
mod track;
mod turn;
mod waiting;

pub use assign::assignments;
pub use change::{Back, Deploy, Order, Records, clean, command, deploy, release_may_go, remove, rollback};
pub use claims::{Claim, claimed, claims, refuse_claimed};
pub use current::{Current, first_generation};
pub use pushed::Pushed;
pub use track::{Past, Track};
pub use turn::{Seen, Turn, turn};
pub use waiting::{Waiting, forgo};

/// What an agent says of its host for as long as its session lives.
///
/// An agent writes its reports first and this afterwards: a report under a living presence is that agent's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Made once per agent folder; tells two hosts with one name apart.
    pub instance: String,
    /// Where people reach the host; for them alone.
    pub address: String,
    /// What selectors match.
    pub labels: Labels,
    /// Footplate's version on it.
    pub version: String,
    /// How its machine was when this was written, if it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Vitals>,
}

/// What an agent says of its machine: for people, and never decided on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// When it looked, by its own clock.
    pub at: Moment,
    /// What is free in the agent's folder, in bytes; absent when it could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
}

/// Whether a person took a host out, and who.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// How far out.
    pub restriction: Restriction,
    /// Who did it.
    pub actor: Actor,
    /// Why, when they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When.
    pub since: Moment,
}

/// How far a host is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restriction {
    /// It gets no new order; what it runs, it goes on running.
    Cordoned,
    /// As cordoned; once there is traffic to route, it gets none.
    Drained,
}

/// One host as it stands in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// What its living agent says of it; nothing when no agent lives.
    pub presence: Option<Presence>,
    /// What a person did to it.
    pub state: Option<HostState>,
    /// What its agent last reported of this app's targets.
    pub reports: BTreeMap<Target, Report>,
    /// How far the router on it followed this app's table when its agent last said so, when there is one.
    pub router: Option<Followed>,
}

impl Host {
    /// Tells whether its agent lives and its labels match.
    pub fn matches(&self, name: &HostName, selector: &Selector) -> bool {
        self.presence.as_ref().is_some_and(|presence| selector.matches(name, &presence.labels))
    }

    /// Tells whether this target of it is one that the delivery reaches.
    pub fn is_reached(&self, target: &Target, delivery: &Delivery) -> bool {
        self.matches(&target.host, &delivery.selector) && delivery.groups.contains(&target.group)
    }
}

/// Returns what a rollout gets to see: every host that matches and every one that takes part.
pub fn observe(
    selector: &Selector,
    rollout: Option<&Rollout>,
    hosts: &BTreeMap<HostName, Host>,
    now: Moment,
) -> Observation {
    let concerned = |name: &HostName| rollout.is_some_and(|rollout| rollout.concerns(name));
    let seen = hosts.iter().filter(|(name, host)| concerned(name) || host.matches(name, selector));
    let seen = seen.map(|(name, host)| {
        let seen = HostSeen {
            alive: host.presence.is_some(),
            matches: host.matches(name, selector),
            cordoned: host.state.is_some(),
            reports: host.reports.clone(),
        };
        (name.clone(), seen)
    });
    let routers = hosts.iter().filter_map(|(name, host)| {
        let followed = host.router.clone()?;
        Some((name.clone(), RouterSeen { alive: host.presence.is_some(), followed }))
    });
    Observation { now, hosts: seen.collect(), routers: routers.collect(), told: None, judged: None }
}
