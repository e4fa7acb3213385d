//! Services from push to stop: real processes under keepers, a real router, and clients that count every answer.

use std::path::PathBuf;
use std::time::Duration;

use footplate::api::{Delivery, Overrides, Status};
use footplate_core::release::service::{Check, Health, Ports, Probe};
use footplate_core::release::{Hooks, Service, Workload, service};
use footplate_core::retention::Retention;
use footplate_core::rollout::{Pace, Policy, Portion, Strategy};
use footplate_drivers::router::{self, haproxy};
use footplate_router::{Config, Listener, Server};
use footplate_testkit::load::Load;
use footplate_testkit::start_haproxy;
use tokio::sync::oneshot;

use crate::site::{Site, runs};

/// A router that serves for as long as this lives.
pub struct Router {
    pub address: std::net::SocketAddr,
    pub config: router::Config,
    _stop: Stop,
}

/// What ends it.
enum Stop {
    Builtin { _sender: oneshot::Sender<()> },
    Haproxy { _server: footplate_testkit::Server },
}

/// Starts HAProxy on what its driver leaves when it finds none.
pub async fn haproxy(folder: PathBuf) -> Router {
    std::fs::create_dir_all(&folder).unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], footplate_testkit::free_port()));
    let settings = haproxy::Settings {
        master: folder.join("master.sock"),
        program: footplate_testkit::haproxy(&folder).unwrap(),
        listen: vec![address.to_string()],
        ..haproxy::Settings::new(folder.join("generated"))
    };
    let config = router::Config::Haproxy(settings.clone());
    router::open(&config).follow(&[]).await.unwrap_err();
    let server = start_haproxy(&settings.program, &settings.configuration_file(), &settings.master).await;
    Router { address, config, _stop: Stop::Haproxy { _server: server.unwrap() } }
}

pub async fn builtin(folder: PathBuf) -> Router {
    let listener = Listener { address: ([127, 0, 0, 1], 0).into(), is_https: false };
    let config = Config { workers: 1, ..Config::new(&folder, vec![listener]) };
    let server = Server::open(config).await.unwrap_or_else(|failure| panic!("{failure}"));
    let address = server.addresses()[0];
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(server.run(async { drop(stopped.await) }));
    Router { address, config: router::Config::Builtin(folder), _stop: Stop::Builtin { _sender: stop } }
}

/// Returns the example `service`, which cargo builds beside the tests.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/service")
}

pub fn workload(arguments: &str) -> Workload {
    let mut web = Service::web(format!("exec {} {arguments}", program().display()));
    let probe =
        Probe { interval: Duration::from_millis(100), ..Probe::new(Check::Http { path: "/".to_owned() }) };
    web.health = Health {
        readiness: Some(probe),
        healthy_time_min: Duration::from_millis(300),
        start_deadline: Duration::from_secs(4),
        ..Health::default()
    };
    web.stop.grace = Duration::from_secs(2);
    if let service::Kind::Web { ports, .. } = &mut web.kind {
        *ports = Ports { first: 20_000, last: 22_999 };
    }
    Workload::Service { hooks: Hooks::default(), services: [("web".parse().unwrap(), web)].into() }
}

pub fn delivery(strategy: Strategy) -> Delivery {
    let pace = Pace { watch: Duration::from_millis(200), drain: Duration::from_secs(5), ..Pace::default() };
    Delivery {
        selector: "role=web".parse().unwrap(),
        groups: ["web".parse().unwrap()].into(),
        policy: Policy { strategy, pace, ..Policy::default() },
        retention: Retention { keep: 2, newer_than: None },
        freezes: Vec::new(),
    }
}

impl Site {
    pub async fn push_service(&self, version: &str, arguments: &str, strategy: Strategy) {
        self.push_workload(version, version, workload(arguments), delivery(strategy)).await.unwrap();
    }

