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
use footplate_core::traffic::RouterReport;
use footplate_core::traffic::counts::{Busiest, Counts, FailedRequest, Heard, Look, Tally};
use footplate_core::verdict::power;
use serde::Deserialize;

use super::extract::{Asked, Named, Sent};
use super::site::{App, Site};
use super::{Shared, find, gate, status};
use crate::api::{AppTraffic, COUNTS_AT_LEAST_EVERY, Problem, ProblemKind};
use crate::clock;
use sum::{Scene, Subject};

pub(super) mod services;
mod sum;

/// The largest look that is taken, in bytes: a hundred services with full histograms.
pub(super) const LOOK_BYTES_MAX: usize = 16 << 20;
/// How long a router may say nothing until it counts as silent.
const SILENT_AFTER: Duration = Duration::from_secs(2 * COUNTS_AT_LEAST_EVERY.as_secs());
/// How long a router is remembered that the store does not know any more.
const REMEMBERED: Duration = Duration::from_secs(600);
/// The while that is told when nobody says which, and the longest.
const OVER_DEFAULT: Duration = Duration::from_secs(10);
const OVER_MAX: Duration = Duration::from_secs(60);

/// What each router told, and each host of its services.
#[derive(Default)]
pub(crate) struct Told {
    routers: Mutex<BTreeMap<HostName, Arc<Teller>>>,
    hosts: Mutex<BTreeMap<HostName, services::Host>>,
}

/// One router that tells.
#[derive(Clone)]
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

/// What one router counted of an app since its line began.
pub(super) struct CountedOf {
    /// Whether it has said nothing for a while.
    pub(super) is_silent: bool,
    pub(super) counts: Counts,
}

impl Told {
    /// Takes what an agent tells of the router on its host.
    fn hear(&self, host: HostName, look: Look, known: impl Fn(&HostName) -> bool) -> Result<(), Problem> {
        let mut tellers = self.routers.lock().unwrap_or_else(PoisonError::into_inner);
        tellers.retain(|host, teller| known(host) || teller.came.elapsed() < REMEMBERED);
        let what = format!("cannot take the counts of the router on `{host}`");
        if !known(&host) {
            let because = "the store knows no router there";
            return Err(Problem::new(ProblemKind::Unknown, what, because, "its agent tries again by itself"));
        }
        let now = Instant::now();
        let begun = || Arc::new(Teller { heard: Heard::default(), at: Moment::default(), came: now });
        // Whoever adds up at this moment keeps what he has.
        let teller = Arc::make_mut(tellers.entry(host).or_insert_with(begun));
        let heard = teller.heard.hear(look, now - teller.came);
        heard.map_err(|gap| Problem::new(ProblemKind::Refused, what, gap, "send everything again"))?;
        (teller.at, teller.came) = (clock::now(), now);
        Ok(())
    }

    /// Returns what each router counted of an app.
    pub(super) fn counts_of(&self, path: &AppPath) -> BTreeMap<HostName, CountedOf> {
        let of_app = |teller: &Teller| {
            let counts = teller.heard.counts();
            let targets = counts.targets.iter().filter(|(target, _)| target.path == *path);
            let targets = targets.map(|(target, releases)| (target.clone(), releases.clone())).collect();
            CountedOf { is_silent: teller.is_silent(), counts: Counts { line: counts.line.clone(), targets } }
        };
        self.now().into_iter().map(|(host, teller)| (host, of_app(&teller))).collect()
    }

    /// Returns how many failed requests a router has told in all, and those after the first `n`.
    pub(super) fn failures_after(&self, host: &HostName, n: u64) -> (u64, Vec<FailedRequest>) {
        self.now().get(host).map(|teller| teller.heard.failures_after(n)).unwrap_or_default()
    }

    /// Returns how much a target's busiest clients carry at a router, if it says so.
    pub(super) fn busiest(&self, host: &HostName, target: &TargetName) -> Option<Busiest> {
        self.now().get(host)?.heard.busiest(target)
    }

