//! The router beside an agent: real, with two services behind it; the test plays the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::record::{Key, Record, Stored, Written};
use footplate_core::traffic::{
    Canary, Endpoint, EndpointState, Followed, Pool, Route, RouterReport, Share, Traffic,
};
use footplate_drivers::router::{self, EndpointName, RouterError};
use footplate_drivers::store::Troubles;
use footplate_drivers::store::memory::Memory;
use footplate_router::{Config, Listener, Server};
use footplate_testkit::backend::Backend;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::site::{Site, target};
use crate::agent::reporter::Reporter;
use crate::agent::routing::Routing;
use crate::clock;

/// A router of one process's own threads, and what ends it.
struct Router {
    folder: TempDir,
    address: String,
    _stop: oneshot::Sender<()>,
}

impl Router {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let listener = Listener { address: ([127, 0, 0, 1], 0).into(), is_https: false };
        let config = Config { workers: 1, ..Config::new(folder.path(), vec![listener]) };
        let server = Server::open(config).await.unwrap_or_else(|failure| panic!("{failure}"));
        let address = format!("http://{}", server.addresses()[0]);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { folder, address, _stop: stop }
    }

    /// Asks for a path and returns what was answered.
    async fn get(&self, path: &str) -> String {
        let answer = reqwest::get(format!("{}{path}", self.address)).await.expect("an answer");
        answer.text().await.expect("a body")
    }

    async fn answers(&self, number: usize) -> BTreeMap<String, usize> {
        let mut answers = BTreeMap::new();
        for _ in 0..number {
            *answers.entry(self.get("/").await.trim().to_owned()).or_default() += 1;
        }
        answers
    }
}

async fn put<T: Record>(site: &Site, key: &Key, record: &T) {
    site.put(key, serde_json::to_vec(&Written(record)).expect("plain data")).await;
}

/// Writes the route of `web-1` (`1 serves, 2 standby`) and then the division.
async fn divide(
    site: &Site,
    services: &[(&str, &Backend, EndpointState)],
    counter: u64,
    canary: Option<Canary>,
) {
    let endpoint = |(release, backend, state): &(&str, &Backend, EndpointState)| {
        let endpoint = Endpoint { address: backend.address.to_string(), state: *state, weight: 100 };
        (release.parse().expect("a release"), endpoint)
    };
    let route = Route { endpoints: services.iter().map(endpoint).collect() };
    put(site, &Key::Route(target(), "web-1".parse().expect("a host")), &route).await;
    let traffic = Traffic { revision: Generation::new(1, counter), canary, ..Traffic::default() };
    put(site, &Key::Traffic(target().path), &traffic).await;
}

fn share(percent: u32, validity: Duration) -> Option<Canary> {
    let release = "2".parse().expect("a release");
    let share = Share::from_millionths(percent * 10_000);
    Some(Canary { release, share, groups: Default::default(), validity, renewed: 1 })
}

fn renewed(canary: Option<Canary>) -> Option<Canary> {
    canary.map(|canary| Canary { renewed: canary.renewed + 1, ..canary })
}

