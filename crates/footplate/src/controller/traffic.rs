//! What routers counted: handed in by the agents beside them, added up for people.
//!
//! Invariants: it is in memory alone and bounded: routers that the store knows, a minute of each; a router that does not tell
//! is silent, and nothing is known of what it counts: never zero.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use footplate_core::moment::Moment;
use footplate_core::name::{AppName, AppPath, EnvironmentName, HostName, ReleaseId, TargetName};
use footplate_core::traffic::counts::{Counts, Heard, Look, Tally};
use footplate_core::traffic::{EndpointState, Pool, Route, Share};
use serde::Deserialize;

use super::Shared;
use super::extract::{Asked, Named, Sent};
use super::site::{App, Site};
use super::status;
use crate::api::{
    AppTraffic, COUNTS_AT_LEAST_EVERY, Endpoints, GroupTraffic, Measured, Problem, ProblemKind,
    ReleaseTraffic, RouterTraffic,
};
use crate::clock;

/// The largest look that is taken, in bytes: a hundred services with full histograms.
pub(super) const LOOK_BYTES_MAX: usize = 16 << 20;
/// How long a router may say nothing until it counts as silent.
const SILENT_AFTER: Duration = Duration::from_secs(2 * COUNTS_AT_LEAST_EVERY.as_secs());
/// How long a router is remembered that the store does not know any more.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The while that is told when nobody says which, and the longest.
const OVER_DEFAULT: Duration = Duration::from_secs(10);
const OVER_MAX: Duration = Duration::from_secs(60);

/// What each router told.
#[derive(Default)]
pub(crate) struct Told(Mutex<BTreeMap<HostName, Teller>>);

/// One router that tells.
struct Teller {
    heard: Heard,
    at: Moment,
    came: Instant,
}

impl Teller {
    fn is_silent(&self) -> bool {
        self.came.elapsed() > SILENT_AFTER
    }
}

impl Told {
    /// Takes what an agent tells of the router on its host.
    fn hear(&self, host: HostName, look: Look, known: impl Fn(&HostName) -> bool) -> Result<(), Problem> {
        let mut tellers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tellers.retain(|host, teller| known(host) || teller.came.elapsed() < REMEMBERED);
        let what = format!("cannot take the counts of the router on `{host}`");
        if !known(&host) {
            let because = "the store knows no router there";
            return Err(Problem::new(ProblemKind::Unknown, what, because, "its agent tries again by itself"));
        }
        let now = Instant::now();
        let teller = tellers.entry(host).or_insert_with(|| Teller {
            heard: Heard::default(),
            at: Moment::default(),
            came: now,
        });
        let heard = teller.heard.hear(look, now - teller.came);
        heard.map_err(|gap| Problem::new(ProblemKind::Refused, what, gap, "send everything again"))?;
        (teller.at, teller.came) = (clock::now(), now);
        Ok(())
    }

    /// Returns an app's traffic over about the last `over`; nothing for an app without endpoints.
    pub(super) fn of_app(
        &self,
        site: &Site,
        path: &AppPath,
        app: &App,
        over: Duration,
    ) -> Option<AppTraffic> {
        let tellers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let follows =
            |host: &HostName| site.routers.get(host).is_some_and(|router| router.follows(path).is_some());
        let counted =
            |teller: &Teller| teller.heard.counts().targets.keys().any(|target| target.path == *path);
        let hosts: BTreeSet<&HostName> = site
            .routers
            .keys()
            .filter(|host| follows(host))
            .chain(tellers.iter().filter(|(_, teller)| counted(teller)).map(|(host, _)| host))
            .collect();
        let routers = hosts.iter().map(|host| {
            let teller = tellers.get(*host);
            RouterTraffic {
                host: (*host).clone(),
                told: teller.map(|teller| teller.at),
                is_silent: teller.is_none_or(Teller::is_silent),
            }
        });
        let sum = Sum::of(hosts.iter().filter_map(|host| tellers.get(*host)), over);
        let mut groups: BTreeMap<TargetName, BTreeMap<HostName, Route>> = BTreeMap::new();
        for (target, route) in &app.routes {
            let name = TargetName { path: path.clone(), group: target.group.clone() };
            groups.entry(name).or_default().insert(target.host.clone(), route.clone());
        }
        let groups = groups.into_iter().map(|(target, routes)| {
            let pool = Pool::new(target.clone(), &routes, app.traffic.as_ref());
            GroupTraffic { group: target.group.clone(), releases: sum.releases(&target, &pool, &routes) }
        });
        let groups: Vec<GroupTraffic> = groups.collect();
        (!groups.is_empty()).then(|| AppTraffic {
            path: path.clone(),
            at: clock::now(),
            rollout: None,
            routers: routers.collect(),
            groups,
        })
    }
}

