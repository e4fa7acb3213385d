//! The stored form of every record, frozen: the files in `golden` are never edited, only added to.
//!
//! A new record or a new format gets its file with `FOOTPLATE_GOLDEN=write`, which writes only what is missing.

#![allow(clippy::unwrap_used)] // What a test cannot parse is a mistake in the test.

#[path = "records/gates.rs"]
mod gates;
#[path = "records/judged.rs"]
mod judged;
#[path = "records/reached.rs"]
mod reached;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use footplate_core::artifact::{ArtifactRef, Digest};
use footplate_core::fleet::{
    Current, HostState, Past, Presence, Pushed, Restriction, Track, Vitals, Waiting,
};
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, ReleaseId, Target, Version};
use footplate_core::record::{Barrier, Key, Lease, Record, Stored, Written, check_size};
use footplate_core::release::service::{Check, Health, Listen, Ports, Probe};
use footplate_core::release::{Hook, Hooks, Release, Schedule, Scripts, Service, Workload, service};
use footplate_core::retention::Retention;
use footplate_core::rollout::{
    At, Course, Delivery, During, Kind, Leaving, NAMED_MAX, Outcome, Pace, Part, Phase, Policy, Portion,
    Position, REASON_CHARS_MAX, Rollout, Signature, Strategy, Why,
};
use footplate_core::target::{
    Acceptance, AcceptanceHook, Assignment, Failure, Lapse, OUTPUT_TAIL_BYTES_MAX, Readiness, Report, Source,
    Switch, Trial, Up, Verb,
};
use footplate_core::traffic::{
    Busy, Canary, DiscoveryReport, DiscoveryTrouble, Endpoint, EndpointState, Followed, Following, Route,
    RouterOrder, RouterReport, Share, Traffic,
};

use judged::judged;
use reached::{bounded, reached, reaches, requests};

fn check<T: Record + PartialEq + Debug>(name: &str, record: T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.json"));
    let written = serde_json::to_string_pretty(&Written(&record)).unwrap() + "\n";
    if std::env::var_os("FOOTPLATE_GOLDEN").is_some_and(|word| word == "write") && !path.exists() {
        std::fs::write(&path, &written).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}\n{written}"));
    assert_eq!(written, golden, "the stored form of {name} changed: give it a new format number and file");
    let read: Stored<T> = serde_json::from_str(&golden).unwrap();
    assert_eq!(read, Stored::Known(record));
}

fn id(text: &str) -> ReleaseId {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::from_millis(1_790_000_000_000 + seconds * 1000)
}

fn path() -> AppPath {
    AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() }
}

fn target(host: &str) -> Target {
    Target { host: host.parse().unwrap(), group: "web".parse().unwrap() }
}

fn bare(version: &str) -> Release {
    let version: Version = version.parse().unwrap();
    Release::new("shop".parse().unwrap(), version, Workload::ReleaseDir(Hooks::default()), at(0))
}

fn full() -> Release {
    let hook = |command: &str| Hook { command: command.to_owned(), deadline: Duration::from_secs(600) };
    Release {
        id: id("1.2+3"),
        commit: Some("2f1acc6c3a606b082e5eef5e54414ffb2f1acc6c".to_owned()),
        summary: Some("Say hello twice".to_owned()),
        artifact: Some(ArtifactRef { digest: Digest::from_bytes([0xab; 32]), bytes: 1234 }),
        workload: Workload::ReleaseDir(Hooks {
            prepare: Some(hook("./prepare")),
            activated: Some(hook("./hello")),
        }),
        ..bare("1.2")
    }
}

fn scripted() -> Release {
    let scripts = Scripts {
        shell: "bash".to_owned(),
        deploy: vec!["cd /srv".to_owned(), "./fetch".to_owned()],
        rollout: vec!["./switch".to_owned()],
        clean: vec!["./clean".to_owned()],
        deadline: Duration::from_millis(1500),
    };
    Release { workload: Workload::Command(scripts), ..bare("2") }
}

