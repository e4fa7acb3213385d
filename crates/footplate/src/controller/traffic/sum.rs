//! What routers told of apps, added up: pure, from a copy of what the store says and of what each router told.
//!
//! Invariants: each router is gone through once, however many apps are asked about; one that is silent is in no number of now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, HostName, ReleaseId, Target, TargetName};
use footplate_core::traffic::counts::{Counts, FailedRequest, Tally};
use footplate_core::traffic::{EndpointState, Pool, Route, Share, Traffic};

use super::Teller;
use crate::api::{AppTraffic, Endpoints, GroupTraffic, Measured, ReleaseTraffic, RouterTraffic};

/// How many failed requests of an app are told.
const FAILED_TOLD_MAX: usize = 20;

/// What the store says of the apps that are asked about.
#[derive(Default)]
pub(super) struct Scene {
    pub(super) at: Moment,
    pub(super) apps: BTreeMap<AppPath, Subject>,
    /// Which of them each router follows.
    pub(super) routers: BTreeMap<HostName, BTreeSet<AppPath>>,
}

/// One app with endpoints.
pub(super) struct Subject {
    pub(super) routes: BTreeMap<Target, Route>,
    pub(super) traffic: Option<Traffic>,
    /// Its rollout that is under way, in a line.
    pub(super) rollout: Option<String>,
    /// Why its gate is closed, in a line.
    pub(super) gate: Option<String>,
}

/// Returns each app's traffic over about the last `over`.
pub(super) fn traffic(
    scene: Scene,
    tellers: &BTreeMap<HostName, Arc<Teller>>,
    over: Duration,
) -> Vec<AppTraffic> {
    let mut sums: BTreeMap<&AppPath, Sum> = scene.apps.keys().map(|path| (path, Sum::default())).collect();
    for (host, paths) in &scene.routers {
        for path in paths {
            if let Some(sum) = sums.get_mut(path) {
                sum.routers.insert(host);
            }
        }
    }
    for (host, teller) in tellers {
        add(&mut sums, host, teller, over);
    }
    let apps = scene.apps.iter().filter_map(|(path, app)| {
        let sum = sums.get(path)?;
        Some(AppTraffic {
            path: path.clone(),
            at: scene.at,
            rollout: app.rollout.clone(),
            gate: app.gate.clone(),
            routers: sum.routers.iter().map(|host| router(host, tellers)).collect(),
            groups: groups(path, app, sum),
            failed: failed(path, tellers),
        })
    });
    apps.collect()
}

/// Adds what one router told to the apps that it follows, or has counted requests of.
fn add<'a>(
    sums: &mut BTreeMap<&'a AppPath, Sum<'a>>,
    host: &'a HostName,
    teller: &'a Teller,
    over: Duration,
) {
    let ever = teller.heard.counts();
    for (target, releases) in &ever.targets {
        if let Some(sum) = sums.get_mut(&target.path) {
            sum.routers.insert(host);
            releases.iter().for_each(|(release, tally)| sum.of(target, release).ever.add(tally));
        }
    }
    if teller.is_silent() {
        return;
    }
    let Some((while_, lately)) = teller.heard.latest(over) else { return };
    for sum in sums.values_mut().filter(|sum| sum.routers.contains(host)) {
        sum.over = sum.over.max(Some(while_));
    }
    add_lately(sums, host, while_, &lately);
}

fn add_lately<'a>(
    sums: &mut BTreeMap<&'a AppPath, Sum<'a>>,
    host: &HostName,
    while_: Duration,
    lately: &Counts,
) {
    for (target, releases) in &lately.targets {
        let Some(sum) = sums.get_mut(&target.path).filter(|sum| sum.routers.contains(host)) else { continue };
        for (release, tally) in releases {
            let of = sum.of(target, release);
            of.lately.add(tally);
            of.requests_per_second += tally.requests as f64 / while_.as_secs_f64();
            of.errors_per_second += tally.errors() as f64 / while_.as_secs_f64();
        }
    }
}

/// What all routers counted of one app together.
#[derive(Default)]
struct Sum<'a> {
    /// Those that route to it.
    routers: BTreeSet<&'a HostName>,
    counted: BTreeMap<TargetName, BTreeMap<ReleaseId, Counted>>,
    /// The longest while of those that tell; nothing when none does.
    over: Option<Duration>,
}

/// What they counted of one release.
#[derive(Default)]
struct Counted {
    /// Since each began.
    ever: Tally,
    /// Over the last while, by those that tell.
    lately: Tally,
    /// The same a second: each router has a while of its own.
    requests_per_second: f64,
    errors_per_second: f64,
}

