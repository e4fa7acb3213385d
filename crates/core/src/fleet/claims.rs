//! Who answers which requests: no two services may claim the same ones.
//!
//! Invariant: what is claimed is computed from what every app runs and moves to, in every environment of the site, since a
//! router serves them all; and from what waits, so that nothing need be asked again when that begins. A rollback is never
//! refused for it.

use std::collections::BTreeSet;

use super::{Current, Track};
use crate::name::{AppPath, GroupName, TargetName};
use crate::refusal::Refusal;
use crate::release::{Entrance, Release};
use crate::rollout::Rollout;

/// One service's claim to some requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose it is.
    pub by: TargetName,
    /// Which requests.
    pub entrance: Entrance,
    /// Whether it says so itself; any request is a service's that says nothing.
    pub is_said: bool,
}

/// Lists what the services of a release claim in an environment.
pub fn claims(path: &AppPath, release: &Release) -> Vec<Claim> {
    let claims = |(group, reach): (GroupName, crate::release::Reach)| {
        let by = TargetName { path: path.clone(), group };
        let is_said = release.names_routes(&path.environment, &by.group);
        reach.entrances.into_iter().map(move |entrance| Claim { by: by.clone(), entrance, is_said })
    };
    release.reaches(&path.environment).into_iter().flat_map(claims).collect()
}

/// Lists what an app claims by what it runs, by the rollout under way and by what waits for it.
pub fn claimed(current: &Current, rollout: Option<&Rollout>) -> Vec<Claim> {
    let mut all = claimed_now(current, rollout);
    if let Some(waiting) = &current.waiting {
        let moves = |group: &GroupName| waiting.only.as_ref().is_none_or(|only| only.contains(group));
        all.extend(claims(&current.path, &waiting.to).into_iter().filter(|claim| moves(&claim.by.group)));
    }
    all
}

/// Lists what an app claims by what it runs, and by the rollout under way.
fn claimed_now(current: &Current, rollout: Option<&Rollout>) -> Vec<Claim> {
    let of = |track: &Track| {
        track.release.iter().flat_map(|release| claims(&current.path, release)).collect::<Vec<_>>()
    };
    let is_own =
        |group: &GroupName| current.delivery.groups.contains(group) && !current.apart.contains_key(group);
    let own = of(&current.track).into_iter().filter(|claim| is_own(&claim.by.group));
    let apart = current
        .apart
        .iter()
        .flat_map(|(group, track)| of(track).into_iter().filter(move |claim| claim.by.group == *group));
    let mut all: Vec<Claim> = own.chain(apart).collect();
    if let Some(moving) = rollout.filter(|rollout| rollout.is_active()) {
        let claims = claims(&current.path, &moving.to).into_iter();
        all.extend(claims.filter(|claim| moving.groups.contains(&claim.by.group)));
    }
    all
}

/// Refuses a release that claims requests of another service, its own or another app's. With `only`, these process groups
/// alone move to it, and the others claim what they do now, and what the rollout under way brings them to.
///
/// Where no router is, services that do not say what they answer are left alone: nobody sends them anything.
pub fn refuse_claimed(
    current: &Current,
    rollout: Option<&Rollout>,
    to: &Release,
    only: Option<&BTreeSet<GroupName>>,
    others: &[Claim],
    has_routers: bool,
) -> Result<(), Refusal> {
    let path = &current.path;
    let moves = |claim: &Claim| only.is_none_or(|only| only.contains(&claim.by.group));
    let stays: Vec<Claim> = claimed_now(current, rollout).into_iter().filter(|claim| !moves(claim)).collect();
    let own: Vec<Claim> = claims(path, to).into_iter().filter(moves).collect();
    let known = stays.iter().chain(others.iter().filter(|other| other.by.path != *path));
    for (place, claim) in own.iter().enumerate() {
        let same = |other: &&Claim| {
            other.entrance == claim.entrance && (has_routers || (other.is_said && claim.is_said))
        };
        let Some(other) = own[..place].iter().chain(known.clone()).find(same) else { continue };
        return Err(refuse(path, to, claim, other));
    }
    Ok(())
}