fn served() -> Release {
    let text = |text: &str| text.to_owned();
    let web = Service {
        directory: text("app"),
        user: Some(text("shop")),
        env: BTreeMap::from([(text("LOG_LEVEL"), text("info"))]),
        kind: service::Kind::Web { ports: Ports { first: 21_000, last: 21_099 }, listen: Listen::Socket },
        health: Health {
            startup: Some(Probe::new(Check::Tcp)),
            readiness: Some(Probe::new(Check::Http { path: text("/health") })),
            liveness: Some(Probe::new(Check::Command { command: text("./alive") })),
            ..Health::default()
        },
        ..Service::web("./serve")
    };
    let beat = Probe::new(Check::Heartbeat { within: Duration::from_secs(30) });
    let worker = Service {
        health: Health { readiness: Some(beat), ..Health::default() },
        ..Service::worker("./work")
    };
    let every = Schedule::Every(Duration::from_secs(300));
    let nightly = Schedule::Calendar("30 3 * * *".parse().unwrap());
    let services = BTreeMap::from([
        ("web".parse().unwrap(), web),
        ("worker".parse().unwrap(), worker),
        ("poller".parse().unwrap(), Service::new("./poll", service::Kind::Scheduled { schedule: every })),
        ("report".parse().unwrap(), Service::new("./report", service::Kind::Scheduled { schedule: nightly })),
    ]);
    let production = BTreeMap::from([(text("DATABASE"), text("shop")), (text("LOG_LEVEL"), text("warn"))]);
    Release {
        workload: Workload::Service { hooks: Hooks::default(), services },
        variables: BTreeMap::from([("production".parse().unwrap(), production)]),
        ..full()
    }
}

fn delivery(selector: &str) -> Delivery {
    Delivery::new(selector.parse().unwrap(), BTreeSet::from(["web".parse().unwrap()]))
}

fn rollout(phase: Phase) -> Rollout {
    Rollout {
        number: 7,
        path: path(),
        kind: Kind::Deploy,
        from: Some(bare("1")),
        to: full(),
        keep: vec![bare("0.9")],
        apart: BTreeMap::new(),
        generation: Generation::new(1, 42),
        kept_since: Generation::new(1, 42),
        groups: BTreeSet::from(["web".parse().unwrap(), "worker".parse().unwrap()]),
        is_partial: false,
        joins: false,
        hosts: BTreeSet::from(["web-1".parse().unwrap(), "web-2.example".parse().unwrap()]),
        excused: BTreeSet::from(["web-3".parse().unwrap()]),
        set_aside: BTreeMap::new(),
        policy: Policy::default(),
        delivery: None,
        actor: "ann".parse().unwrap(),
        reason: Some("the sale begins".to_owned()),
        fix: None,
        begun_at: at(10),
        promoted: Some(Signature { actor: "bob".parse().unwrap(), at: at(20) }),
        paused: Some(Signature { actor: "bob".parse().unwrap(), at: at(30) }),
        course: None,
        roll_call: Generation::default(),
        phase,
    }
}

fn why() -> Why {
    Why {
        sentence: "web-1/web could not activate `2`: it broke".to_owned(),
        output: "no such file".to_owned(),
    }
}

#[test]
fn releases_keep_their_stored_form() {
    let environments = BTreeMap::from([("production".parse().unwrap(), delivery("role=web"))]);
    check("release-v1", Pushed { release: full(), environments });
    check("release-bare-v1", Pushed { release: bare("1"), environments: BTreeMap::new() });
    check("release-scripts-v1", Pushed { release: scripted(), environments: BTreeMap::new() });
    check("release-service-v1", Pushed { release: served(), environments: BTreeMap::new() });
    check("release-reached-v1", Pushed { release: reached(), environments: BTreeMap::new() });
    check("release-requests-v1", Pushed { release: bounded(), environments: BTreeMap::new() });
}

