//! What a router does for one process group: its endpoints, and the part of each release.

use std::collections::BTreeMap;

use super::{Canary, EndpointState, Route, Share};
use crate::name::{HostName, ReleaseId, TargetName};

/// One process group as a router sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Which.
    pub target: TargetName,
    /// The releases with endpoints, each with its part of the requests; all parts together are everything.
    pub shares: BTreeMap<ReleaseId, Share>,
    /// Its endpoints, except those on standby.
    pub members: Vec<Member>,
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
    /// stays nothing: what may get no request gets none, whoever else is gone.
    pub fn new(target: TargetName, routes: &BTreeMap<HostName, Route>, canary: Option<&Canary>) -> Self {
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
        Self { target, shares: shares(&weights, canary), members }
    }
}

impl Member {
    /// Returns how routers name it: the pool's target, and `HOST/RELEASE`.
    pub fn name(&self, pool: &Pool) -> (String, String) {
        (pool.target.to_string(), format!("{}/{}", self.host, self.release))
    }
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
            validity: Duration::from_secs(60),
            renewed: 1,
        });
        let target = "production.shop.web".parse().unwrap();
        let pool = Pool::new(target, &routes.collect(), canary.as_ref());
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
}
