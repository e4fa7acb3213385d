//! What a router does for one process group: its endpoints, and the part of each release.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::balance::balance;
use super::{Canary, EndpointState, Route, Share, Traffic};
use crate::name::{GroupName, HostName, ReleaseId, TargetName};
use crate::release::{Entrance, Reach, Requests, Sticky};

/// One process group as a router sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Which.
    pub target: TargetName,
    /// The requests that belong to it; none when no router sends it any.
    pub entrances: BTreeSet<Entrance>,
    /// By what a client stays with its version, and the salt of that draw.
    pub stickiness: Option<Stickiness>,
    /// What a request may take.
    pub requests: Requests,
    /// The releases with endpoints, each with its part of the requests; all parts together are everything.
    pub shares: BTreeMap<ReleaseId, Share>,
    /// Its endpoints, except those on standby.
    pub members: Vec<Member>,
}

/// How a router draws the version of a client that stays with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stickiness {
    /// By what clients are told apart.
    pub by: Sticky,
    /// Goes into the draw, together with the client's key.
    pub salt: String,
}

/// One endpoint of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// On which host.
    pub host: HostName,
    /// The release that it runs.
    pub release: ReleaseId,
    /// Where it listens: `ADDRESS:PORT`.
    pub address: String,
    /// Its part of its release's requests, relative to the others.
    pub weight: u32,
    /// Whether it takes no new request.
    pub is_draining: bool,
}

impl Pool {
    /// Returns the pool of these routes.
    ///
    /// Without a canary each endpoint gets requests by its weight. With one, its release gets its share and all others
    /// the rest by weight; a side without an endpoint that serves leaves its part to the other, but a share of nothing
    /// stays nothing: what may get no request gets none, whoever else is gone. Where nothing says which requests belong to it,
    /// any do. Beside the canary the old release's endpoints have so much less weight that every host has as many requests as without it.
    pub fn new(target: TargetName, routes: &BTreeMap<HostName, Route>, traffic: Option<&Traffic>) -> Self {
        let canary = traffic.and_then(|traffic| traffic.canary.as_ref());
        let canary = canary.filter(|canary| canary.is_of(&target.group));
        let mut members = Vec::new();
        let mut weights: BTreeMap<ReleaseId, u64> = BTreeMap::new();
        for (host, route) in routes {
            for (release, endpoint) in &route.endpoints {
                let weight = weights.entry(release.clone()).or_default();
                match endpoint.state {
                    EndpointState::Standby => continue,
                    EndpointState::Serving => *weight += u64::from(endpoint.weight),
                    EndpointState::Draining => {}
                }
                members.push(Member {
                    host: host.clone(),
                    release: release.clone(),
                    address: endpoint.address.clone(),
                    weight: endpoint.weight,
                    is_draining: endpoint.state == EndpointState::Draining,
                });
            }
        }
        let Reached { entrances, stickiness, requests } = reached(&target.group, traffic);
        let shares = shares(&weights, canary);
        if let Some((release, share)) = canary.and_then(|canary| shares.get_key_value(&canary.release)) {
            balance(&mut members, release, *share);
        }
        Self { target, entrances, stickiness, requests, shares, members }
    }
}

/// Requests that more than one process group claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disputed {
    /// Which.
    pub entrance: Entrance,
    /// Who gets them: the first by name, the same at every router.
    pub owner: TargetName,
    /// Who does not.
    pub other: TargetName,
}

impl fmt::Display for Disputed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is claimed by {} and by {}", self.entrance, self.owner, self.other)
    }
}

/// Leaves requests that several pools claim with the first of them, and returns who lost them.
///
/// A deployment that would lead to this is refused; it happens all the same when a rollback or the first router of a site comes later.
pub fn settle(pools: &mut [Pool]) -> Vec<Disputed> {
    let mut owners: BTreeMap<Entrance, TargetName> = BTreeMap::new();
    let mut disputed = Vec::new();
    for pool in pools {
        let target = &pool.target;
        pool.entrances.retain(|entrance| match owners.get(entrance) {
            None => owners.insert(entrance.clone(), target.clone()).is_none(),
            Some(owner) => {
                let (owner, other) = (owner.clone(), target.clone());
                disputed.push(Disputed { entrance: entrance.clone(), owner, other });
                false
            }
        });
    }
    disputed
}

