//! Services in Consul's catalog, as programs see them that know nothing of footplate: a real Consul is the store as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate::api::{Overrides, Status};
use footplate_core::release::Workload;
use footplate_core::release::service::{Check, Probe};
use footplate_core::rollout::{Portion, Strategy};
use footplate_drivers::discovery::{self, consul};
use footplate_drivers::store::{self, Secret};
use footplate_testkit::{Consul, ConsulSetup, Proxy};
use reqwest::Method;
use serde_json::Value;
use tokio::io::AsyncBufReadExt;

use crate::serving::{delivery, workload};
use crate::site::{Elsewhere, PATIENCE, Site};

const SERVICE: &str = "production-shop-web";

/// One instance as Consul tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    host: String,
    release: String,
    version: String,
    state: String,
    port: u16,
    weight: u64,
}

fn settings(url: &str) -> discovery::Config {
    let consul = consul::Settings {
        url: url.to_owned(),
        token: None,
        ca_file: None,
        name: discovery::NAME_DEFAULT.to_owned(),
        tags: vec!["http".to_owned()],
        site: "footplate/".to_owned(),
    };
    discovery::Config { consul, ttl: Duration::from_secs(30), drain: Duration::from_millis(300) }
}

async fn site(consul: &Consul, names: &[&str]) -> Site {
    footplate::install_crypto_provider();
    let mut config = store::Config::new(&consul.url()).unwrap();
    if let Some(token) = consul.root_token() {
        config.credentials = store::Credentials::Token(Secret::new(token));
    }
    let store = store::open(&config).unwrap();
    Site::elsewhere(names, Some(Elsewhere { store, discovery: settings(&consul.url()) })).await
}

/// Opens a site with its store elsewhere, of one host that runs `1` and gives Consul a sign of life every two seconds, through a proxy.
async fn site_behind_a_proxy(consul: &Consul) -> (Proxy, Site) {
    let proxy = Proxy::start(consul.address()).await.unwrap();
    let store: Arc<dyn store::Store> = Arc::new(store::memory::Memory::default());
    let mut discovery = settings(&proxy.url());
    discovery.ttl = Duration::from_secs(6);
    let site = Site::elsewhere(&["web-1"], Some(Elsewhere { store, discovery })).await;
    site.ship_service("1", "web", rolling(), 0).await;
    eventually(consul, "it stands there", |told| told.len() == 1).await;
    (proxy, site)
}

/// Asks Consul for the instances of a service: all, or those that take requests.
async fn told(consul: &Consul, query: &str) -> Vec<Told> {
    let answer = consul.call(Method::GET, &format!("/v1/health/service/{query}"), Value::Null).await.unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = |entry: &Value| {
        let (service, meta) = (&entry["Service"], &entry["Service"]["Meta"]);
        Told {
            host: text(&meta["host"]),
            release: text(&meta["release"]),
            version: text(&meta["version"]),
            state: text(&meta["state"]),
            port: u16::try_from(service["Port"].as_u64().unwrap()).unwrap(),
            weight: service["Weights"]["Passing"].as_u64().unwrap(),
        }
    };
    answer.as_array().unwrap().iter().map(told).collect()
}

async fn passing(consul: &Consul) -> Vec<Told> {
    told(consul, &format!("{SERVICE}?passing")).await
}