/// What all routers of an app counted together.
#[derive(Default)]
struct Sum {
    /// Since each began.
    ever: Counts,
    /// Over the last while, by those that tell.
    lately: Counts,
    /// The same a second: each router has a while of its own.
    rates: BTreeMap<(TargetName, ReleaseId), Rates>,
    /// The longest while; nothing when none tells.
    over: Option<Duration>,
}

#[derive(Clone, Copy, Default)]
struct Rates {
    requests: f64,
    errors: f64,
}

impl Sum {
    fn of<'a>(tellers: impl Iterator<Item = &'a Teller>, over: Duration) -> Self {
        let mut sum = Self::default();
        for teller in tellers {
            sum.ever.add(teller.heard.counts());
            let Some((while_, counts)) = teller.heard.latest(over).filter(|_| !teller.is_silent()) else {
                continue;
            };
            sum.over = sum.over.max(Some(while_));
            for (target, releases) in &counts.targets {
                for (release, tally) in releases {
                    let rates = sum.rates.entry((target.clone(), release.clone())).or_default();
                    rates.requests += tally.requests as f64 / while_.as_secs_f64();
                    rates.errors += tally.errors() as f64 / while_.as_secs_f64();
                }
            }
            sum.lately.add(&counts);
        }
        sum
    }

    fn releases(
        &self,
        target: &TargetName,
        pool: &Pool,
        routes: &BTreeMap<HostName, Route>,
    ) -> Vec<ReleaseTraffic> {
        let nothing = BTreeMap::new();
        let lately = self.lately.targets.get(target).unwrap_or(&nothing);
        let asked = lately.iter().filter(|(_, tally)| tally.attempts() > 0).map(|(release, _)| release);
        let routed = routes.values().flat_map(|route| route.endpoints.keys());
        let all: BTreeSet<&ReleaseId> = routed.chain(asked).collect();
        let rate = |release: &ReleaseId| {
            self.rates.get(&(target.clone(), release.clone())).copied().unwrap_or_default()
        };
        let requests: f64 = all.iter().map(|release| rate(release).requests).sum();
        let of_release = |release: &&ReleaseId| {
            let ever = self.ever.of(target, release).cloned().unwrap_or_default();
            let tally = lately.get(*release).cloned().unwrap_or_default();
            let measured =
                self.over.map(|over| measured(over, rate(release), requests, &tally, ever.in_flight));
            ReleaseTraffic {
                release: (*release).clone(),
                wanted: pool.shares.get(*release).copied().unwrap_or_default(),
                endpoints: endpoints(release, routes),
                measured,
                requests_total: ever.requests,
                errors_total: ever.errors(),
            }
        };
        all.iter().map(of_release).collect()
    }
}