impl Member {
    /// Returns how routers name it: the pool's target, and `HOST/RELEASE`.
    pub fn name(&self, pool: &Pool) -> (String, String) {
        (pool.target.to_string(), format!("{}/{}", self.host, self.release))
    }
}

/// How users reach a process group.
#[derive(Default)]
struct Reached {
    entrances: BTreeSet<Entrance>,
    stickiness: Option<Stickiness>,
    requests: Requests,
}

fn reached(group: &GroupName, traffic: Option<&Traffic>) -> Reached {
    let Some(traffic) = traffic.filter(|traffic| !traffic.groups.is_empty()) else {
        return Reached { entrances: BTreeSet::from([Entrance::any()]), ..Reached::default() };
    };
    let Some(Reach { entrances, sticky, requests }) = traffic.groups.get(group).cloned() else {
        return Reached::default();
    };
    let stickiness = sticky.map(|by| Stickiness { by, salt: traffic.salt.clone() });
    Reached { entrances, stickiness, requests }
}

fn shares(weights: &BTreeMap<ReleaseId, u64>, canary: Option<&Canary>) -> BTreeMap<ReleaseId, Share> {
    let Some(canary) = canary.filter(|canary| weights.contains_key(&canary.release)) else {
        return divide(weights, Share::ALL);
    };
    let others: BTreeMap<ReleaseId, u64> = weights
        .iter()
        .filter(|(id, _)| **id != canary.release)
        .map(|(id, weight)| (id.clone(), *weight))
        .collect();
    let has_others = others.values().any(|weight| *weight > 0);
    let part = match weights[&canary.release] {
        0 => Share::NONE,
        _ if !has_others && canary.share > Share::NONE => Share::ALL,
        _ => canary.share,
    };
    let rest = Share::from_millionths(Share::ALL.millionths() - part.millionths());
    let mut shares = divide(&others, rest);
    shares.insert(canary.release.clone(), part);
    shares
}

