//! The router replaced by another one, under load: nothing is lost, no count goes back.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use footplate_testkit::Elder;
use footplate_testkit::backend::Backend;
use footplate_testkit::load::Load;
use footplate_testkit::wire::Reader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{PATIENCE, Site, single};
use crate::swaps::swap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_upgrades_and_swaps_under_load_lose_no_request_and_no_count() {
    let mut site = Site::start().await;
    let mut backend = Backend::start("v0").await;
    let mut first = single(backend.address);
    first.versions[0].name = "0".into();
    first.endpoints[0].name = "0".into();
    first.endpoints[0].version = "0".into();
    site.route(first).await;
    let address = site.address();
    let loads = [
        Load::new(address, 8),
        Load { keep_alive: false, ..Load::new(address, 4) },
        Load {
            method: "POST".into(),
            path: "/echo".into(),
            body: vec![b'x'; 50_000],
            ..Load::new(address, 2)
        },
        Load { path: "/slow/30".into(), ..Load::new(address, 2) },
    ];
    let running: Vec<_> = loads.iter().map(Load::start).collect();
    let mut last = 0;
    for number in 0..5 {
        site.upgrade().await;
        backend = swap(&mut site, backend, number).await;
        let report = site.report().await;
        let bad = report.clients.bad + report.clients.unrouted;
        assert!(
            report.clients.connections >= last,
            "counts go on: {} after {last}",
            report.clients.connections
        );
        last = report.clients.connections;
        assert_eq!(bad, 0);
    }
    let mut sent = 0;
    for load in running {
        let outcome = load.stop().await;
        assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
        sent += outcome.requests;
    }
    site.elders_end().await;
    assert!(sent > 500, "{sent}");
    assert_eq!(site.report().await.in_flight("shop", "5"), 0);
}

#[tokio::test]
async fn counts_go_on_over_upgrades_to_the_last_request() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let instance = site.report().await.instance;
    let load = Load::new(site.address(), 4).start();
    for _ in 0..3 {
        let done = load.done();
        footplate_testkit::eventually("more requests", PATIENCE, async || load.done() > done + 100).await;
        site.upgrade().await;
    }
    let outcome = load.stop().await;
    site.elders_end().await;
    let report = site.report().await;
    assert_eq!(report.instance, instance);
    assert_eq!(report.services["shop"].versions["1"].counts.requests, outcome.requests);
    assert_eq!(report.services["shop"].versions["1"].counts.answers[1], outcome.requests);
    assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
}

#[tokio::test]
async fn what_is_in_flight_at_the_old_router_is_seen_and_follows_the_table() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut reader = Reader::new(TcpStream::connect(site.address()).await.unwrap());
    reader
        .io()
        .write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(reader.head().await.unwrap().unwrap().status(), 101);
    let mut resting = Reader::new(TcpStream::connect(site.address()).await.unwrap());
    resting.io().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(crate::site::read(&mut resting, "GET").await.unwrap().body, "one");
    site.upgrade().await;
    assert_eq!(
        site.report().await.in_flight("shop", "a"),
        1,
        "the old router's counts are told by the new one"
    );
    let other = Backend::start("two").await;
    site.route(single(other.address)).await;
    // A connection that rested at the old router is answered once more, by the new table, and told to come again.
    resting.io().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let reply = crate::site::read(&mut resting, "GET").await.unwrap();
    assert_eq!((reply.body.as_str(), reply.head.get("connection")), ("two", Some("close")));
    let (mut socket, _) = reader.into_parts();
    socket.write_all(b"still").await.unwrap();
    let mut echo = [0; 5];
    socket.read_exact(&mut echo).await.unwrap();
    drop(socket);
    site.elders_end().await;
    assert_eq!(site.report().await.in_flight("shop", "a"), 0);
}

#[tokio::test]
async fn the_revision_that_is_told_is_that_of_the_last_who_follows() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::site::config(&folder);
    std::fs::create_dir(&config.folder).unwrap();
    let elder = Elder::at(&config.folder.join("control.elder.sock")).unwrap();
    elder.refuse(true);
    let site = Site::open(folder, config).await;
    let backend = Backend::start("one").await;
    let services = [("shop".to_owned(), single(backend.address))].into();
    let table = serde_json::to_string(&footplate_router::Table { revision: 1, services }).unwrap();
    let reply = site.control("PUT", "/v1/table", &table).await;
    assert_eq!(reply.status(), 503, "{}", reply.body);
    assert_eq!(
        site.control("GET", "/v1/table", "").await.json()["revision"],
        1,
        "it stands here all the same"
    );
    assert_eq!(site.report().await.revision, 0, "not everywhere");
    elder.refuse(false);
    let reply = site.control("PUT", "/v1/table", &table).await;
    assert_eq!((reply.status(), elder.taken()), (200, 1), "the same again reaches whoever missed it");
    assert_eq!(site.report().await.revision, 1);
}

/// What an elder tells that had so many requests, each answered in so many microseconds, and has one more under way.
fn counted(requests: u64) -> serde_json::Value {
    let counts = serde_json::json!({
        "requests": requests + 1, "answers": [0, requests, 0, 0, 0], "faults": {"broken": 1}, "in_flight": 1,
        "times": [{"class": 2, "pairs": [300, requests]}],
    });
    let mut endpoint = counts.clone();
    for (key, value) in [("name", "a"), ("address", "127.0.0.1:1"), ("version", "1"), ("state", "draining")] {
        endpoint[key] = value.into();
    }
    serde_json::json!({
        "instance": "another", "clients": {"connections": requests * 2, "open": 1},
        "services": {"shop": {"held": requests, "versions": {"1": counts}, "endpoints": [endpoint]}},
    })
}

