//! A canary before its judge, on real processes under load: what is worse is taken back by itself, and what is the same goes on.

use std::time::Duration;

use footplate_testkit::load::{Load, Running};
use tokio::runtime::Runtime;

use crate::front::{Builtin, Front};
use crate::site::{Site, Version};

/// The hosts, of which one has the canary at first.
const HOSTS: usize = 2;
/// Half of all requests, so that little traffic shows much; watched for longer than any verdict takes.
const CANARY: &str = "strategy = \"canary\"\nramp = [\"20%\", \"50%\"]\nbatch = \"100%\"\nwatch = \"5s\"\nstep_deadline = \"60s\"\n\
                      [judge]\non_unknown = \"hold\"\nunknown_max = \"2m\"\nafter = \"2s\"\n";

/// A site that runs a good version under load.
struct Story {
    site: Site<Builtin>,
    runtime: Runtime,
    loads: Vec<Running>,
}

impl Story {
    fn begin() -> Self {
        let site = Site::<Builtin>::start(HOSTS);
        site.must_ship(&Version::good("1", "watch = \"0s\""));
        let runtime = Runtime::new().expect("a runtime");
        let pause = Duration::from_millis(2);
        let load = Load { path: "/small".into(), pause, ..Load::new(site.front.address(), 2) };
        let loads = {
            let _inside = runtime.enter();
            vec![load.start(), Load { keep_alive: false, ..load }.start()]
        };
        Self { site, runtime, loads }
    }

    /// Stops the clients and returns how many of how many requests failed.
    fn failed(self) -> (u64, u64) {
        let outcomes = self.loads.into_iter().map(|load| self.runtime.block_on(load.stop()));
        outcomes.fold((0, 0), |(failed, all), outcome| (failed + outcome.failed, all + outcome.requests))
    }
}

/// Deploys a version that must be taken back by its judge; returns what the person read.
fn must_be_condemned(story: &Story, arguments: &str, kpi: &str) -> String {
    let mut deploy = story.site.ship(&Version { arguments, ..Version::good("2", CANARY) });
    let ended = deploy.wait();
    let said = deploy.said();
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains(&format!("worse: `{kpi}")), "{said}");
    said
}

#[test]
fn one_that_fails_one_request_in_twenty_is_taken_back_by_its_judge() {
    let story = Story::begin();
    must_be_condemned(&story, "failing 20", "errors");
    let (failed, all) = story.failed();
    assert!(failed > 0 && failed < all / 20, "{failed} of {all}");
}

#[test]
fn one_that_is_slow_in_its_tail_alone_is_taken_back_by_its_judge() {
    let story = Story::begin();
    must_be_condemned(&story, "slow 20 250", "latency.p");
    assert_eq!(story.failed().0, 0, "slow is not failed");
}

#[test]
fn the_same_version_again_goes_on_by_its_proof_and_nobody_waits_for_the_clock() {
    let story = Story::begin();
    for name in ["2", "3", "4"] {
        story.site.must_ship(&Version::good(name, CANARY));
    }
    let (failed, all) = story.failed();
    assert!(failed == 0 && all > 1000, "{failed} of {all}");
}

#[test]
fn one_that_nobody_uses_is_held_until_somebody_promotes_it() {
    let site = Site::<Builtin>::start(HOSTS);
    site.must_ship(&Version::good("1", "watch = \"0s\""));
    let mut deploy = site.ship(&Version::good("2", CANARY));
    footplate_testkit::process::eventually("it is held", || {
        site.operator(&["status", "shop"]).1.contains("footplate promote shop")
    });
    let (promoted, said) = site.operator(&["promote", "shop"]);
    assert!(promoted.success(), "{said}");
    crate::site::must_be_done(&mut deploy);
}