#[test]
fn what_routers_read_and_say_keeps_its_stored_form() {
    let endpoint = |port: u16, state| Endpoint { address: format!("10.0.0.7:{port}"), state, weight: 100 };
    let endpoints = BTreeMap::from([
        (id("0.9"), endpoint(20_000, EndpointState::Draining)),
        (id("1"), endpoint(20_001, EndpointState::Serving)),
        (id("1.2+3"), endpoint(20_002, EndpointState::Standby)),
    ]);
    check("route-v1", Route { endpoints });
    let revision = Generation::new(1, 42);
    check("traffic-bare-v1", Traffic { revision, ..Traffic::default() });
    let canary = Canary {
        release: id("1.2+3"),
        share: Share::from_millionths(12_500),
        groups: BTreeSet::new(),
        validity: Duration::from_secs(60),
        renewed: 77,
    };
    check("traffic-v1", Traffic { revision, canary: Some(canary.clone()), ..Traffic::default() });
    let some = Canary { groups: BTreeSet::from(["web".parse().unwrap()]), ..canary.clone() };
    check("traffic-some-v1", Traffic { revision, canary: Some(some), ..Traffic::default() });
    check(
        "traffic-reached-v1",
        Traffic { revision, canary: Some(canary), groups: reaches(), salt: "production.shop.7".to_owned() },
    );
    let groups = bounded().reaches(&"production".parse().unwrap());
    assert_eq!(groups.values().next().unwrap().requests, requests());
    check("traffic-requests-v1", Traffic { revision, groups, ..Traffic::default() });
    let target = Target { host: "web-1".parse().unwrap(), group: "web".parse().unwrap() };
    let busy = BTreeSet::from([Busy { target, release: id("1") }]);
    check(
        "router-report-v1",
        RouterReport { apps: vec![Following { path: path(), followed: Followed { revision, busy } }] },
    );
    let catalog = "Consul at 127.0.0.1:8500".to_owned();
    check("discovery-bare-v1", DiscoveryReport { catalog: catalog.clone(), trouble: None });
    let trouble =
        DiscoveryTrouble { because: "it refuses our token".to_owned(), next: "give it the right".to_owned() };
    check("discovery-v1", DiscoveryReport { catalog, trouble: Some(trouble) });
    let base = "https://deploy.example:7701/v1/traffic".to_owned();
    check("router-order-v1", RouterOrder { counts: Source { base, token: Some("secret".to_owned()) } });
}

#[test]
fn rollouts_in_steps_keep_their_stored_form() {
    let position = |at, counter| Position { at, since: Generation::new(1, counter) };
    let course = Course {
        awaits_proof: false,
        trusted: 0,
        had_share: false,
        base: Generation::new(1, 40),
        mark: Generation::new(1, 43),
        positions: BTreeMap::from([
            ("web-1".parse().unwrap(), position(At::Leaving, 41)),
            ("web-2.example".parse().unwrap(), position(At::Beside, 42)),
        ]),
        failures: 1,
        round: 2,
        promoted: 1,
        way_back: None,
    };
    let ramp = vec![Share::from_millionths(10_000), Share::from_millionths(500_000)];
    let strategy = Strategy::Canary { ramp, batch: Portion::Part(Share::from_millionths(200_000)) };
    let pace = Pace { failures_max: 2, accept: true, ..Pace::default() };
    let policy = Policy { strategy, pace, ..Policy::default() };
    let phase = Phase::Stepping { step: 1, part: Part::Draining, until: at(600) };
    let trial = Trial::Command { command: "./deploy/accept".to_owned() };
    let acceptance = Some(AcceptanceHook { trial, deadline: Duration::from_secs(60), group: None });
    let accepted = Policy { acceptance, ..policy.clone() };
    check("rollout-accepting-v1", Rollout { policy: accepted, ..rollout(phase.clone()) });
    check("rollout-judged-v1", Rollout { policy: judged(), ..rollout(phase.clone()) });
    check(
        "rollout-stepping-v1",
        Rollout { policy, course: Some(course), roll_call: Generation::new(1, 39), ..rollout(phase) },
    );
}

