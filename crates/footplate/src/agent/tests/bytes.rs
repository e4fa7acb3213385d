//! What goes over HTTP: artifacts, output, and the one request that joins.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use footplate_core::artifact::ArtifactRef;
use footplate_core::release::Release;
use footplate_core::target::{Assignment, Source};
use footplate_drivers::store::{Config, Secret};

use super::site::{DEADLINE, Site, eventually, id, order, release};
use crate::agent::Access;
use crate::api::OutputPost;

/// A controller that serves one artifact and takes output.
#[derive(Clone, Default)]
struct Desk {
    artifact: Arc<Vec<u8>>,
    outputs: Arc<Mutex<Vec<(String, OutputPost)>>>,
}

fn is_ours(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value == "Bearer of-the-agents")
}

impl Desk {
    /// Serves it; returns the source that orders name.
    async fn open(&self) -> Source {
        let artifact = |State(desk): State<Desk>, headers: HeaderMap, Path(_digest): Path<String>| async move {
            if is_ours(&headers) { Ok(desk.artifact.to_vec()) } else { Err(StatusCode::UNAUTHORIZED) }
        };
        let output = |State(desk): State<Desk>, headers: HeaderMap, Path(path): Path<String>, Json(post)| async move {
            assert!(is_ours(&headers));
            desk.outputs.lock().expect("no test panics while it posts").push((path, post));
        };
        let routes = Router::new()
            .route("/v1/artifacts/{digest}", get(artifact))
            .route("/v1/outputs/{*path}", post(output))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}/v1/artifacts", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Source { base, token: Some("of-the-agents".to_owned()) }
    }
}

fn pack(site: &Site, text: &str) -> (ArtifactRef, Vec<u8>) {
    let (tree, file) = (site.scratch("tree"), site.scratch("artifact"));
    fs::create_dir_all(&tree).expect("room");
    fs::write(tree.join("page"), text).expect("room");
    let packed = footplate_drivers::archive::pack(&tree, &file, 0).expect("a plain tree");
    (packed.artifact, fs::read(&file).expect("just packed"))
}

#[tokio::test]
async fn files_come_from_the_controller_and_output_goes_there() {
    let site = Site::new();
    let (artifact, bytes) = pack(&site, "hello");
    let desk = Desk { artifact: Arc::new(bytes), ..Desk::default() };
    let sources = vec![desk.open().await];
    let agent = site.start("web-1");
    let first = Release {
        artifact: Some(artifact),
        ..release("1+2", "echo prepared; cat page", "echo gone; exit 1")
    };
    site.assign("web-1", &Assignment { sources, ..order(1, Some("1+2"), &[first]) }).await;
    site.report("web-1", "failure", |report| report.failed.contains_key(&id("1+2"))).await;
    assert_eq!(fs::read_to_string(site.path("web-1", "live/page")).expect("a file"), "hello");
    let outputs = || desk.outputs.lock().expect("no test panics while it posts").clone();
    eventually("both outputs are there", || outputs().len() == 2).await;
    let outputs: BTreeMap<_, _> = outputs().into_iter().collect();
    let prepared = &outputs["web-1/production.shop.files/1+2/prepare"];
    assert!(prepared.ok && prepared.text == "prepared\nhello", "{prepared:?}");
    let activated = &outputs["web-1/production.shop.files/1+2/activate"];
    assert!(!activated.ok && activated.text.starts_with("gone\n"), "{activated:?}");
    agent.end().await;
}