    /// Returns how many requests these releases had in about the last `length`, and what part of them failed; nothing where nobody says, or
    /// there was none.
    pub(super) fn traffic_of(
        &self,
        of: &BTreeMap<TargetName, ReleaseId>,
        length: Duration,
    ) -> Option<power::Traffic> {
        let (mut requests_per_second, mut ended, mut errors) = (0.0, 0, 0);
        for teller in self.now().values() {
            let Some((over, counts)) = teller.heard.latest(length) else { continue };
            for tally in of.iter().filter_map(|(target, release)| counts.of(target, release)) {
                requests_per_second += tally.ended() as f64 / over.as_secs_f64().max(1.0);
                ended += tally.ended();
                errors += tally.errors();
            }
        }
        // Where nothing failed so far, a half of one is what may be expected (Krichevsky & Trofimov).
        let part = (errors as f64 + 0.5) / (ended as f64 + 1.0);
        (ended > 0).then_some(power::Traffic { requests_per_second, part })
    }

    /// Returns what these releases did in about the last `length`, by all routers.
    pub(super) fn lately(&self, of: &BTreeMap<TargetName, ReleaseId>, length: Duration) -> Tally {
        let mut all = Tally::default();
        for teller in self.now().values() {
            let Some((_, counts)) = teller.heard.latest(length) else { continue };
            let tallies = of.iter().filter_map(|(target, release)| counts.of(target, release));
            tallies.for_each(|tally| all.add(tally));
        }
        all
    }

    /// Returns what each router told, as it is now.
    fn now(&self) -> BTreeMap<HostName, Arc<Teller>> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
#[derive(Default, Deserialize)]
pub(super) struct TrafficQuery {
    environment: Option<EnvironmentName>,
    app: Option<AppName>,
    over_ms: Option<u64>,
}

impl TrafficQuery {
    fn names(&self, path: &AppPath) -> bool {
        self.environment.as_ref().is_none_or(|environment| *environment == path.environment)
            && self.app.as_ref().is_none_or(|app| *app == path.app)
    }

    fn is_about_all(&self) -> bool {
        self.environment.is_none() && self.app.is_none()
    }

    fn unknown(&self, site: &Site) -> Problem {
        let of = self.app.as_ref().map(|app| format!(" of `{app}`")).unwrap_or_default();
        let within = self.environment.as_ref().map(|name| format!(" in `{name}`")).unwrap_or_default();
        let because = match &self.app {
            Some(_) => "it was never deployed",
            None => "nothing was ever deployed there",
        };
        let what = format!("cannot read the traffic{of}{within}");
        Problem::new(ProblemKind::Unknown, what, because, &find::known_ones(site))
    }
}

/// `GET`: the traffic of every app with endpoints, of one environment's, of one name's, or of one.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<TrafficQuery>,
) -> Result<Json<Vec<AppTraffic>>, Problem> {
    let over = query.over_ms.map_or(OVER_DEFAULT, Duration::from_millis).min(OVER_MAX);
    let attended = shared.view.borrow().is_acting;
    let scene = scene(&shared.site(), &query, attended)?;
    Ok(Json(sum::traffic(scene, &shared.told.now(), over)))
}

/// Copies what the site says of the apps that are asked about and have endpoints: the site is not held while routers are added up.
fn scene(site: &Site, query: &TrafficQuery, attended: bool) -> Result<Scene, Problem> {
    let asked = || site.apps.iter().filter(|(path, _)| query.names(path));
    if !query.is_about_all() && asked().next().is_none() {
        return Err(query.unknown(site));
    }
    let at = clock::now();
    let subject = |path: &AppPath, app: &App| Subject {
        gate: gate::in_a_line(&site.door(path, None, at), at),
        routes: app.routes.clone(),
        traffic: app.traffic.clone(),
        rollout: app
            .rollout
            .as_ref()
            .filter(|rollout| rollout.is_active())
            .map(|rollout| status::rollout(site, rollout, attended, at).in_a_line()),
    };
    let with_endpoints = asked().filter(|(_, app)| !app.routes.is_empty());
    let apps: BTreeMap<AppPath, Subject> =
        with_endpoints.map(|(path, app)| (path.clone(), subject(path, app))).collect();
    let follows = |report: &RouterReport| -> BTreeSet<AppPath> {
        let paths = report.apps.iter().map(|following| &following.path);
        paths.filter(|path| apps.contains_key(*path)).cloned().collect()
    };
    let routers = site.routers.iter().map(|(host, report)| (host.clone(), follows(report))).collect();
    Ok(Scene { at, apps, routers })
}