impl Sum<'_> {
    fn of(&mut self, target: &TargetName, release: &ReleaseId) -> &mut Counted {
        self.counted.entry(target.clone()).or_default().entry(release.clone()).or_default()
    }
}

/// Lists what failed of an app at all routers, the newest first.
fn failed(path: &AppPath, tellers: &BTreeMap<HostName, Arc<Teller>>) -> Vec<FailedRequest> {
    let newest = tellers.values().flat_map(|teller| teller.heard.failures_of(path).take(FAILED_TOLD_MAX));
    let mut newest: Vec<&FailedRequest> = newest.collect();
    newest.sort_by_key(|failed| std::cmp::Reverse(failed.at));
    newest.into_iter().take(FAILED_TOLD_MAX).cloned().collect()
}

fn router(host: &HostName, tellers: &BTreeMap<HostName, Arc<Teller>>) -> RouterTraffic {
    let teller = tellers.get(host);
    RouterTraffic {
        host: host.clone(),
        told: teller.map(|teller| teller.at),
        is_silent: teller.is_none_or(|teller| teller.is_silent()),
    }
}

fn groups(path: &AppPath, app: &Subject, sum: &Sum) -> Vec<GroupTraffic> {
    let mut groups: BTreeMap<TargetName, BTreeMap<HostName, Route>> = BTreeMap::new();
    for (target, route) in &app.routes {
        let name = TargetName { path: path.clone(), group: target.group.clone() };
        groups.entry(name).or_default().insert(target.host.clone(), route.clone());
    }
    let groups = groups.into_iter().map(|(target, routes)| {
        let pool = Pool::new(target.clone(), &routes, app.traffic.as_ref());
        GroupTraffic { group: target.group.clone(), releases: releases(&target, &pool, &routes, sum) }
    });
    groups.collect()
}

fn releases(
    target: &TargetName,
    pool: &Pool,
    routes: &BTreeMap<HostName, Route>,
    sum: &Sum,
) -> Vec<ReleaseTraffic> {
    let (nobody, nothing) = (BTreeMap::new(), Counted::default());
    let counted = sum.counted.get(target).unwrap_or(&nobody);
    let asked =
        counted.iter().filter(|(_, counted)| counted.lately.attempts() > 0).map(|(release, _)| release);
    let routed: BTreeSet<&ReleaseId> = routes.values().flat_map(|route| route.endpoints.keys()).collect();
    let all: BTreeSet<&ReleaseId> = routed.iter().copied().chain(asked).collect();
    let of = |release: &ReleaseId| counted.get(release).unwrap_or(&nothing);
    // What came to a release that is gone is in no share: the others had no part in it yet.
    let requests: f64 = routed.iter().map(|release| of(release).requests_per_second).sum();
    let of_release = |release: &&ReleaseId| {
        let counted = of(release);
        ReleaseTraffic {
            release: (*release).clone(),
            wanted: pool.shares.get(*release).copied().unwrap_or_default(),
            endpoints: endpoints(release, routes),
            measured: sum.over.map(|over| {
                let share = counted.requests_per_second / requests;
                let share = (requests > 0.0 && routed.contains(release)).then(|| millionths(share));
                measured(over, counted, share)
            }),
            requests_total: counted.ever.requests,
            errors_total: counted.ever.errors(),
        }
    };
    all.iter().map(of_release).collect()
}

fn measured(over: Duration, counted: &Counted, share: Option<Share>) -> Measured {
    let Counted { ever, lately, requests_per_second, errors_per_second } = counted;
    let times = lately.all_times();
    let quantile = |percent: u32| {
        let time = times.quantile(Share::from_millionths(percent * 10_000))?;
        u64::try_from(time.as_micros()).ok()
    };
    Measured {
        over,
        share,
        requests_per_second: *requests_per_second,
        errors_per_second: *errors_per_second,
        errors: (lately.ended() > 0).then(|| millionths(lately.errors() as f64 / lately.ended() as f64)),
        p50_us: quantile(50),
        p99_us: quantile(99),
        in_flight: ever.in_flight,
    }
}

fn millionths(part: f64) -> Share {
    Share::from_millionths((part * f64::from(Share::ALL.millionths())).round() as u32)
}

fn endpoints(release: &ReleaseId, routes: &BTreeMap<HostName, Route>) -> Endpoints {
    let states =
        routes.values().filter_map(|route| route.endpoints.get(release)).map(|endpoint| endpoint.state);
    let mut endpoints = Endpoints::default();
    for state in states {
        match state {
            EndpointState::Serving => endpoints.ready += 1,
            EndpointState::Draining => endpoints.draining += 1,
            EndpointState::Standby => endpoints.standby += 1,
        }
    }
    endpoints
}