fn refuse(path: &AppPath, to: &Release, claim: &Claim, other: &Claim) -> Refusal {
    let group = &claim.by.group;
    let owner = match other.by.path == *path {
        true => format!("process group `{}`", other.by.group),
        false => format!("`{}`", other.by),
    };
    let because = match claim.is_said {
        true => {
            format!("the requests to `{}` of process group `{group}` are those of {owner}", claim.entrance)
        }
        false => format!(
            "process group `{group}` names no routes, so any request is its own, and so they are {owner}'s"
        ),
    };
    let next = format!(
        "give it requests of its own: routes = [\"HOST/PATH\"] in [service.{group}], or in [environments.{}.service.{group}]; \
         [] if no router sends it any",
        path.environment
    );
    Refusal::new(format!("cannot deploy `{}` of `{path}`", to.id), because, next)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::fleet::{Deploy, Order, Seen, Waiting, deploy, turn};
    use crate::generation::Generation;
    use crate::moment::Moment;
    use crate::release::{Hooks, Service, Workload};
    use crate::rollout::{Delivery, HostSeen, Observation, Outcome, Phase};

    fn path(text: &str) -> AppPath {
        let (environment, app) = text.split_once('.').unwrap();
        AppPath { environment: environment.parse().unwrap(), app: app.parse().unwrap() }
    }

    /// `web a/ b/, admin, worker -`: process groups with their routes; nothing said; no port.
    fn release(app: &AppPath, groups: &str) -> Release {
        let service = |text: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            let routes = words[1..].iter().filter(|word| **word != "none").map(|word| word.parse().unwrap());
            let service = match words[1..] {
                ["-"] => Service::worker("work"),
                [] => Service::web("serve"),
                _ => Service { routes: Some(routes.collect()), ..Service::web("serve") },
            };
            (words[0].parse().unwrap(), service)
        };
        let services: BTreeMap<_, _> = groups.split(", ").map(service).collect();
        let workload = Workload::Service { hooks: Hooks::default(), services };
        Release::new(app.app.clone(), "2".parse().unwrap(), workload, Moment::default())
    }

    fn told(groups: &str, other: &str, other_groups: &str, has_routers: bool) -> String {
        let (path, other) = (path("production.shop"), path(other));
        let others = claims(&other, &release(&other, other_groups));
        let to = release(&path, groups);
        let delivery = Delivery::new("*".parse().unwrap(), BTreeSet::new());
        let current = Current::new(path, delivery, Default::default());
        let refused = refuse_claimed(&current, None, &to, None, &others, has_routers);
        refused.err().map_or_else(String::new, |refusal| refusal.because)
    }

    #[test]
    fn requests_belong_to_one_service() {
        let other = "production.blog";
        for (groups, other, theirs, expected) in [
            ("web a/", other, "web b/", ""),
            ("web a/x", other, "web a/", ""),
            (
                "web a/",
                other,
                "web A",
                "the requests to `a/` of process group `web` are those of `production.blog.web`",
            ),
            (
                "web a/",
                "staging.shop",
                "web a/",
                "the requests to `a/` of process group `web` are those of `staging.shop.web`",
            ),
            ("web a/", "production.shop", "web a/", ""),
            ("web a/, work -", other, "work -, web b/", ""),
            (
                "admin a/, web a/",
                other,
                "web b/",
                "the requests to `a/` of process group `web` are those of process group `admin`",
            ),
            ("web", other, "web b/", ""),
            ("web none", other, "web", ""),
            (
                "web",
                other,
                "web",
                "process group `web` names no routes, so any request is its own, and so they are `production.blog.web`'s",
            ),
            (
                "admin, web",
                other,
                "web none",
                "process group `web` names no routes, so any request is its own, and so they are process group `admin`'s",
            ),
        ] {
            assert_eq!(told(groups, other, theirs, true), expected, "{groups} beside {theirs}");
        }
    }

    #[test]
    fn what_waits_claims_its_requests_already() {
        let (shop, blog) = (path("production.shop"), path("production.blog"));
        let delivery = Delivery::new("role=web".parse().unwrap(), BTreeSet::from(["web".parse().unwrap()]));
        let waiting = Waiting {
            to: release(&shop, "web a/"),
            policy: delivery.policy.clone(),
            delivery: delivery.clone(),
            actor: "ann".parse().unwrap(),
            reason: None,
            since: Moment::default(),
            at_any_end: false,
            fix: None,
            at_gate: false,
            only: None,
        };
        let blog = Current::new(blog, delivery.clone(), Generation::default());
        let mut current = Current::new(shop, delivery, Generation::default());
        assert_eq!(claimed(&current, None), []);
        current.waiting = Some(Box::new(waiting));
        let claims = claimed(&current, None);
        let refused = refuse_claimed(&blog, None, &release(&blog.path, "web a/"), None, &claims, true);
        assert!(refused.is_err());
    }

    #[test]
    fn a_process_group_that_moves_alone_leaves_the_others_what_a_rollout_brings_them() {
        let groups = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let (current, begun) = moving("admin b/, web a/", "admin b/, web c/", Some(&["web"]));
        let shop = &current.path;
        let refused = |rollout, to: &str| {
            refuse_claimed(&current, rollout, &release(shop, to), Some(&groups(&["admin"])), &[], true)
        };
        assert_eq!(refused(Some(&begun), "admin d/, web a/"), Ok(()));
        assert_eq!(refused(None, "admin c/, web a/"), Ok(()));
        let told = refused(Some(&begun), "admin c/, web a/").unwrap_err().because;
        assert_eq!(told, "the requests to `c/` of process group `admin` are those of process group `web`");
    }

    /// The app runs `1`, which answers `ran`, and moves to `2`; all of it or some process groups.
    fn moving(ran: &str, to: &str, only: Option<&[&str]>) -> (Current, Rollout) {
        let shop = path("production.shop");
        let groups = |text: &str| release(&shop, text).reaches(&shop.environment).into_keys().collect();
        let mut current = Current::new(
            shop.clone(),
            Delivery::new("role=web".parse().unwrap(), groups(ran)),
            Generation::default(),
        );
        current.track.release = Some(Release { id: "1".parse().unwrap(), ..release(&shop, ran) });
        let delivery = Delivery::new("role=web".parse().unwrap(), groups(to));
        let only = only.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
        let policy = delivery.policy.clone();
        let what = Deploy { to: release(&shop, to), policy, delivery, only, fix: None };
        let by = Order { actor: "ann".parse().unwrap(), reason: None };
        let records = deploy(&current, None, what, by, &one_host()).unwrap();
        (records.current, records.rollout)
    }

    fn one_host() -> Observation {
        let host = HostSeen { alive: true, matches: true, ..HostSeen::default() };
        Observation {
            now: Moment::default(),
            hosts: BTreeMap::from([("a".parse().unwrap(), host)]),
            routers: BTreeMap::new(),
            told: None,
            judged: None,
        }
    }

    fn listed(claims: &[Claim]) -> String {
        let told = |claim: &Claim| format!("{} {}", claim.by.group, claim.entrance);
        claims.iter().map(told).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_only_a_whole_deployment_brings_claims_nothing_before() {
        let (current, part) = moving("web a/", "admin b/, web c/", Some(&["web"]));
        assert_eq!(listed(&claimed(&current, Some(&part))), "web a/, web c/");
        let (current, whole) = moving("web a/", "admin b/, web c/", None);
        assert_eq!(listed(&claimed(&current, Some(&whole))), "web a/, admin b/, web c/");
        // Then web alone arrived, and the app runs a release that could answer more.
        let mut arrived = current.clone();
        arrived.track.release = Some(part.to.clone());
        assert_eq!(listed(&claimed(&arrived, None)), "web c/");
    }

    #[test]
    fn nobody_takes_the_requests_of_what_waits_before_it_begins() {
        let (current, rollout) = moving("web a/", "web b/", None);
        let to = Release { id: "3".parse().unwrap(), ..release(&current.path, "web c/") };
        let mut policy = current.delivery.policy.clone();
        policy.during = crate::rollout::During::Wait;
        let what = Deploy { to, delivery: current.delivery.clone(), policy, only: None, fix: None };
        let by = Order { actor: "ann".parse().unwrap(), reason: None };
        let current = deploy(&current, Some(&rollout), what, by, &one_host()).unwrap().current;
        let blog = Current::new(path("production.blog"), current.delivery.clone(), Generation::default());
        let may_have = |entrance: &str, current: &Current, rollout: &Rollout| {
            let to = release(&blog.path, &format!("web {entrance}"));
            refuse_claimed(&blog, None, &to, None, &claimed(current, Some(rollout)), true).is_ok()
        };
        assert!(!may_have("c/", &current, &rollout) && !may_have("b/", &current, &rollout));
        for (outcome, expected) in
            [(Outcome::Done, "web b/, web c/"), (Outcome::Aborted { by: "ann".parse().unwrap() }, "web a/")]
        {
            let at = Moment::default();
            let over = Rollout { phase: Phase::Ended { at, outcome }, ..rollout.clone() };
            let seen = Seen::new(at, current.clone(), Some(over));
            let turn = turn(&seen, |_| Vec::new());
            let (next, latest) = (turn.current.unwrap(), turn.rollout.or(seen.rollout).unwrap());
            assert_eq!(next.waiting, None);
            assert_eq!(listed(&claimed(&next, Some(&latest))), expected);
            assert_eq!(may_have("c/", &next, &latest), !latest.is_active(), "it has them, or waits no more");
        }
    }

    #[test]
    fn without_a_router_a_service_that_names_no_routes_is_left_alone() {
        assert_eq!(told("web", "production.blog", "web", false), "");
        assert_eq!(told("admin, web", "production.blog", "web", false), "");
        assert_ne!(told("web a/", "production.blog", "web a/", false), "");
    }
}