#[tokio::test]
async fn wrong_bytes_are_no_release() {
    let site = Site::new();
    let (artifact, mut bytes) = pack(&site, "hello");
    *bytes.last_mut().expect("an artifact has bytes") ^= 1;
    let desk = Desk { artifact: Arc::new(bytes), ..Desk::default() };
    let sources = vec![desk.open().await];
    let agent = site.start("web-1");
    let first = Release { artifact: Some(artifact), ..release("1", "", "") };
    site.assign("web-1", &Assignment { sources, ..order(1, Some("1"), &[first]) }).await;
    let report = site.report("web-1", "failure", |report| report.failed.contains_key(&id("1"))).await;
    assert!(report.failed[&id("1")].reason.contains("it sent bytes of sha256:"), "{report:?}");
    assert!(report.prepared.is_empty() && !site.path("web-1", "versions/1").exists());
    agent.end().await;
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_told_until_one_does() {
    let site = Site::new();
    let (artifact, bytes) = pack(&site, "one");
    let desk = Desk { artifact: Arc::new(bytes), ..Desk::default() };
    let agent = site.start("web-1");
    let first = Release { artifact: Some(artifact), ..release("1", "", "") };
    let wanted = order(1, Some("1"), &[first]);
    let nobody = Source { base: "http://127.0.0.1:1/v1/artifacts".to_owned(), token: None };
    site.assign("web-1", &Assignment { sources: vec![nobody], ..wanted.clone() }).await;
    let report = site.report("web-1", "wait", |report| report.waiting.is_some()).await;
    assert!(report.waiting.as_deref().is_some_and(|waiting| waiting.contains("127.0.0.1:1")), "{report:?}");
    assert!(report.failed.is_empty(), "it is nobody's failure yet");
    site.assign("web-1", &Assignment { sources: vec![desk.open().await], ..wanted }).await;
    let report = site.report("web-1", "live release", |report| report.runs(&id("1"))).await;
    assert_eq!(report.waiting, None);
    agent.end().await;
}

#[tokio::test]
async fn a_source_that_is_no_longer_needed_is_no_longer_waited_for() {
    let site = Site::new();
    let (artifact, _bytes) = pack(&site, "one");
    let agent = site.start("web-1");
    let first = Release { artifact: Some(artifact), ..release("1", "", "") };
    let nobody = Source { base: "http://127.0.0.1:1/v1/artifacts".to_owned(), token: None };
    site.assign("web-1", &Assignment { sources: vec![nobody], ..order(1, Some("1"), &[first]) }).await;
    site.report("web-1", "wait", |report| report.waiting.is_some()).await;
    site.assign("web-1", &order(2, None, &[])).await;
    site.report("web-1", "rest", |report| report.generation.counter == 2 && report.waiting.is_none()).await;
    agent.end().await;
}

#[tokio::test]
async fn apps_share_an_agent_and_prepare_so_many_at_a_time() {
    let mut site = Site::new();
    site.limits.prepares_max = 2;
    let agent = site.start("web-1");
    let running = site.scratch("running");
    fs::create_dir(&running).expect("room");
    let hook = |app: &str| {
        format!("mkdir {0}/{app}; ls {0} | wc -l >> {0}.log; sleep 0.1; rmdir {0}/{app}", running.display())
    };
    let apps = ["one", "two", "three", "four", "five"];
    for app in apps {
        let target = format!("production.{app}.files").parse().expect("a target");
        site.assign_to("web-1", &target, &order(1, Some("1"), &[release("1", &hook(app), "")])).await;
    }
    for app in apps {
        let live = site.scratch(&format!("web-1/apps/production/{app}/live"));
        eventually(&format!("{app} is live"), || live.exists()).await;
    }
    let log = fs::read_to_string(site.scratch("running.log")).expect("a log");
    let most = log.lines().map(|line| line.trim().parse::<u32>().expect("a number")).max();
    assert!(most <= Some(2), "{log}");
    agent.end().await;
}

/// Asks until the key is there.
async fn poll_until_there(address: &str, token: &str) {
    let ask = || reqwest::Client::new().get(address).bearer_auth(token).send();
    let search = async {
        while ask().await.expect("it answers").status() != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, search).await.expect("the key is there in time");
}

#[tokio::test]
async fn a_host_joins_with_a_token_once_and_may_write_only_its_own_keys() {
    crate::install_crypto_provider();
    let site = Site::new();
    let folder = site.scratch("store");
    let settings = footplate_kv::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        tokens: true,
        ..footplate_kv::Config::loopback(&folder)
    };
    let server = footplate_kv::Server::open(settings).await.expect("a new store");
    let listener = server.bind().await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    let root = fs::read_to_string(folder.join("root.token")).expect("a root token").trim().to_owned();
    let wanted = serde_json::json!({ "kind": "join", "name": "hosts", "rights": { "sessions": "write", "rules": [
        { "prefix": "footplate/hosts/{name}/", "access": "read" },
        { "prefix": "footplate/barriers/", "access": "read" },
        { "prefix": "footplate/agents/{name}/", "access": "write" },
    ] } });
    let request =
        reqwest::Client::new().post(format!("{address}/v1/acl/token")).bearer_auth(&root).json(&wanted);
    let made: serde_json::Value = request.send().await.expect("it answers").json().await.expect("a token");
    let join = made["token"].as_str().expect("a token's text").to_owned();
    let access = |token: Option<&str>| Access::Configured {
        store: Box::new(Config::new(&address).expect("an address")),
        join_token: token.map(Secret::new),
    };
    let agent = site.start_with("web-1", "web-1", access(Some(&join)));
    let credential = site.scratch("web-1/state/credential");
    eventually("it has joined", || credential.exists()).await;
    let alive = format!("{address}/v1/kv/footplate/agents/web-1/alive");
    poll_until_there(&alive, &root).await;
    agent.end().await;
    let credential = fs::read_to_string(credential).expect("a credential");
    let foreign = format!("{address}/v1/kv/footplate/agents/web-2/alive");
    let refused = reqwest::Client::new().put(foreign).bearer_auth(credential.trim()).body("x").send().await;
    assert_eq!(refused.expect("it answers").status(), 403);
    // The join token is used up: only the credential lets it in again.
    let agent = site.start_with("web-1", "web-1", access(None));
    poll_until_there(&alive, &root).await;
    agent.end().await;
    let stranger = site.start_with("web-2", "web-2", access(Some(&join)));
    let refused = stranger.refused().await;
    assert!(refused.to_string().contains("cannot join as `web-2`"), "{refused}");
}