/// Divides a share by weight, without losing a millionth: what does not divide goes to the last that has any weight.
fn divide(weights: &BTreeMap<ReleaseId, u64>, whole: Share) -> BTreeMap<ReleaseId, Share> {
    let all: u64 = weights.values().sum();
    let mut left = whole.millionths();
    let last = weights.iter().rev().find(|(_, weight)| **weight > 0 || all == 0).map(|(id, _)| id.clone());
    let mut shares = BTreeMap::new();
    for (id, weight) in weights {
        let part = u64::from(whole.millionths()) * weight / all.max(1);
        let part = u32::try_from(part).expect("a part is not more than the whole");
        left -= part;
        shares.insert(id.clone(), Share::from_millionths(part));
    }
    if let Some(share) = last.and_then(|last| shares.get_mut(&last)) {
        *share = Share::from_millionths(share.millionths() + left);
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::traffic::Endpoint;

    /// `a: 1 serves 2 standby, b: 1 drains`, and what release 2 gets, in percent.
    fn told(routes: &str, canary: Option<u32>) -> String {
        let id = |text: &str| text.parse::<ReleaseId>().unwrap();
        let route = |text: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            let endpoints = words.chunks(2).map(|pair| {
                let state = match pair[1] {
                    "serves" => EndpointState::Serving,
                    "drains" => EndpointState::Draining,
                    _ => EndpointState::Standby,
                };
                (id(pair[0]), Endpoint { address: format!("h:{}", pair[0]), state, weight: 100 })
            });
            Route { endpoints: endpoints.collect() }
        };
        let routes = routes.split(", ").map(|text| {
            let (host, rest) = text.split_once(": ").unwrap();
            (host.parse().unwrap(), route(rest))
        });
        let canary = canary.map(|percent| Canary {
            release: id("2"),
            share: Share::from_millionths(percent * 10_000),
            groups: BTreeSet::new(),
            validity: Duration::from_secs(60),
            renewed: 1,
        });
        let target = "production.shop.web".parse().unwrap();
        let traffic = Traffic { canary, ..Traffic::default() };
        let pool = Pool::new(target, &routes.collect(), Some(&traffic));
        let whole: u32 = pool.shares.values().map(|share| share.millionths()).sum();
        assert!(pool.shares.is_empty() || whole == 1_000_000, "{pool:?}");
        let shares: Vec<String> = pool.shares.iter().map(|(id, share)| format!("{id} {share}")).collect();
        let members = pool.members.iter().map(|member| {
            let drains = if member.is_draining { " drains" } else { "" };
            format!("{}/{}{drains}", member.host, member.release)
        });
        format!("{}; {}", shares.join(" "), members.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn requests_are_divided_by_endpoints_or_by_the_canarys_share() {
        for (routes, canary, expected) in [
            ("a: 1 serves, b: 1 serves", None, "1 100%; a/1 b/1"),
            ("a: 1 serves 2 standby, b: 1 serves", None, "1 100% 2 0%; a/1 b/1"),
            ("a: 1 serves 2 serves, b: 1 serves", None, "1 66.6666% 2 33.3334%; a/1 a/2 b/1"),
            ("a: 1 drains 2 serves, b: 1 serves", None, "1 50% 2 50%; a/1 drains a/2 b/1"),
            ("a: 1 serves 2 serves, b: 1 serves", Some(10), "1 90% 2 10%; a/1 a/2 b/1"),
            ("a: 1 serves 2 serves", Some(0), "1 100% 2 0%; a/1 a/2"),
            ("a: 1 drains 2 serves", Some(10), "1 0% 2 100%; a/1 drains a/2"),
            ("a: 1 serves 2 drains", Some(10), "1 100% 2 0%; a/1 a/2 drains"),
            ("a: 1 drains 2 serves", Some(0), "1 100% 2 0%; a/1 drains a/2"),
            ("a: 1 drains", None, "1 100%; a/1 drains"),
        ] {
            assert_eq!(told(routes, canary), expected, "{routes}, {canary:?}");
        }
    }

    #[test]
    fn requests_that_two_claim_stay_with_the_first() {
        let groups = |routes: &[&str]| {
            let entrances = routes.iter().map(|route| route.parse().unwrap()).collect();
            let by = Sticky::Cookie { name: "session".to_owned(), give: false };
            let reach = Reach { entrances, sticky: Some(by), ..Reach::default() };
            BTreeMap::from([("web".parse().unwrap(), reach)])
        };
        let traffic =
            |routes| Traffic { groups: groups(routes), salt: "r7".to_owned(), ..Traffic::default() };
        let pool = |target: &str, traffic: &Traffic| {
            Pool::new(target.parse().unwrap(), &BTreeMap::new(), Some(traffic))
        };
        let blog = pool("production.blog.web", &traffic(&["a/", "b/"]));
        assert_eq!(blog.stickiness.as_ref().map(|sticky| sticky.salt.as_str()), Some("r7"));
        let mut pools = vec![
            blog,
            pool("production.shop.admin", &traffic(&["c/"])),
            pool("production.shop.web", &traffic(&["b/", "c/"])),
            pool("production.wiki.web", &Traffic::default()),
        ];
        let disputed = settle(&mut pools);
        let told: Vec<String> = disputed.iter().map(Disputed::to_string).collect();
        assert_eq!(told, ["`b/` is claimed by production.blog.web and by production.shop.web"]);
        let left =
            pools.iter().map(|pool| pool.entrances.iter().map(Entrance::to_string).collect::<Vec<_>>());
        let expected: [Vec<&str>; 4] = [vec!["a/", "b/"], vec![], vec!["c/"], vec!["*/"]];
        assert_eq!(
            left.collect::<Vec<_>>(),
            expected,
            "a group that nothing says of has none, an old record any"
        );
    }
}
