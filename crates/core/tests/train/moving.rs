//! How the train reads rollouts: one by its own record, and several apps together.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, Version};
use footplate_core::release::{Hooks, Release, Workload};
use footplate_core::rollout::{
    HostSeen, Kind, Observation, Outcome, Phase, Policy, Request, Rollout, Why, plan,
};
use footplate_core::train::Moving;
use footplate_core::verdict::Standing;

use crate::stage::shop;

fn release(version: &str) -> Release {
    let version: Version = version.parse().unwrap();
    let workload = Workload::ReleaseDir(Hooks::default());
    Release::new("shop".parse().unwrap(), version, workload, Moment::default())
}

fn rollout() -> Rollout {
    let host = HostSeen { alive: true, matches: true, ..HostSeen::default() };
    let seen = Observation {
        now: Moment::default(),
        hosts: BTreeMap::from([("a".parse().unwrap(), host)]),
        routers: BTreeMap::new(),
        told: None,
        judged: None,
    };
    let request = Request {
        path: shop(),
        number: 2,
        kind: Kind::Deploy,
        from: Some(release("1")),
        to: release("2"),
        keep: Vec::new(),
        apart: BTreeMap::new(),
        generation: Generation::default(),
        kept_since: None,
        roll_call: Generation::default(),
        groups: BTreeSet::from(["web".parse().unwrap()]),
        is_partial: false,
        joins: false,
        policy: Policy::default(),
        delivery: None,
        actor: "ann".parse().unwrap(),
        reason: None,
        fix: None,
    };
    plan(request, &seen).unwrap()
}

#[test]
fn a_rollout_is_read_by_its_own_record() {
    let at = |phase: Phase| Moving::of(&Rollout { phase, ..rollout() }, None);
    let until = Moment::default();
    let why = || Why::from("a host is on fire".to_owned());
    assert_eq!(at(Phase::Preparing { until }), Moving::Starting);
    assert_eq!(at(Phase::Holding { until }), Moving::Starting);
    assert_eq!(at(Phase::Switching { until }), Moving::Rolling { there: 0 });
    let back = Moving::Bad { why: "a host is on fire".to_owned() };
    assert_eq!(at(Phase::TurningBack { why: why(), until }), back);
    assert_eq!(at(Phase::Ended { at: until, outcome: Outcome::Done }), Moving::Arrived);
    for outcome in [
        Outcome::Failed { why: why(), deadline: false },
        Outcome::LeftAsIs { why: why() },
        Outcome::Aborted { by: "ann".parse().unwrap() },
    ] {
        let read = at(Phase::Ended { at: until, outcome });
        assert!(matches!(read, Moving::Bad { .. }), "{read:?}");
    }
}

#[test]
fn several_apps_are_as_far_as_the_last_and_as_bad_as_the_worst() {
    let app = |name: &str| AppPath { environment: "production".parse().unwrap(), app: name.parse().unwrap() };
    let apps = BTreeSet::from([app("shop"), app("blog")]);
    let together = |shop: Moving, blog: Option<Moving>| {
        let mut moving = BTreeMap::from([(app("shop"), shop)]);
        moving.extend(blog.map(|blog| (app("blog"), blog)));
        Moving::together(&moving, &apps)
    };
    let canary = |standing| Moving::Canary { standing, there: 1 };
    let rolling = |there| Moving::Rolling { there };
    let bad = Moving::Bad { why: "it is worse".to_owned() };
    assert_eq!(together(Moving::Arrived, None), Moving::Starting, "of one nothing is known");
    assert_eq!(together(Moving::Arrived, Some(bad.clone())), bad);
    assert_eq!(together(Moving::Arrived, Some(rolling(2))), rolling(2));
    assert_eq!(together(rolling(1), Some(rolling(2))), rolling(3), "each step of each is progress");
    assert_eq!(together(Moving::Arrived, Some(Moving::Arrived)), Moving::Arrived);
    let read = together(canary(Standing::NotWorse), Some(canary(Standing::Unknown)));
    assert_eq!(read, Moving::Canary { standing: Standing::Unknown, there: 2 });
}
