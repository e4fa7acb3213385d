//! Where requests go: endpoints with a state, the canary's share, and what routers say of them.
//!
//! Invariants: routes and shares are written by the controller alone; only an endpoint whose service is ready and that
//! was let in takes requests; a share that is no longer renewed is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;
use crate::name::{AppPath, GroupName, ReleaseId, Target};
use crate::release::{Reach, duration_millis};
use crate::target::Source;

mod balance;
pub mod counts;
mod pool;
mod weight;

pub use pool::{Disputed, Member, Pool, Stickiness, settle};
pub use weight::WEIGHT_MAX;

/// A part of the traffic, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u32);

impl Share {
    /// No request at all.
    pub const NONE: Share = Share(0);
    /// What gets so little gets requests where nobody else could answer, and nearly none elsewhere.
    pub const LEAST: Share = Share(1);
    /// Every request.
    pub const ALL: Share = Share(1_000_000);

    /// Returns so many millionths; more than all is all.
    pub fn from_millionths(millionths: u32) -> Self {
        Self(millionths.min(Self::ALL.0))
    }

    /// Returns the part that so many of `all` are; nothing of nothing.
    pub fn of_hosts(hosts: usize, all: usize) -> Self {
        let millionths = (Self::ALL.0 as usize).saturating_mul(hosts).checked_div(all).unwrap_or_default();
        Self::from_millionths(u32::try_from(millionths).unwrap_or(u32::MAX))
    }

    /// Returns the millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Returns it as a part of one.
    pub fn part(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL.0)
    }

    /// Returns how many of `all` carry this share, rounded up, and at least one of any.
    pub fn of(self, all: usize) -> usize {
        let part = (self.0 as usize).saturating_mul(all).div_ceil(Self::ALL.0 as usize);
        part.clamp(1.min(all), all)
    }
}

impl fmt::Display for Share {
    /// Writes percent: `25%`, `0.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        match rest {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{}%", format!("{rest:04}").trim_end_matches('0')),
        }
    }
}

/// A text that is no part of anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no share; expected percent, such as 5% or 0.5%", .0.escape_debug())]
pub struct NotAShare(pub String);

impl FromStr for Share {
    type Err = NotAShare;

    /// Reads percent: `25%`, `0.5%`; at most four digits after the point, and at most 100.
    fn from_str(text: &str) -> Result<Self, NotAShare> {
        let refuse = || NotAShare(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(refuse)?;
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(rest) || whole.len() > 3 || rest.len() > 4 {
            return Err(refuse());
        }
        let millionths: u32 = format!("{whole}{rest:0<4}").parse().map_err(|_| refuse())?;
        if millionths > Self::ALL.0 { Err(refuse()) } else { Ok(Self(millionths)) }
    }
}

/// What an endpoint may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// It is up and takes no request of users: it has yet to be let in.
    Standby,
    /// It takes requests.
    Serving,
    /// It takes no new request and finishes those that it has.
    Draining,
}

/// One process that answers requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it listens: `ADDRESS:PORT`.
    pub address: String,
    /// What it may do.
    pub state: EndpointState,
    /// How much of its release's requests it takes, relative to the others.
    pub weight: u32,
}

/// The endpoints of one target, by the release that each runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// At most two: the old and the new one.
    pub endpoints: BTreeMap<ReleaseId, Endpoint>,
}

/// How an app's requests are divided, and how new that is. Written after the routes that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Rises with every change that a rollout waits for; a router says which one it follows.
    pub revision: Generation,
    /// The part that one release gets; by the number and weight of endpoints when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// How users reach each process group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<GroupName, Reach>,
    /// Goes into the draw of clients that stay with their version: another one for each rollout, so that it is not always the
    /// same clients who go first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
}

/// The part of the traffic that a release gets while it is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Which release; all others share the rest.
    pub release: ReleaseId,
    /// Its part.
    pub share: Share,
    /// Of which process groups; of all when none is named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<GroupName>,
    /// How long a router may go on with it without seeing the record renewed. Then it gets nothing: nobody judges it.
    #[serde(with = "duration_millis")]
    pub validity: Duration,
    /// Rises while somebody judges.
    pub renewed: u64,
}

impl Canary {
    /// Tells whether it is one of this process group.
    pub fn is_of(&self, group: &GroupName) -> bool {
        self.groups.is_empty() || self.groups.contains(group)
    }
}

/// What a router says, for as long as its agent's session lives. Written by the agent beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterReport {
    /// The apps that it routes to.
    pub apps: Vec<Following>,
}

impl RouterReport {
    /// Returns how far it follows this app's table; nothing when it does not route to it.
    pub fn follows(&self, path: &AppPath) -> Option<&Followed> {
        self.apps.iter().find(|following| following.path == *path).map(|following| &following.followed)
    }
}

/// How an agent gets on with the catalog that it enters its services in. Written by that agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryReport {
    /// Which catalog: `Consul at 127.0.0.1:8500`.
    pub catalog: String,
    /// Why it does not take what the agent says, while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<DiscoveryTrouble>,
}

/// Why a catalog does not take what an agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryTrouble {
    /// Why, in a sentence.
    pub because: String,
    /// What to do about it.
    pub next: String,
}

/// What the controller wants of a router, besides its routes. Written for every router that reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterOrder {
    /// Where the agent beside it sends what it counted.
    pub counts: Source,
}

/// One app that a router routes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// Which.
    pub path: AppPath,
    /// How far it follows the app's table.
    #[serde(flatten)]
    pub followed: Followed,
}

/// How far a router follows one app's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// The revision that it has put into force, with all routes as they were then or later.
    pub revision: Generation,
    /// Endpoints that are draining and still have requests in flight.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub busy: BTreeSet<Busy>,
}

/// An endpoint with requests in flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Busy {
    /// Of which target.
    pub target: Target,
    /// Of which release.
    pub release: ReleaseId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_at_least_one_of_any_and_never_more_than_all() {
        let percent = |percent: u32| Share::from_millionths(percent * 10_000);
        for (share, all, expected) in
            [(1, 3, 1), (34, 3, 2), (50, 4, 2), (51, 4, 3), (100, 3, 3), (1, 0, 0), (500, 3, 3)]
        {
            assert_eq!(percent(share).of(all), expected, "{share}% of {all}");
        }
    }

    #[test]
    fn a_share_is_written_as_percent() {
        for (millionths, expected) in
            [(0, "0%"), (10_000, "1%"), (5_000, "0.5%"), (333_333, "33.3333%"), (1_000_000, "100%")]
        {
            assert_eq!(Share::from_millionths(millionths).to_string(), expected);
            assert_eq!(expected.parse(), Ok(Share::from_millionths(millionths)));
        }
        for text in ["", "%", "5", "5 %", "-1%", "100.1%", "0.00001%", "1e2%", "1000%", "1.%"] {
            assert_eq!(text.parse::<Share>(), Err(NotAShare(text.to_owned())));
        }
    }
}
