//! Releases before their judge, on real processes under load: what is worse is taken back by itself, halts the gate and is explained; what
//! is the same goes on.
//!
//! `FOOTPLATE_PROVE_IDENTICAL` says how many identical versions come one after the other, `FOOTPLATE_PROVE_SLOW` that what takes its time
//! shall take it.

use std::time::Duration;

use footplate_testkit::load::{Load, Running};
use footplate_testkit::process::eventually;
use tokio::runtime::Runtime;

use crate::front::{Builtin, Front, Haproxy};
use crate::site::{Site, Version, must_be_done};

/// The hosts, of which one has the canary at first.
const HOSTS: usize = 2;
/// Many requests for the new version, so that little traffic shows much.
const CANARY: &str = "strategy = \"canary\"\nramp = [\"20%\", \"50%\"]\nbatch = \"100%\"\nwatch = \"5s\"\nstep_deadline = \"60s\"\n\
                      [judge]\non_unknown = \"hold\"\nunknown_max = \"2m\"\nafter = \"0s\"\n";
/// From how many addresses people ask.
const PEOPLE: u16 = 400;

/// A site that runs a good version under load.
struct Story<F> {
    site: Site<F>,
    runtime: Runtime,
    loads: Vec<Running>,
}

impl<F: Front> Story<F> {
    /// Begins with a version without a fault and people at many addresses.
    fn begin() -> Self {
        Self::of_version("serve")
    }

    /// Begins with a version that is started with these arguments.
    fn of_version(arguments: &str) -> Self {
        let people = |load| vec![Load { clients: 3, keep_alive: false, addresses: PEOPLE, ..load }];
        Self::with_load(arguments, people)
    }

    /// Begins with two clients at one address.
    fn of_one_address() -> Self {
        Self::with_load("serve", |client| vec![client.clone(), Load { keep_alive: false, ..client }])
    }

    fn with_load(arguments: &str, loads: impl FnOnce(Load) -> Vec<Load>) -> Self {
        let site = Site::<F>::start(HOSTS);
        site.must_ship(&Version { arguments, ..Version::good("1", "watch = \"0s\"") });
        let runtime = Runtime::new().expect("a runtime");
        let load = Load {
            path: "/small".into(),
            pause: Duration::from_millis(4),
            ..Load::new(site.front.address(), 2)
        };
        let loads = {
            let _inside = runtime.enter();
            loads(load).iter().map(Load::start).collect()
        };
        Self { site, runtime, loads }
    }

    /// Deploys a version that must be taken back.
    fn must_be_taken_back(&self, version: &Version) -> String {
        let mut deploy = self.site.ship(version);
        let ended = deploy.wait();
        let said = deploy.said();
        let verdict = || self.site.operator(&["verdict", "shop"]).1;
        assert_eq!(ended.code(), Some(1), "{said}\n{}", verdict());
        self.must_be_halted();
        said
    }

    /// Deploys a version that must be taken back by its judge because of a KPI, and checks that this is explained.
    fn must_be_condemned(&self, version: &Version, kpi: &str) {
        let said = self.must_be_taken_back(version);
        assert!(said.contains(&format!("worse: `{kpi}")), "{said}");
        self.must_be_explained(kpi);
    }

    fn must_be_halted(&self) {
        let (_, gate) = self.site.operator(&["gate", "shop"]);
        assert!(gate.contains("halted"), "{gate}");
    }

    fn must_be_explained(&self, kpi: &str) {
        let (shown, verdict) = self.site.operator(&["verdict", "shop", "2"]);
        assert!(shown.success() && verdict.contains(&format!("worse: `{kpi}")), "{verdict}");
    }

    /// Stops the clients and returns how many of how many requests failed, once all have the first version again.
    fn failed(self) -> (u64, u64) {
        let outcomes = self.loads.into_iter().map(|load| self.runtime.block_on(load.stop()));
        let (failed, all) =
            outcomes.fold((0, 0), |(failed, all), outcome| (failed + outcome.failed, all + outcome.requests));
        println!("{failed} of {all} requests failed");
        (failed, all)
    }
}

/// Returns a number from the environment.
fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// One request in twenty fails on at most half of all for a few seconds, out of some 500 a second.
const FEW: u64 = 100;
/// The same where one address asks for everything, and the sign test judges, for the better part of a minute.
const MORE: u64 = 1_500;

#[test]
fn one_that_fails_one_request_in_twenty_is_taken_back_by_its_judge() {
    let story = Story::<Builtin>::begin();
    let bad = Version { arguments: "failing 20", ..Version::good("2", CANARY) };
    story.must_be_condemned(&bad, "errors");
    let (_, verdict) = story.site.operator(&["verdict", "shop", "2"]);
    assert!(verdict.contains("GET /small"), "it shows requests that failed: {verdict}");
    let (failed, all) = story.failed();
    assert!((1..FEW).contains(&failed), "{failed} of {all}");
}

#[test]
fn behind_haproxy_one_that_fails_is_taken_back_too() {
    let story = Story::<Haproxy>::begin();
    let bad = Version { arguments: "failing 20", ..Version::good("2", CANARY) };
    story.must_be_condemned(&bad, "errors");
    let (failed, all) = story.failed();
    assert!((1..FEW).contains(&failed), "{failed} of {all}");
}

#[test]
fn where_one_address_asks_for_everything_it_takes_longer_and_is_taken_back_too() {
    let story = Story::<Builtin>::of_one_address();
    story.must_be_condemned(&Version { arguments: "failing 20", ..Version::good("2", CANARY) }, "errors");
    let (failed, all) = story.failed();
    assert!((1..MORE).contains(&failed), "{failed} of {all}");
}