#[test]
fn assignments_and_reports_keep_their_stored_form() {
    let source =
        Source { base: "http://127.0.0.1:7700/artifacts".to_owned(), token: Some("secret".to_owned()) };
    check(
        "assignment-v1",
        Assignment {
            generation: Generation::new(1, 42),
            run: Some(id("1")),
            switch: Some(Switch { to: id("1.2+3"), barrier: Generation::new(1, 42) }),
            keep: vec![full(), bare("1")],
            idle: false,
            beside: None,
            accept: None,
            alone: false,
            linger: Duration::ZERO,
            leaves_at: None,
            sources: vec![source],
        },
    );
    let steady = Assignment::to_run(Generation::new(0, 1), None, Vec::new());
    check("assignment-bare-v1", steady.clone());
    let accept = Some(Acceptance { release: id("1.2+3"), times: 2, hook: None });
    let service = Assignment { run: Some(id("1")), beside: Some(id("1.2+3")), accept, alone: true, ..steady };
    check("assignment-service-v1", service.clone());
    let linger = Duration::from_secs(20);
    check("assignment-lingering-v1", Assignment { alone: false, linger, ..service.clone() });
    check("assignment-leaving-v1", Assignment { leaves_at: Some(at(60)), ..service.clone() });
    let deadline = Duration::from_secs(60);
    let trial = Trial::Request { path: "/ready?all".to_owned(), status: 204 };
    let hook = AcceptanceHook { trial, deadline, group: Some("web".parse().unwrap()) };
    let accept = Acceptance { release: id("1.2+3"), times: 1, hook: Some(hook) };
    check("assignment-accept-v1", Assignment { accept: Some(accept), ..service });
    let failure = failure();
    check(
        "report-v1",
        Report {
            generation: Generation::new(1, 42),
            live: Some(id("1")),
            live_since: Some(at(50)),
            prepared: BTreeSet::from([id("1"), id("1.2+3")]),
            up: BTreeMap::new(),
            failed: BTreeMap::from([(id("1.2+3"), failure)]),
            drift: Some("`live` pointed to `0.9`".to_owned()),
            waiting: None,
        },
    );
    let waiting = Some("no artifact source answers".to_owned());
    let address = Some("10.0.0.7:20001".to_owned());
    let web = Up { readiness: Readiness::Ready, address, since: at(70), accepted: 2 };
    let worker = Up { readiness: Readiness::Starting, address: None, since: at(71), accepted: 0 };
    let up = BTreeMap::from([(id("1"), worker), (id("1.2+3"), web)]);
    check("report-up-v1", Report { up, ..Report::default() });
    check("report-waiting-v1", Report { waiting, ..Report::default() });
    check("report-bare-v1", Report::default());
}

fn failure() -> Failure {
    Failure {
        verb: Verb::Activate,
        generation: Generation::new(1, 42),
        reason: "the hook `activated` ended with 1".to_owned(),
        output: "no such file".to_owned(),
        lapse: None,
        attempts: 3,
        at: at(60),
    }
}

#[test]
fn a_crash_keeps_its_stored_form() {
    let crashed = Failure {
        verb: Verb::Start,
        reason: "it crashed 21 s after its start: it ended with status 1".to_owned(),
        lapse: Some(Lapse::Crashed(1)),
        ..failure()
    };
    let failed = BTreeMap::from([(id("1.2+3"), crashed)]);
    check("report-crashed-v1", Report { failed, ..Report::default() });
}

#[test]
fn rollouts_keep_their_stored_form_in_every_phase() {
    check("rollout-preparing-v1", rollout(Phase::Preparing { until: at(600) }));
    check("rollout-holding-v1", rollout(Phase::Holding { until: at(600) }));
    check("rollout-switching-v1", rollout(Phase::Switching { until: at(600) }));
    check("rollout-turning-back-v1", rollout(Phase::TurningBack { why: why(), until: at(600) }));
    let retention = Retention { keep: 5, newer_than: None };
    check(
        "rollout-delivering-v1",
        Rollout {
            delivery: Some(Delivery { retention, ..delivery("role=db") }),
            ..rollout(Phase::Switching { until: at(600) })
        },
    );
    let leaving = Leaving { from: Some(bare("2")), keep: vec![bare("1")] };
    let apart = BTreeMap::from([("worker".parse().unwrap(), leaving)]);
    check(
        "rollout-apart-v1",
        Rollout { apart, is_partial: true, ..rollout(Phase::Preparing { until: at(600) }) },
    );
    let set_aside = BTreeMap::from([("web-4".parse().unwrap(), Generation::new(1, 41))]);
    check("rollout-set-aside-v1", Rollout { set_aside, ..rollout(Phase::Preparing { until: at(600) }) });
    let failed = BTreeMap::from([("web-1/web".to_owned(), "it broke".to_owned())]);
    for (name, outcome) in [
        ("done", Outcome::Done),
        ("done-except", Outcome::DoneExcept { failed, more: 2 }),
        ("failed", Outcome::Failed { why: why(), deadline: true }),
        ("aborted", Outcome::Aborted { by: "bob".parse().unwrap() }),
        (
            "turned-back",
            Outcome::TurnedBack { why: why(), missing: BTreeSet::from([target("web-2")]), more: 0 },
        ),
        ("left-as-is", Outcome::LeftAsIs { why: why() }),
        ("replaced", Outcome::Replaced { by: "bob".parse().unwrap(), to: id("0.9") }),
    ] {
        check(&format!("rollout-ended-{name}-v1"), rollout(Phase::Ended { at: at(700), outcome }));
    }
}