/// Waits until the router on `edge` is reported to follow this revision, and `also`.
async fn followed(site: &Site, counter: u64, also: impl Fn(&Followed) -> bool) -> Moment {
    let key = Key::Router("edge".parse().expect("a host")).to_string();
    site.until(&key, "router's report", |snapshot| {
        let entry = snapshot.entries.get(&key)?;
        let Ok(Stored::Known::<RouterReport>(report)) = serde_json::from_slice(&entry.value) else {
            return None;
        };
        let followed = report.follows(&target().path)?;
        (followed.revision == Generation::new(1, counter) && also(followed)).then(clock::now)
    })
    .await
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn a_router_follows_the_routes_and_says_what_is_still_in_flight() {
    use EndpointState::{Draining, Serving, Standby};
    let (site, router) = (Site::new(), Router::start().await);
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let _agent = site.start_beside("edge", router.folder.path());
    divide(&site, &[("1", &old, Serving), ("2", &new, Standby)], 1, None).await;
    followed(&site, 1, |_| true).await;
    assert_eq!(router.answers(20).await, [("old".to_owned(), 20)].into(), "nobody comes to what stands by");
    divide(&site, &[("1", &old, Serving), ("2", &new, Serving)], 2, share(50, HOUR)).await;
    followed(&site, 2, |_| true).await;
    let answers = router.answers(200).await;
    assert!((60..140).contains(&answers["new"]), "half of 200, within six deviations: {answers:?}");
    let requests = || old.requests() + new.requests();
    let before = requests();
    let slow = tokio::spawn({
        let address = router.address.clone();
        async move { reqwest::get(format!("{address}/stream/40/50")).await.expect("an answer").bytes().await }
    });
    super::site::eventually("a long answer is under way", || requests() > before).await;
    divide(&site, &[("1", &old, Draining), ("2", &new, Draining)], 3, None).await;
    followed(&site, 3, |followed| followed.busy.len() == 1).await;
    followed(&site, 3, |followed| followed.busy.is_empty()).await;
    assert!(slow.await.expect("it ended").is_ok(), "it was not cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_nobody_judges_any_more_gets_nothing() {
    use EndpointState::Serving;
    let (site, router) = (Site::new(), Router::start().await);
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let _agent = site.start_beside("edge", router.folder.path());
    divide(&site, &[("1", &old, Serving), ("2", &new, Serving)], 1, None).await;
    followed(&site, 1, |_| true).await;
    divide(&site, &[("1", &old, Serving), ("2", &new, Serving)], 2, share(100, Duration::from_secs(1))).await;
    let begun = followed(&site, 2, |_| true).await;
    super::site::eventually("its time is over", || clock::now().since(begun) > Duration::from_secs(1)).await;
    let search = async { while router.answers(10).await.contains_key("new") {} };
    tokio::time::timeout(Duration::from_secs(30), search).await.expect("the old release gets all again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_an_agent_finds_gets_nothing_until_it_is_seen_to_be_judged() {
    use EndpointState::Serving;
    let (site, router) = (Site::new(), Router::start().await);
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let services = [("1", &old, Serving), ("2", &new, Serving)];
    divide(&site, &services, 1, share(100, HOUR)).await;
    let _agent = site.start_beside("edge", router.folder.path());
    followed(&site, 1, |_| true).await;
    assert_eq!(router.answers(20).await, [("old".to_owned(), 20)].into(), "it may be long over");
    divide(&site, &services, 2, renewed(share(100, HOUR))).await;
    followed(&site, 2, |_| true).await;
    assert_eq!(router.answers(20).await, [("new".to_owned(), 20)].into());
}

/// A router that counts how often it was told and asked, and always has something in flight; it answers, or never does.
#[derive(Default)]
struct Played {
    is_mute: bool,
    told: AtomicUsize,
    asked: AtomicUsize,
}

#[async_trait]
impl router::Router for Played {
    fn describe(&self) -> String {
        "a router that is played".to_owned()
    }

    async fn follow(&self, _: &[Pool]) -> Result<(), RouterError> {
        if self.is_mute {
            std::future::pending::<()>().await;
        }
        self.told.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn in_flight(&self) -> Result<Option<BTreeSet<EndpointName>>, RouterError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let name = EndpointName { service: "production.shop.web".to_owned(), endpoint: "a/1".to_owned() };
        Ok(Some([name].into()))
    }

    async fn facts(&self, _: &router::After) -> Result<Option<router::Facts>, RouterError> {
        Ok(None)
    }
}

/// Looks after a router that is played, with an empty store.
fn look_after(router: &Arc<Played>) -> (Arc<Reporter>, tokio::task::JoinHandle<()>) {
    let reporter = Arc::new(Reporter::new(1));
    let routing = Routing {
        host: "edge".parse().expect("a host"),
        store: Arc::new(Memory::default()),
        troubles: Troubles::default(),
        patience: Duration::from_secs(1),
        router: Arc::clone(router) as Arc<dyn router::Router>,
        reporter: Arc::clone(&reporter),
    };
    (reporter, tokio::spawn(routing.run()))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_something_leaves_a_router_is_asked_often_and_told_only_what_is_new() {
    let router = Arc::new(Played::default());
    let (_reporter, task) = look_after(&router);
    super::site::eventually("it is asked", || router.asked.load(Ordering::Relaxed) >= 10).await;
    let told = router.told.load(Ordering::Relaxed);
    assert!((1..5).contains(&told), "told {told} times");
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_does_not_answer_is_reported_to_follow_nothing() {
    let router = Arc::new(Played { is_mute: true, ..Played::default() });
    let (reporter, task) = look_after(&router);
    let key = Key::Router("edge".parse().expect("a host")).to_string();
    super::site::eventually("it is reported", || reporter.published(&key).is_some()).await;
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_counts_each_release_exactly_and_goes_on_when_one_was_away() {
    use EndpointState::Serving;
    let (site, router) = (Site::new(), Router::start().await);
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let _agent = site.start_beside("edge", router.folder.path());
    let driver = router::open(&router::Config::Builtin(router.folder.path().to_owned()));
    let mut expected = BTreeMap::from([("1", 0), ("2", 0)]);
    let rounds: [&[(&str, &Backend, EndpointState)]; 4] = [
        &[("1", &old, Serving)],
        &[("1", &old, Serving), ("2", &new, Serving)],
        &[("2", &new, Serving)],
        &[("1", &old, Serving)],
    ];
    for (services, counter) in rounds.into_iter().zip(1..) {
        divide(&site, services, counter, None).await;
        followed(&site, counter, |_| true).await;
        let answers = router.answers(20).await;
        *expected.get_mut("1").expect("it is there") +=
            answers.get("old").copied().unwrap_or_default() as u64;
        *expected.get_mut("2").expect("it is there") +=
            answers.get("new").copied().unwrap_or_default() as u64;
        let counts = driver.counts().await.expect("it answers").expect("it counts");
        for (release, number) in &expected {
            let tally =
                counts.of(&target(), &release.parse().expect("a release")).cloned().unwrap_or_default();
            let told = (tally.requests, tally.ended(), tally.answers[1], tally.all_times().len());
            assert_eq!(told, (*number, *number, *number, *number), "release {release} in round {counter}");
        }
    }
}