    /// Deploys a service that was pushed, and expects how it ends.
    pub async fn ship_service(&self, version: &str, arguments: &str, strategy: Strategy, code: u8) -> String {
        self.push_service(version, arguments, strategy).await;
        self.deploy(version, Overrides::default()).await.unwrap();
        let end = self.end().await;
        assert_eq!(end.exit_code, Some(code), "{}", end.sentence);
        end.sentence
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_swapped_under_load_without_a_failed_request() {
    let site = Site::with_hosts(&["web-1", "web-2"]).await;
    let router = builtin(site.folder.path().join("router")).await;
    swap_under_load(site, router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_swapped_behind_haproxy_without_a_failed_request() {
    let site = Site::with_hosts(&["web-1", "web-2"]).await;
    let router = haproxy(site.folder.path().join("router")).await;
    swap_under_load(site, router).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_release_says_of_its_requests_holds_at_the_router_once_it_has_arrived() {
    let mut site = Site::with_hosts(&["web-1"]).await;
    let router = builtin(site.folder.path().join("router")).await;
    site.start_agent_beside("edge", "edge", Some(router.config.clone()));
    let post = async || {
        let client = reqwest::Client::new();
        let answer = client.post(format!("http://{}/", router.address)).body("0123456789").send().await;
        answer.unwrap().status().as_u16()
    };
    site.ship_service("1", "web", Strategy::BlueGreen, 0).await;
    crate::site::within("the first release answers", async { while post().await != 200 {} }).await;
    let mut bounded = workload("web");
    let Workload::Service { services, .. } = &mut bounded else { panic!("it has services") };
    services.values_mut().for_each(|web| web.requests.body_bytes_max = Some(5));
    site.push_workload("2", "2", bounded, delivery(Strategy::BlueGreen)).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
    crate::site::within("the router holds it", async { while post().await != 413 {} }).await;
    site.ship_service("3", "web", Strategy::BlueGreen, 0).await;
    crate::site::within("and lets it go", async { while post().await != 200 {} }).await;
}

async fn swap_under_load(mut site: Site, router: Router) {
    site.start_agent_beside("edge", "edge", Some(router.config.clone()));
    let rolling = || Strategy::Rolling { batch: Portion::Count(1) };
    site.ship_service("1", "web", rolling(), 0).await;
    let answered =
        async { while reqwest::get(format!("http://{}/", router.address)).await.unwrap().status() != 200 {} };
    crate::site::within("the first release answers", answered).await;
    let loads = [true, false].map(|keep_alive| {
        Load { keep_alive, pause: Duration::from_millis(2), ..Load::new(router.address, 2) }.start()
    });
    site.ship_service("2", "web", rolling(), 0).await;
    site.ship_service("3", "web", Strategy::BlueGreen, 0).await;
    let ramp = vec!["10%".parse().unwrap(), "50%".parse().unwrap()];
    site.ship_service("4", "web", Strategy::Canary { ramp, batch: Portion::Count(1) }, 0).await;
    for load in loads {
        let outcome = load.stop().await;
        assert_eq!(outcome.failed, 0, "of {}: {:?}", outcome.requests, outcome.failures);
        assert_eq!(outcome.statuses.keys().collect::<Vec<_>>(), [&200], "{:?}", outcome.statuses);
        assert!(outcome.requests > 100, "{}", outcome.requests);
    }
    let status = site.until("all run it", async |status: &Status| runs(status, "web-1", "4")).await;
    assert!(runs(&status, "web-2", "4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_never_listens_is_taken_back_and_explained() {
    let mut site = Site::with_hosts(&["web-1", "web-2"]).await;
    let router = builtin(site.folder.path().join("router")).await;
    site.start_agent_beside("edge", "edge", Some(router.config.clone()));
    let rolling = || Strategy::Rolling { batch: Portion::Count(1) };
    site.ship_service("1", "web", rolling(), 0).await;
    let said = site.ship_service("2", "silent", rolling(), 1).await;
    assert!(said.contains("could not start `2`") && said.contains("it did not become ready"), "{said}");
    let said = site.ship_service("3", "web 500", rolling(), 1).await;
    assert!(said.contains("it answered 500"), "{said}");
    let status = site.until("the first runs", async |status: &Status| runs(status, "web-1", "1")).await;
    assert!(runs(&status, "web-2", "1"));
}