#[test]
fn the_records_of_apps_keep_their_stored_form() {
    let new = Current::new(path(), delivery("role=web,zone!=b"), Generation::default());
    check("current-new-v1", new.clone());
    let waiting = Waiting {
        to: bare("3"),
        delivery: delivery("role=web"),
        policy: Policy { during: During::Replace, ..Policy::default() },
        actor: "bob".parse().unwrap(),
        reason: Some("the sale goes on".to_owned()),
        since: at(690),
        at_any_end: true,
        fix: None,
        at_gate: false,
        only: None,
    };
    let only = Some(BTreeSet::from(["worker".parse().unwrap()]));
    let some = Waiting { only, ..waiting.clone() };
    check("current-waiting-some-v1", Current { waiting: Some(Box::new(some)), ..new.clone() });
    check("current-waiting-v1", Current { waiting: Some(Box::new(waiting)), ..new.clone() });
    let track = Track {
        release: Some(full()),
        since: Some(at(700)),
        by: Some("ann".parse().unwrap()),
        past: vec![Past { release: bare("1"), until: at(700), left_by: Kind::Deploy }],
        verified: Some(id("1")),
    };
    let worker = Track { release: Some(bare("3")), ..track.clone() };
    let apart = BTreeMap::from([("worker".parse().unwrap(), worker)]);
    check("current-apart-v1", Current { track: track.clone(), apart, ..new.clone() });
    check(
        "current-v1",
        Current {
            track: track.clone(),
            generation: Generation::new(1, 43),
            orders: Generation::new(1, 42),
            rollouts: 7,
            settled: 6,
            delivery: Delivery {
                retention: Retention { keep: 5, newer_than: Some(Duration::from_secs(3600)) },
                ..new.delivery.clone()
            },
            ..new
        },
    );
}

#[test]
fn the_records_of_hosts_and_lanes_keep_their_stored_form() {
    let labels = BTreeMap::from([("role".to_owned(), "web".to_owned())]);
    let presence = |vitals| Presence {
        instance: "9b0c".to_owned(),
        address: "10.0.0.1".to_owned(),
        labels: labels.clone(),
        version: "0.1.0".to_owned(),
        vitals,
    };
    check("presence-v1", presence(None));
    check("presence-vitals-v1", presence(Some(Vitals { at: at(6), free_bytes: Some(5 << 30) })));
    check(
        "host-state-v1",
        HostState {
            restriction: Restriction::Drained,
            actor: "ann".parse().unwrap(),
            reason: Some("a new disk".to_owned()),
            since: at(5),
        },
    );
    check("barrier-v1", Barrier { generation: Generation::new(1, 42) });
    check(
        "lease-v1",
        Lease {
            address: Some("10.0.0.9:7700".to_owned()),
            holder: "controller on ops-1".to_owned(),
            since: at(1),
        },
    );
}

#[test]
fn every_golden_file_is_named_by_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let source = [include_str!("records.rs"), include_str!("records/gates.rs")].concat();
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let stem =
            name.trim_end_matches(".json").trim_start_matches("rollout-ended-").trim_end_matches("-v1");
        assert!(source.contains(&format!("\"{stem}")), "no test reads tests/golden/{name}");
    }
}

#[test]
fn a_record_of_a_newer_footplate_is_told_apart_and_says_what_to_do() {
    let text = r#"{"format": 2, "generation": {"new": "shape"}}"#;
    let stored: Stored<Barrier> = serde_json::from_str(text).unwrap();
    assert_eq!(stored, Stored::Newer(2));
    let key = Key::Barrier(path());
    assert_eq!(
        stored.known(&key).unwrap_err().to_string(),
        "cannot read the barrier in `barriers/production.shop`: a newer footplate wrote it (format 2, and this one \
         reads up to 1); next: upgrade this footplate"
    );
}

#[test]
fn a_record_without_its_format_is_refused() {
    for text in [r#"{"generation": "1.2"}"#, r#"{"generation": "1.2", "format": 1}"#, "{}", "[]", "7"] {
        let read: Result<Stored<Barrier>, _> = serde_json::from_str(text);
        assert!(read.unwrap_err().to_string().contains("format"), "{text}");
    }
}