fn measured(over: Duration, rates: Rates, requests: f64, tally: &Tally, in_flight: u64) -> Measured {
    let times = tally.all_times();
    let quantile = |percent: u32| {
        let time = times.quantile(Share::from_millionths(percent * 10_000))?;
        u64::try_from(time.as_micros()).ok()
    };
    Measured {
        over,
        share: (requests > 0.0).then(|| millionths(rates.requests / requests)),
        requests_per_second: rates.requests,
        errors_per_second: rates.errors,
        errors: (tally.ended() > 0).then(|| millionths(tally.errors() as f64 / tally.ended() as f64)),
        p50_us: quantile(50),
        p99_us: quantile(99),
        in_flight,
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

/// `POST /HOST`: an agent tells what the router beside it counted.
pub(super) async fn hear(
    State(shared): State<Arc<Shared>>,
    Named(host): Named<HostName>,
    Sent(look): Sent<Look>,
) -> Result<StatusCode, Problem> {
    let site = shared.site();
    shared.told.hear(host, look, |host| site.routers.contains_key(host))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which traffic is asked for.
#[derive(Deserialize)]
pub(super) struct TrafficQuery {
    environment: Option<EnvironmentName>,
    app: Option<AppName>,
    over_ms: Option<u64>,
}

/// `GET`: the traffic of every app with endpoints, or of one.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<TrafficQuery>,
) -> Json<Vec<AppTraffic>> {
    let path = query.environment.zip(query.app).map(|(environment, app)| AppPath { environment, app });
    let over = query.over_ms.map_or(OVER_DEFAULT, Duration::from_millis).min(OVER_MAX);
    let (site, attended) = (shared.site(), shared.view.borrow().is_acting);
    let apps = site.apps.iter().filter(|(other, _)| path.as_ref().is_none_or(|path| path == *other));
    let traffic = apps.filter_map(|(path, app)| {
        let traffic = shared.told.of_app(&site, path, app, over)?;
        let under_way = app.rollout.as_ref().filter(|rollout| rollout.is_active());
        let rollout =
            under_way.map(|record| status::rollout(&site, record, attended, traffic.at).in_a_line());
        Some(AppTraffic { rollout, ..traffic })
    });
    Json(traffic.collect())
}

#[cfg(test)]
mod tests {
    use footplate_core::generation::Generation;
    use footplate_core::name::Target;
    use footplate_core::traffic::{Endpoint, Followed, Following, RouterReport};

    use super::*;

    fn path() -> AppPath {
        "production.shop.web".parse::<TargetName>().expect("a name").path
    }

    fn look(at: u64, since: Option<u64>, requests: u64) -> Look {
        let tally = Tally {
            requests,
            answers: [0, requests, 0, 0, 0],
            times: [(2, [(900, requests)].into_iter().collect())].into(),
            ..Tally::default()
        };
        let releases = [("1".parse().expect("a release"), tally)].into();
        let targets = [("production.shop.web".parse().expect("a name"), releases)].into();
        Look {
            at: Moment::from_millis(at),
            since: since.map(Moment::from_millis),
            over: Duration::from_secs(2),
            counts: Counts { line: "a".to_owned(), targets },
        }
    }

    /// A site with one release up, and routers on these hosts.
    fn site(routers: &[&str]) -> Site {
        let mut site = Site::default();
        let endpoint = |state| Endpoint { address: "h:1".to_owned(), state, weight: 100 };
        let endpoints = [
            ("1".parse().expect("a release"), endpoint(EndpointState::Serving)),
            ("2".parse().expect("a release"), endpoint(EndpointState::Standby)),
        ];
        let target =
            Target { host: "web-1".parse().expect("a host"), group: "web".parse().expect("a group") };
        let app = App { routes: [(target, Route { endpoints: endpoints.into() })].into(), ..App::default() };
        site.apps.insert(path(), app);
        for router in routers {
            let followed = Followed { revision: Generation::default(), busy: BTreeSet::new() };
            let report = RouterReport { apps: vec![Following { path: path(), followed }] };
            site.routers.insert(router.parse().expect("a host"), report);
        }
        site
    }

    fn host(name: &str) -> HostName {
        name.parse().expect("a host")
    }

    /// `a telling, b silent; 1 100% 5.0/s, 2 …`.
    fn shown(site: &Site, told: &Told) -> String {
        let traffic =
            told.of_app(site, &path(), &site.apps[&path()], OVER_DEFAULT).expect("it has endpoints");
        let routers = traffic
            .routers
            .iter()
            .map(|router| format!("{} {}", router.host, if router.is_silent { "silent" } else { "telling" }));
        let releases = traffic.groups[0].releases.iter().map(|release| {
            let measured = release.measured.as_ref().map_or("unknown".to_owned(), |measured| {
                format!("{:.1}/s p50 {:?}", measured.requests_per_second, measured.p50_us)
            });
            format!("{} {} {measured}", release.release, release.wanted)
        });
        format!("{}; {}", routers.collect::<Vec<_>>().join(", "), releases.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn routers_are_added_up_and_a_silent_one_is_never_zero() {
        let (site, told) = (site(&["a", "b"]), Told::default());
        let known = |host: &HostName| site.routers.contains_key(host);
        let nothing = "a silent, b silent; 1 100% unknown, 2 0% unknown";
        assert_eq!(shown(&site, &told), nothing);
        for (name, requests) in [("a", 10), ("b", 30)] {
            told.hear(host(name), look(1, None, 1_000), known).expect("it is known");
            told.hear(host(name), look(2, Some(1), requests), known).expect("it follows");
        }
        let both = "a telling, b telling; 1 100% 20.0/s p50 Some(900), 2 0% 0.0/s p50 None";
        assert_eq!(shown(&site, &told), both);
        let silence = |names: &[&str]| {
            let mut tellers = told.0.lock().expect("nothing panicked");
            for name in names {
                let teller = tellers.get_mut(&host(name)).expect("it told");
                teller.came =
                    Instant::now().checked_sub(SILENT_AFTER * 2).expect("this machine is up longer");
            }
        };
        silence(&["b"]);
        assert_eq!(
            shown(&site, &told),
            "a telling, b silent; 1 100% 5.0/s p50 Some(900), 2 0% 0.0/s p50 None"
        );
        silence(&["a"]);
        assert_eq!(shown(&site, &told), nothing);
    }

    #[test]
    fn what_nobody_knows_is_refused_and_a_gap_wants_everything_again() {
        let (site, told) = (site(&["a"]), Told::default());
        let known = |host: &HostName| site.routers.contains_key(host);
        let kind = |result: Result<(), Problem>| result.expect_err("a refusal").kind;
        assert_eq!(kind(told.hear(host("x"), look(1, None, 1), known)), ProblemKind::Unknown);
        assert_eq!(kind(told.hear(host("a"), look(2, Some(1), 1), known)), ProblemKind::Refused);
        told.hear(host("a"), look(3, None, 1), known).expect("everything");
    }
}