#[tokio::test]
async fn what_an_elder_counted_for_a_router_that_was_killed_is_not_counted_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::site::config(&folder);
    std::fs::create_dir(&config.folder).unwrap();
    let elder = Elder::at(&config.folder.join("control.elder.sock")).unwrap();
    elder.count(counted(100));
    let unheard = serde_json::to_string(&counted(1_000)).unwrap();
    std::fs::write(config.folder.join("counts.gone.json"), unheard).unwrap();
    let mut site = Site::open(folder, config).await;
    let seen = async |site: &Site| {
        let report = site.report().await;
        let (shop, in_flight) = (&report.services["shop"], report.in_flight("shop", "a"));
        let version = &shop.versions["1"];
        let times: u64 =
            version.times.iter().flat_map(|times| times.pairs.chunks(2)).map(|pair| pair[1]).sum();
        let all = [
            report.clients.connections,
            shop.held,
            version.counts.requests,
            version.counts.answers[1],
            times,
        ];
        (all, version.counts.faults.values().sum::<u64>(), in_flight)
    };
    assert_eq!(seen(&site).await, ([0; 5], 0, 1), "what is of the moment is told");
    elder.count(counted(107));
    assert_eq!(seen(&site).await, ([14, 7, 7, 7, 7], 0, 1));
    site.upgrade().await;
    site.elders_end().await;
    elder.count(counted(109));
    assert_eq!(seen(&site).await, ([18, 9, 9, 9, 9], 0, 1), "also by the next of this line");
    drop(elder);
    footplate_testkit::eventually("it is gone", PATIENCE, async || seen(&site).await.2 == 0).await;
    assert_eq!(seen(&site).await.0, [18, 9, 9, 9, 9], "and once it has ended");
}

#[tokio::test]
async fn a_new_router_that_cannot_start_changes_nothing() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = site.config();
    config
        .listeners
        .push(footplate_router::Listener { address: taken.local_addr().unwrap(), is_https: false });
    let failure = footplate_router::Server::open(config).await.unwrap_err();
    assert!(failure.what.contains("cannot listen on"), "{failure}");
    assert_eq!(site.get("/").await.body, "one");
    assert_eq!(site.control("GET", "/v1/health", "").await.json()["revision"], 1);
    site.upgrade().await;
    assert_eq!(site.get("/").await.body, "one");
}

#[tokio::test]
async fn the_old_router_ends_what_is_left_at_its_deadline() {
    let mut site = Site::with(|config| config.drain_time_max = std::time::Duration::from_millis(300)).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut reader = Reader::new(TcpStream::connect(site.address()).await.unwrap());
    reader.io().write_all(b"GET /slow/60000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    footplate_testkit::eventually("in flight", PATIENCE, async || {
        site.report().await.in_flight("shop", "a") == 1
    })
    .await;
    site.upgrade().await;
    site.elders_end().await;
    assert!(reader.head().await.map_or(true, |head| head.is_none()), "it was cut");
    let counts = &site.report().await.services["shop"].versions["1"].counts;
    assert_eq!((counts.left, counts.in_flight), (1, 0));
}

/// Asks for a handover as a new router does, and takes what comes until the old one waits for `ready`. It waits where it is called.
fn half_a_handover(site: &Site) -> UnixStream {
    let mut socket = UnixStream::connect(site.folder.path().join("router/control.sock")).unwrap();
    let request =
        "POST /v1/handover HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: footplate-handover\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket.write_all(b"go\n").unwrap();
    let mut size = [0; 4];
    socket.read_exact(&mut size).unwrap();
    socket.read_exact(&mut vec![0; u32::from_be_bytes(size) as usize]).unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_router_that_dies_at_any_word_leaves_the_old_one_in_charge() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    for (is_ready, is_told) in [(false, false), (true, false), (true, true)] {
        let mut socket = half_a_handover(&site);
        if is_ready {
            socket.write_all(b"ready\n").unwrap();
        }
        if is_told {
            let mut said = [0; 6];
            socket.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"yours\n");
        }
        drop(socket);
        // An answer at the control socket comes after the handover's end, once its name is back.
        let health = async || {
            let socket = tokio::net::UnixStream::connect(site.folder.path().join("router/control.sock"));
            let asked = "GET /v1/health HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
            Some(crate::site::talk(socket.await.ok()?, asked).await.json())
        };
        footplate_testkit::eventually("it is in charge", PATIENCE, async || {
            health().await.is_some_and(|said| said["revision"] == 1 && said["elders"] == 0)
        })
        .await;
        assert_eq!(site.get("/").await.body, "one", "ready: {is_ready}, told: {is_told}");
    }
    let left = site.folder.path().join("router/.0123abcd");
    std::fs::write(&left, "").unwrap();
    site.upgrade().await;
    site.elders_end().await;
    assert_eq!(site.get("/").await.body, "one");
    assert!(!left.exists(), "what killed ones leave is removed");
}