#[test]
fn one_that_is_slow_is_taken_back_by_its_judge() {
    let story = Story::<Builtin>::begin();
    story.must_be_condemned(&Version { arguments: "slow 1 20", ..Version::good("2", CANARY) }, "latency.p");
    assert_eq!(story.failed().0, 0, "slow is not failed");
}

#[test]
fn one_that_is_slow_in_its_tail_alone_is_taken_back_by_its_judge() {
    let story = Story::<Builtin>::begin();
    story.must_be_condemned(&Version { arguments: "slow 20 250", ..Version::good("2", CANARY) }, "latency.p");
    assert_eq!(story.failed().0, 0, "slow is not failed");
}

#[test]
fn one_that_leaks_is_taken_back_before_it_is_killed() {
    let story = Story::<Builtin>::begin();
    let (arguments, limit) = match setting("FOOTPLATE_PROVE_SLOW") {
        // 100 KiB and 3 MiB a second.
        Some(_) => ("leak 10000", 50_000),
        None => ("leak 300", 1_000_000),
    };
    let memory =
        format!("{CANARY}[kpi.memory]\nsource = \"service\"\nwhat = \"memory_slope\"\nlimit = {limit}\n");
    let bad = Version { arguments, service: "memory = \"1GiB\"", ..Version::good("2", &memory) };
    story.must_be_condemned(&bad, "memory");
    assert_eq!(story.failed().0, 0, "nobody noticed");
}

#[test]
fn one_that_crashes_when_all_have_it_is_taken_back_and_restarted_meanwhile() {
    let story = Story::<Builtin>::begin();
    let (arguments, after) = match setting("FOOTPLATE_PROVE_SLOW") {
        Some(_) => ("crash 60000", "10m"),
        None => ("crash 20000", "90s"),
    };
    let watched = CANARY.replace("after = \"0s\"", &format!("after = \"{after}\""));
    let said = story.must_be_taken_back(&Version { arguments, ..Version::good("2", &watched) });
    assert!(said.contains("it crashed"), "{said}");
    let (failed, all) = story.failed();
    // What was under way on a process that ended; no client has more than one request there.
    assert!(failed < 10, "{failed} of {all}");
}

#[test]
fn one_that_came_at_once_is_held_against_the_release_before_and_taken_back() {
    let story = Story::<Builtin>::begin();
    // By what it did the new one is measured.
    eventually("the old release has answered for a while", || story.loads[0].done() > 2_000);
    let blue_green =
        "strategy = \"blue_green\"\nwatch = \"1s\"\nstep_deadline = \"60s\"\n[judge]\nafter = \"3m\"\n";
    let said =
        story.must_be_taken_back(&Version { arguments: "failing 3", ..Version::good("2", blue_green) });
    assert!(said.contains("worse: `errors"), "{said}");
    story.must_be_explained("errors");
    // All requests, of which a third fails, for fourteen looks of five seconds at the least.
    let (failed, all) = story.failed();
    assert!(failed > 0 && failed < all / 2, "{failed} of {all}");
}

#[test]
fn a_judge_whose_controller_was_killed_goes_on_from_what_it_had_heard() {
    let mut story = Story::<Builtin>::begin();
    // So little is wrong that no judge finds it before the controller is gone.
    let bad = Version { arguments: "failing 70", ..Version::good("2", CANARY) };
    story.site.push(&bad);
    let (begun, said) = story.site.operator(&["deploy", "shop@2", "--detach"]);
    assert!(begun.success(), "{said}");
    let verdict = |story: &Story<Builtin>| story.site.operator(&["verdict", "shop", "2"]);
    eventually("its judge has heard something", || verdict(&story).0.success());
    story.site.kill_controller();
    story.site.start_controller();
    eventually("it is taken back", || story.site.operator(&["status", "shop"]).1.contains("went back"));
    story.must_be_halted();
    story.must_be_explained("errors");
    let (_, shown) = verdict(&story);
    assert!(shown.contains("What became of it") && !shown.contains("At the end its judge said"), "{shown}");
    assert!(story.failed().0 > 0);
}

/// Ships one version again and again, which must arrive each time.
fn must_arrive_each_time<F: Front>(story: &Story<F>, arguments: &str) {
    let times = setting("FOOTPLATE_PROVE_IDENTICAL").unwrap_or(3);
    for number in 2..2 + times {
        story.site.must_ship(&Version { arguments, ..Version::good(&number.to_string(), CANARY) });
        println!("identical version {} of {times} has arrived", number - 1);
    }
}

#[test]
fn the_same_version_again_goes_on_by_its_proof_and_nobody_waits_for_the_clock() {
    let story = Story::<Builtin>::of_one_address();
    must_arrive_each_time(&story, "serve");
    let (failed, all) = story.failed();
    assert!(failed == 0 && all > 1000, "{failed} of {all}");
}

#[test]
fn the_same_version_with_the_same_faults_is_not_taken_back() {
    let story = Story::<Builtin>::of_version("failing 50");
    must_arrive_each_time(&story, "failing 50");
    let (failed, all) = story.failed();
    assert!(failed > all / 100 && failed < all / 25, "{failed} of {all}");
}

#[test]
fn one_that_nobody_uses_is_held_until_somebody_promotes_it() {
    let site = Site::<Builtin>::start(HOSTS);
    site.must_ship(&Version::good("1", "watch = \"0s\""));
    let mut deploy = site.ship(&Version::good("2", CANARY));
    eventually("it is held", || site.operator(&["status", "shop"]).1.contains("footplate promote shop"));
    let (promoted, said) = site.operator(&["promote", "shop"]);
    assert!(promoted.success(), "{said}");
    must_be_done(&mut deploy);
}
