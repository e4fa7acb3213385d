//! A status as a controller would answer, for the tests of what people see.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, Target};
use footplate_core::release::{Hooks, Release, Workload};
use footplate_core::rollout::{Kind, Phase, Policy, Rollout};
use footplate_core::target::{Failure, Verb};
use footplate_core::traffic::Share;

use crate::api::{
    Acting, AppStatus, AppTraffic, Endpoints, GroupTraffic, HostStatus, Measured, ReleaseSummary,
    ReleaseTraffic, RolloutStatus, RouterTraffic, Stage, Status, TargetStatus,
};

/// The moment of every fixture.
pub const NOW: Moment = Moment::from_millis(1_763_758_074_000);

/// Returns `shop` in production.
pub fn shop() -> AppPath {
    AppPath { environment: "production".parse().expect("a name"), app: "shop".parse().expect("a name") }
}

/// Returns a release of `shop`.
pub fn release(version: &str) -> Release {
    Release {
        id: version.parse().expect("a release"),
        app: shop().app,
        version: version.parse().expect("a version"),
        commit: None,
        summary: Some(format!("What {version} is about")),
        artifact: None,
        workload: Workload::ReleaseDir(Hooks::default()),
        created_at: NOW,
        variables: Default::default(),
        routes: Default::default(),
        signature: None,
    }
}

/// Returns a target on `host` that runs `live`, has `prepared` and is at `stage`.
pub fn target(host: &str, live: &str, prepared: &[&str], stage: Stage) -> TargetStatus {
    let id = |text: &str| text.parse().expect("a release");
    TargetStatus {
        target: Target { host: host.parse().expect("a host"), group: "files".parse().expect("a group") },
        alive: stage != Stage::Gone,
        live: Some(id(live)),
        service: None,
        beside: BTreeMap::new(),
        live_since: Some(Moment::from_millis(NOW.as_millis() - 3_600_000)),
        wanted: Some(id(live)),
        prepared: prepared.iter().map(|text| id(text)).collect(),
        generation: Some(Generation::new(1, 7)),
        drift: None,
        failed: BTreeMap::new(),
        stage,
    }
}

/// Returns a failure of the prepare hook.
pub fn failed_prepare() -> Failure {
    Failure {
        verb: Verb::Prepare,
        generation: Generation::new(1, 7),
        reason: "the prepare hook ended with status 1".to_owned(),
        output: "index.html is cut off\n".to_owned(),
        lapse: None,
        attempts: 1,
        at: NOW,
    }
}

/// Returns rollout 7 of `shop` from 1 to 2 over these targets, preparing.
pub fn rollout(targets: &[TargetStatus], sentence: &str) -> RolloutStatus {
    RolloutStatus {
        record: Rollout {
            number: 7,
            path: shop(),
            kind: Kind::Deploy,
            from: Some(release("1")),
            to: release("2"),
            keep: Vec::new(),
            apart: BTreeMap::new(),
            generation: Generation::new(1, 7),
            kept_since: Generation::new(1, 7),
            groups: BTreeSet::from(["files".parse().expect("a group")]),
            is_partial: false,
            joins: false,
            hosts: targets.iter().map(|target| target.target.host.clone()).collect(),
            excused: BTreeSet::new(),
            set_aside: BTreeMap::new(),
            policy: Policy::default(),
            delivery: None,
            actor: "ada".parse().expect("an actor"),
            reason: None,
            fix: None,
            begun_at: Moment::from_millis(NOW.as_millis() - 12_000),
            promoted: None,
            paused: None,
            course: None,
            roll_call: Generation::default(),
            phase: Phase::Preparing { until: NOW },
        },
        ended: false,
        sentence: sentence.to_owned(),
        step: None,
        until: Some(NOW),
        unattended: false,
        exit_code: None,
    }
}

/// Returns `shop` with these targets and this rollout.
pub fn app(targets: Vec<TargetStatus>, rollout: Option<RolloutStatus>) -> AppStatus {
    AppStatus {
        path: shop(),
        current: Some(ReleaseSummary::from(&release("1"))),
        previous: None,
        proposal: None,
        since: Some(Moment::from_millis(NOW.as_millis() - 3_600_000)),
        by: Some("ada".parse().expect("an actor")),
        apart: BTreeMap::new(),
        rollout,
        gate: None,
        waiting: None,
        targets,
    }
}

/// Returns a whole site with these apps, and a host for each target.
pub fn status(apps: Vec<AppStatus>) -> Status {
    let targets = apps.iter().flat_map(|app| &app.targets);
    let host = |target: &TargetStatus| HostStatus {
        host: target.target.host.clone(),
        alive: target.alive,
        labels: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        version: Some("0.1.0".to_owned()),
        set_aside: None,
        targets: 1,
    };
    Status {
        change: 1,
        at: NOW,
        store: "embedded store at 127.0.0.1:7700".to_owned(),
        controller: Some(Acting {
            address: "http://127.0.0.1:7701".to_owned(),
            version: "0.1.0".to_owned(),
            since: NOW,
        }),
        hosts: targets.map(host).collect(),
        apps,
    }
}

/// Returns the traffic of `shop` in the middle of a canary, with a router that does not tell.
pub fn traffic() -> AppTraffic {
    let share = Share::from_millionths;
    let measured = |requests: f64, of: u32, errors: f64, p99_us: u64| Measured {
        over: Duration::from_millis(10_012),
        share: Some(share(of)),
        requests_per_second: requests,
        errors_per_second: errors,
        errors: Some(share((errors / requests * 1_000_000.0) as u32)),
        p50_us: Some(1_204),
        p99_us: Some(p99_us),
        in_flight: 1,
    };
    let release = |name: &str, wanted, endpoints, measured| ReleaseTraffic {
        release: name.parse().expect("a release"),
        wanted: share(wanted),
        endpoints,
        measured,
        requests_total: 4_120,
        errors_total: 3,
    };
    let old = Endpoints { ready: 2, draining: 1, ..Endpoints::default() };
    let new = Endpoints { ready: 1, ..Endpoints::default() };
    let router = |host: &str, told, is_silent| RouterTraffic {
        host: host.parse().expect("a host"),
        told: Some(Moment::from_millis(NOW.as_millis() - told)),
        is_silent,
    };
    AppTraffic {
        path: shop(),
        at: NOW,
        rollout: None,
        gate: None,
        routers: vec![router("edge-1", 400, false), router("edge-2", 42_000, true)],
        groups: vec![GroupTraffic {
            group: "web".parse().expect("a group"),
            releases: vec![
                release("1", 950_000, old, Some(measured(104.2, 951_200, 0.2, 20_511))),
                release("2", 50_000, new, Some(measured(5.3, 48_800, 1.4, 1_230_000))),
            ],
        }],
        failed: Vec::new(),
    }
}

/// Returns the same when no router tells anything.
pub fn unknown_traffic() -> AppTraffic {
    let mut traffic = traffic();
    traffic.routers.iter_mut().for_each(|router| router.is_silent = true);
    traffic
        .groups
        .iter_mut()
        .flat_map(|group| &mut group.releases)
        .for_each(|release| release.measured = None);
    traffic
}