/// Waits until Consul tells what is expected.
async fn eventually(consul: &Consul, what: &str, is_so: impl Fn(&[Told]) -> bool) -> Vec<Told> {
    let begun = Instant::now();
    loop {
        let seen = passing(consul).await;
        if is_so(&seen) {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long until {what}: {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn by_release(told: &[Told]) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    told.iter().for_each(|one| *count.entry(one.release.clone()).or_default() += 1);
    count
}

fn rolling() -> Strategy {
    Strategy::Rolling { batch: Portion::Count(1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_rolled_out_stands_in_consul_and_whoever_is_told_there_answers() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let consul = Arc::new(consul);
    let mut site = site(&consul, &[]).await;
    // Agents are heard late: a stop that did not wait would come before its instance is out.
    let proxy = Proxy::start(consul.address()).await.unwrap();
    proxy.delay(Duration::from_millis(400));
    site.discover(|discovery| discovery.consul.url = proxy.url());
    for host in ["web-1", "web-2"] {
        site.start_agent(host);
    }
    site.ship_service("1", "web", rolling(), 0).await;
    let first = eventually(&consul, "both stand there", |told| told.len() == 2).await;
    for one in &first {
        assert_eq!((one.release.as_str(), one.version.as_str(), one.state.as_str()), ("1", "1", "serving"));
        assert_eq!(one.weight, 1000);
    }
    let visits = tokio::spawn(visit(Arc::clone(&consul)));
    site.ship_service("2", "web", rolling(), 0).await;
    let second =
        eventually(&consul, "both run the new one", |told| by_release(told) == [("2".to_owned(), 2)].into());
    let second = second.await;
    assert!(second.iter().all(|one| !first.iter().any(|old| old.port == one.port)), "{second:?}");
    visits.abort();
    let visited = visits.await;
    assert!(visited.is_err_and(|error| error.is_cancelled()), "a visit failed");
    let all = told(&consul, SERVICE).await;
    assert_eq!(all.len(), 2, "what was stopped stands nowhere: {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_host_lets_the_new_one_into_consul_before_the_old_one_leaves() {
    let consul = Arc::new(Consul::start(ConsulSetup::default()).await.unwrap());
    let mut site = site(&consul, &[]).await;
    // What lies between two of its words is long enough to be seen.
    let proxy = Proxy::start(consul.address()).await.unwrap();
    proxy.delay(Duration::from_millis(100));
    site.discover(|discovery| discovery.consul.url = proxy.url());
    site.start_agent("web-1");
    site.ship_service("1", "web", rolling(), 0).await;
    eventually(&consul, "it stands there", |told| told.len() == 1).await;
    let visits = [(); 2].map(|()| tokio::spawn(visit(Arc::clone(&consul))));
    for release in ["2", "3", "4", "5"] {
        site.ship_service(release, "web", rolling(), 0).await;
    }
    eventually(&consul, "the last one stands there", |told| by_release(told) == [("5".to_owned(), 1)].into())
        .await;
    for visits in visits {
        visits.abort();
        assert!(visits.await.is_err_and(|error| error.is_cancelled()), "a visit failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watcher_of_the_reference_follows_a_rollout() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let site = site(&consul, &["web-1"]).await;
    site.ship_service("1", "web", rolling(), 0).await;
    let page = include_str!("../../../../docs/reference/routes.md");
    let script =
        page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a script");
    let mut watcher = tokio::process::Command::new("python3");
    watcher.args(["-c", script, &consul.url(), "footplate/", "production.shop", "web"]);
    let mut watcher = watcher.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(watcher.stdout.take().expect("a pipe")).lines();
    let mut seen = Vec::new();
    let mut see = async |release: &str| {
        let first = format!("{release}=127.0.0.1:");
        let line = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it goes on");
                seen.push(line.clone());
                if line.starts_with(&first) && !line.contains(' ') {
                    return line;
                }
            }
        };
        crate::site::within("the watcher says it", line).await
    };
    let told = eventually(&consul, "it stands there", |told| told.len() == 1).await;
    assert_eq!(see("1").await, format!("1=127.0.0.1:{}", told[0].port));
    site.ship_service("2", "web", rolling(), 0).await;
    let told =
        eventually(&consul, "the new one stands there", |told| told.len() == 1 && told[0].release == "2")
            .await;
    assert_eq!(see("2").await, format!("2=127.0.0.1:{}", told[0].port));
    assert!(seen.iter().all(|line| !line.is_empty()), "there was always somebody: {seen:?}");
}

/// Visits whoever takes requests, again and again, as a program that asks Consul each time.
async fn visit(consul: Arc<Consul>) {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    loop {
        let seen = passing(&consul).await;
        assert!(!seen.is_empty(), "nobody takes requests");
        for one in seen {
            assert_eq!(one.state, "serving", "{one:?}");
            let answer = client.get(format!("http://127.0.0.1:{}/", one.port)).send().await;
            let status = answer.unwrap_or_else(|error| panic!("{one:?} does not answer: {error:?}")).status();
            assert_eq!(status, 200, "{one:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_falls_silent_takes_its_services_out_of_consul_and_its_return_brings_them_back() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let mut site = site(&consul, &[]).await;
    site.discover(|discovery| discovery.ttl = Duration::from_secs(3));
    for host in ["web-1", "web-2"] {
        site.start_agent(host);
    }
    site.ship_service("1", "web", rolling(), 0).await;
    eventually(&consul, "both stand there", |told| told.len() == 2).await;
    site.kill_agent("web-2");
    let left = eventually(&consul, "the silent one is out", |told| told.len() == 1).await;
    assert_eq!(left[0].host, "web-1");
    let all = told(&consul, SERVICE).await;
    let silent = all.iter().find(|one| one.host == "web-2").expect("it is known still");
    assert_eq!(visit_once(silent).await, 200, "its service runs on");
    site.start_agent("web-2");
    let back = eventually(&consul, "it is back", |told| told.len() == 2).await;
    assert!(back.contains(silent), "it is the same process: {back:?}");
}

async fn visit_once(one: &Told) -> u16 {
    reqwest::get(format!("http://127.0.0.1:{}/", one.port)).await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_starts_removes_what_a_former_life_left_and_touches_nobody_elses() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let leftover = |id: &str, host: &str| {
        let meta = serde_json::json!({ "footplate": "footplate/", "host": host });
        serde_json::json!({ "ID": id, "Name": SERVICE, "Port": 1, "Meta": meta })
    };
    for (id, host) in
        [("footplate:web-1:production.shop.web:0", "web-1"), ("odd", "web-1"), ("other", "web-9")]
    {
        consul_put(&consul, "/v1/agent/service/register", leftover(id, host)).await;
    }
    let mut site = site(&consul, &["web-1"]).await;
    let ids = async || {
        let all = consul.call(Method::GET, "/v1/agent/services", Value::Null).await.unwrap();
        all.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    site.until("what was left is gone", async |_: &Status| ids().await == ["other"]).await;
    site.ship_service("1", "web", rolling(), 0).await;
    eventually(&consul, "it stands there", |told| told.iter().any(|one| one.host == "web-1")).await;
    let standing = ids().await;
    let own = "footplate:web-1:production.shop.web:1";
    assert_eq!(standing, ["footplate:web-1", own, "other"]);
    // A restart finds them as they are: they never leave.
    site.kill_agent("web-1");
    site.start_agent("web-1");
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(3) {
        assert!(passing(&consul).await.iter().any(|one| one.host == "web-1"), "it left for a moment");
    }
    assert_eq!(ids().await, standing);
}

async fn consul_put(consul: &Consul, path: &str, body: Value) {
    // Consul answers these with nothing, which is no JSON.
    let answer = consul.call(Method::PUT, path, body).await;
    let said = answer.err().map(|error| error.to_string());
    assert!(said.as_ref().is_none_or(|said| said.contains("EOF")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_write_services_disturbs_nothing_and_the_doctor_names_it() {
    let consul = Consul::start(ConsulSetup { access_control: true, ..ConsulSetup::default() }).await.unwrap();
    let rights =
        |prefix: &str| format!("node_prefix \"\" {{ policy = \"read\" }}\n{}", consul::rights(prefix));
    let weak = consul.create_token("weak", &rights("staging-")).await.unwrap();
    let able = consul.create_token("able", &rights("production-")).await.unwrap();
    let mut site = site(&consul, &[]).await;
    site.discover(|discovery| discovery.consul.token = Some(Secret::new(weak)));
    site.start_agent("web-1");
    site.discover(|discovery| discovery.consul.token = Some(Secret::new(able)));
    site.start_agent("web-2");
    let begun = Instant::now();
    site.ship_service("1", "web", rolling(), 0).await;
    eventually(&consul, "who may stands there", |told| told.len() == 1 && told[0].host == "web-2").await;
    let find = async || {
        site.client.doctor().await.unwrap().into_iter().find(|check| check.name == "services in catalogs")
    };
    site.until("the doctor knows", async |_: &Status| find().await.is_some_and(|check| !check.ok)).await;
    let check = find().await.expect("a check");
    assert!(check.found.starts_with("web-1: Consul at 127.0.0.1:"), "{}", check.found);
    assert!(
        check.found.contains("refuses our token") && check.found.contains("Permission denied"),
        "{}",
        check.found
    );
    assert!(check.next.expect("advice").contains("footplate store policy consul --role agent --services"));
    // Nothing else is disturbed: the next version goes everywhere, and no stop waits for the catalog for long.
    site.ship_service("2", "web", rolling(), 0).await;
    eventually(&consul, "the new one stands there", |told| by_release(told) == [("2".to_owned(), 1)].into())
        .await;
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canarys_share_is_its_weight_and_it_takes_nothing_before_it_has_one() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let site = site(&consul, &["web-1", "web-2"]).await;
    site.ship_service("1", "web", rolling(), 0).await;
    eventually(&consul, "both stand there", |told| told.len() == 2).await;
    let ramp = vec!["10%".parse().unwrap()];
    let strategy = Strategy::Canary { ramp, batch: Portion::Count(2) };
    let mut wanted = delivery(strategy);
    wanted.policy.pace.watch = Duration::from_secs(3);
    site.push_workload("2", "2", workload("web"), wanted).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    let weights = |told: &[Told]| {
        let of = |release: &str| {
            told.iter().filter(|one| one.release == release).map(|one| one.weight).sum::<u64>()
        };
        (of("1"), of("2"))
    };
    let seen = eventually(&consul, "the canary takes its share", |told| weights(told) == (1800, 200)).await;
    assert!(seen.iter().all(|one| one.state == "serving"), "{seen:?}");
    eventually(&consul, "all is the canary's", |told| {
        by_release(told) == [("2".to_owned(), 2)].into() && weights(told) == (0, 2000)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_is_away_stops_nothing_and_one_that_forgot_is_told_again() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let (proxy, site) = site_behind_a_proxy(&consul).await;
    proxy.refuse().await;
    site.ship_service("2", "web", rolling(), 0).await;
    let sick = async || {
        site.client
            .doctor()
            .await
            .unwrap()
            .into_iter()
            .any(|check| check.found.contains("cannot reach Consul"))
    };
    site.until("the doctor knows", async |_: &Status| sick().await).await;
    // It keeps nothing on a disk, and comes back empty.
    consul.server().kill().unwrap();
    consul.start_again().await.unwrap();
    proxy.accept().await.unwrap();
    eventually(&consul, "the new one stands there", |told| by_release(told) == [("2".to_owned(), 1)].into())
        .await;
    site.until("the doctor is content", async |_: &Status| !sick().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_consul_is_asked_for_nothing_but_to_note_that_the_agent_lives() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let (proxy, _site) = site_behind_a_proxy(&consul).await;
    let begun = Instant::now();
    proxy.take_request_lines();
    poll_signs(&proxy, 3).await;
    assert!(
        begun.elapsed() >= Duration::from_secs(3),
        "three signs, two seconds apart: {:?}",
        begun.elapsed()
    );
}

/// Waits for so many signs of life, and suffers no other request.
async fn poll_signs(proxy: &Proxy, count: usize) {
    let (begun, mut signs) = (Instant::now(), 0);
    while signs < count {
        assert!(begun.elapsed() < PATIENCE, "no sign of life");
        tokio::time::sleep(Duration::from_millis(50)).await;
        for line in proxy.take_request_lines() {
            assert!(line.starts_with("PUT /v1/agent/check/pass/"), "{line}");
            signs += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_its_health_checks_is_out_at_once_also_without_a_controller() {
    let consul = Consul::start(ConsulSetup::default()).await.unwrap();
    let site = site(&consul, &["web-1"]).await;
    let ill = site.folder.path().join("ill");
    let mut sensitive = workload("web");
    if let Workload::Service { services, .. } = &mut sensitive {
        let web = services.values_mut().next().expect("one service");
        let check = Check::Command { command: format!("test ! -e {}", ill.display()) };
        let every = Duration::from_millis(100);
        web.health.readiness = Some(Probe { interval: every, ..Probe::new(check) });
    }
    site.push_workload("1", "1", sensitive, delivery(rolling())).await.unwrap();
    site.deploy("1", Overrides::default()).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
    eventually(&consul, "it stands there", |told| told.len() == 1).await;
    site.controller_stop.cancel();
    std::fs::write(&ill, "").unwrap();
    eventually(&consul, "it is out", <[Told]>::is_empty).await;
    let all = told(&consul, SERVICE).await;
    assert_eq!(all.iter().map(|one| one.state.as_str()).collect::<Vec<_>>(), ["unready"]);
    std::fs::remove_file(&ill).unwrap();
    eventually(&consul, "it is back", |told| told.len() == 1).await;
}