#[cfg(test)]
mod tests {
    use footplate_core::generation::Generation;
    use footplate_core::name::{Target, TargetName};
    use footplate_core::traffic::counts::{Counts, Tally};
    use footplate_core::traffic::{Endpoint, EndpointState, Followed, Following, Route};

    use super::*;
    use crate::api::ReleaseTraffic;

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
            failed: Vec::new(),
            busiest: BTreeMap::new(),
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
        let scene = scene(site, &TrafficQuery::default(), true).expect("everything is asked for");
        let traffic = sum::traffic(scene, &told.now(), OVER_DEFAULT).remove(0);
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
            let mut tellers = told.routers.lock().expect("nothing panicked");
            for name in names {
                let teller = Arc::make_mut(tellers.get_mut(&host(name)).expect("it told"));
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
    fn a_release_that_is_gone_has_no_share_of_what_came_to_the_others() {
        let (mut site, told) = (site(&["a"]), Told::default());
        let known = |host: &HostName| site.routers.contains_key(host);
        told.hear(host("a"), look(1, None, 0), known).expect("it is known");
        told.hear(host("a"), look(2, Some(1), 30), known).expect("it follows");
        let shares = |site: &Site| {
            let scene = scene(site, &TrafficQuery::default(), true).expect("everything is asked for");
            let traffic = sum::traffic(scene, &told.now(), OVER_DEFAULT).remove(0);
            let share = |release: &ReleaseTraffic| release.measured.as_ref().expect("it tells").share;
            let shown = |release| share(release).map_or("-".to_owned(), |share| share.to_string());
            traffic.groups[0].releases.iter().map(shown).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shares(&site), "100% 0%");
        let route = site.apps.get_mut(&path()).expect("there").routes.values_mut().next().expect("there");
        let gone = route.endpoints.remove(&"1".parse().expect("a release")).expect("it was there");
        assert_eq!(shares(&site), "- -", "what is left was not asked yet");
        let route = site.apps.get_mut(&path()).expect("there").routes.values_mut().next().expect("there");
        route.endpoints = [("1".parse().expect("a release"), gone)].into();
        assert_eq!(shares(&site), "100%");
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

    #[test]
    fn an_environment_or_an_app_alone_is_filtered_by_and_an_unknown_name_is_told_what_there_is() {
        let mut site = site(&["a"]);
        let shop = site.apps[&path()].clone();
        for other in ["staging.shop.web", "staging.search.web"] {
            site.apps.insert(other.parse::<TargetName>().expect("a name").path, shop.clone());
        }
        site.apps.insert("edge.asleep.web".parse::<TargetName>().expect("a name").path, App::default());
        let asked = |environment: Option<&str>, app: Option<&str>| {
            let query = TrafficQuery {
                environment: environment.map(|name| name.parse().expect("a name")),
                app: app.map(|name| name.parse().expect("a name")),
                over_ms: None,
            };
            let scene = scene(&site, &query, true)?;
            let traffic = sum::traffic(scene, &Told::default().now(), OVER_DEFAULT);
            let paths: Vec<String> = traffic.iter().map(|traffic| traffic.path.to_string()).collect();
            Ok::<_, Problem>(paths.join(" "))
        };
        let found = |environment, app| asked(environment, app).expect("it is known");
        assert_eq!(found(None, None), "production.shop staging.search staging.shop");
        assert_eq!(found(Some("staging"), None), "staging.search staging.shop");
        assert_eq!(found(None, Some("shop")), "production.shop staging.shop");
        assert_eq!(found(Some("staging"), Some("shop")), "staging.shop");
        assert_eq!(found(Some("edge"), None), "", "what is known and has no endpoint has no traffic");
        for (environment, app, what) in [
            (Some("nowhere"), None, "cannot read the traffic in `nowhere`"),
            (None, Some("shpo"), "cannot read the traffic of `shpo`"),
            (Some("production"), Some("search"), "cannot read the traffic of `search` in `production`"),
        ] {
            let problem = asked(environment, app).expect_err("nobody knows it");
            assert_eq!((problem.what.as_str(), problem.kind), (what, ProblemKind::Unknown));
            assert!(problem.next.expect("it says what there is").contains("`production.shop`"));
        }
    }
}