/// A record whose form changed: what was a number is now a list.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Changed {
    numbers: Vec<u64>,
}

impl Record for Changed {
    const NAME: &'static str = "changed record";
    const FORMAT: u32 = 2;

    fn read<'de, D: serde::Deserializer<'de>>(format: u32, fields: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Old {
            number: u64,
        }
        use serde::Deserialize;
        match format {
            1 => Old::deserialize(fields).map(|old| Changed { numbers: vec![old.number] }),
            _ => Changed::deserialize(fields),
        }
    }
}

#[test]
fn an_older_format_is_read_into_todays_form() {
    let old: Stored<Changed> = serde_json::from_str(r#"{"format": 1, "number": 7}"#).unwrap();
    let new: Stored<Changed> = serde_json::from_str(r#"{"format": 2, "numbers": [7]}"#).unwrap();
    assert_eq!(old, new);
    assert_eq!(
        serde_json::to_string(&Written(&Changed { numbers: vec![7] })).unwrap(),
        r#"{"format":2,"numbers":[7]}"#
    );
}

fn large(hosts: usize, name_bytes: usize, phase: Phase) -> Rollout {
    let (mut large, width) = (rollout(phase), name_bytes - 4);
    large.hosts = (0..hosts).map(|number| format!("web-{number:0>width$}").parse().unwrap()).collect();
    assert!(large.hosts.iter().all(|host| host.as_str().len() == name_bytes));
    large
}

fn bytes(record: &Rollout) -> usize {
    serde_json::to_vec(&Written(record)).unwrap().len()
}

#[test]
fn the_rollout_of_ten_thousand_hosts_fits_in_one_value() {
    let key = Key::Rollout(path()).to_string();
    let (all, steps) = (Strategy::Barrier, Strategy::BlueGreen);
    for (hosts, name_bytes, strategy) in [(10_000, 20, &all), (7_000, 30, &all), (2_000, 20, &steps)] {
        let mut large = large(hosts, name_bytes, Phase::Switching { until: at(600) });
        large.policy.strategy = strategy.clone();
        let bytes = bytes(&large);
        println!("{hosts} hosts with names of {name_bytes} bytes: {bytes} bytes");
        assert_eq!(check_size(&key, bytes + large.growth_bytes_max()), Ok(()));
    }
    let large = large(10_000, 30, Phase::Switching { until: at(600) });
    let refusal = check_size(&key, bytes(&large)).unwrap_err().to_string();
    assert!(refusal.contains("apps/production/shop/rollout") && refusal.contains("262144"), "{refusal}");
}

#[test]
fn a_rollout_grows_by_no_more_than_the_room_that_is_left_for_its_end() {
    let planned = large(100, 64, Phase::Preparing { until: at(600) });
    let stepping =
        Rollout { policy: Policy { strategy: Strategy::BlueGreen, ..Policy::default() }, ..planned.clone() };
    let since = Generation::new(u64::MAX, u64::MAX);
    let positions = planned.hosts.iter().map(|host| (host.clone(), Position { at: At::Restoring, since }));
    let course = Course { positions: positions.collect(), ..Course::default() };
    let reason = |number: usize| (format!("{number:0>64}/{:0>64}", 0), "𝄞".repeat(REASON_CHARS_MAX));
    let failed = (0..NAMED_MAX).map(reason).collect();
    let why = Why {
        sentence: "𝄞".repeat(REASON_CHARS_MAX + 200),
        output: "\u{1b}".repeat(OUTPUT_TAIL_BYTES_MAX),
    };
    let missing = (0..NAMED_MAX).map(|number| target(&format!("{number:0>64}"))).collect();
    for outcome in [
        Outcome::DoneExcept { failed, more: u32::MAX },
        Outcome::TurnedBack { why: why.clone(), missing, more: u32::MAX },
        Outcome::Failed { why, deadline: true },
    ] {
        let phase = Phase::Ended { at: at(700), outcome };
        for (planned, course) in [(&planned, None), (&stepping, Some(course.clone()))] {
            let ended = Rollout { phase: phase.clone(), course, ..planned.clone() };
            let grown = bytes(&ended) - bytes(planned);
            assert!(grown <= planned.growth_bytes_max(), "it grows by {grown} bytes");
        }
    }
}
