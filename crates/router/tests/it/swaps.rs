//! Versions that take over from each other under load, with everything in flight that takes long.

use footplate_router::table::{Service, State, WHOLE};
use footplate_testkit::backend::Backend;
use footplate_testkit::load::Load;
use footplate_testkit::wire::{Framing, Reader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{PATIENCE, Site, endpoint, read, service, single};

/// The old version and the new one, with this share of the new one.
pub fn both(old: &Backend, new: &Backend, number: usize, share: u32) -> Service {
    let (before, after) = (number.to_string(), (number + 1).to_string());
    let endpoints = vec![endpoint(&before, &before, old.address), endpoint(&after, &after, new.address)];
    service(&[(&after, share), (&before, WHOLE - share)], endpoints)
}

/// Swaps once as a controller does: 10 %, all, drain, nothing in flight, gone. Returns the new backend.
pub async fn swap(site: &mut Site, old: Backend, number: usize) -> Backend {
    let new = Backend::start(&format!("v{}", number + 1)).await;
    for share in [100_000, WHOLE] {
        site.route(both(&old, &new, number, share)).await;
        let before = new.requests();
        footplate_testkit::eventually("the new one is asked", PATIENCE, async || new.requests() > before)
            .await;
    }
    let mut draining = both(&old, &new, number, WHOLE);
    draining.endpoints[0].state = State::Draining;
    site.route(draining).await;
    let name = number.to_string();
    footplate_testkit::eventually("nothing in flight", PATIENCE, async || {
        site.report().await.in_flight("shop", &name) == 0
    })
    .await;
    old.kill().await;
    let mut after = both(&new, &new, number, WHOLE);
    after.endpoints.remove(0);
    after.versions.truncate(1);
    site.route(after).await;
    new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_lose_no_request() {
    let mut site = Site::start().await;
    let mut backend = Backend::start("v0").await;
    site.route({
        let mut first = single(backend.address);
        first.versions[0].name = "0".into();
        first.endpoints[0].name = "0".into();
        first.endpoints[0].version = "0".into();
        first
    })
    .await;
    let address = site.address();
    let loads = [
        Load::new(address, 8),
        Load { keep_alive: false, ..Load::new(address, 4) },
        Load {
            method: "POST".into(),
            path: "/echo".into(),
            body: vec![b'x'; 100_000],
            ..Load::new(address, 2)
        },
        Load { path: "/bytes/300000".into(), ..Load::new(address, 2) },
        Load { path: "/slow/20".into(), ..Load::new(address, 4) },
    ];
    let running: Vec<_> = loads.iter().map(Load::start).collect();
    for number in 0..10 {
        backend = swap(&mut site, backend, number).await;
    }
    for load in running {
        let outcome = load.stop().await;
        assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
        assert!(outcome.requests > 10);
    }
}

#[tokio::test]
async fn what_takes_long_goes_on_while_its_endpoint_drains() {
    let mut site = Site::start().await;
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    site.route(both(&old, &old, 0, 0)).await;
    let connect = async || Reader::new(TcpStream::connect(site.address()).await.unwrap());
    let (mut download, mut upload, mut socket) = (connect().await, connect().await, connect().await);
    download.io().write_all(b"GET /stream/50/20 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    upload
        .io()
        .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        .await
        .unwrap();
    socket
        .io()
        .write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(download.head().await.unwrap().unwrap().status(), 200);
    assert_eq!(socket.head().await.unwrap().unwrap().status(), 101);
    footplate_testkit::eventually("three in flight", PATIENCE, async || {
        site.report().await.in_flight("shop", "0") == 3
    })
    .await;
    let mut draining = both(&old, &new, 0, WHOLE);
    draining.endpoints[0].state = State::Draining;
    site.route(draining.clone()).await;
    draining.endpoints.remove(0);
    draining.versions.remove(1);
    site.route(draining).await;
    assert_eq!(site.get("/").await.body, "new");
    assert_eq!(
        site.report().await.in_flight("shop", "0"),
        3,
        "one that is gone from the table is still counted"
    );
    upload.io().write_all(b"later").await.unwrap();
    assert_eq!(read(&mut upload, "POST").await.unwrap().body, "firstlater");
    assert_eq!(download.body(Framing::Chunked, |_| {}).await.unwrap(), 250);
    let (mut socket, rest) = socket.into_parts();
    assert!(rest.is_empty());
    socket.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    socket.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
    drop(socket);
    footplate_testkit::eventually("nothing in flight", PATIENCE, async || {
        site.report().await.in_flight("shop", "0") == 0
    })
    .await;
    footplate_testkit::eventually("no connection is left", PATIENCE, async || old.open() == 0).await;
}

#[tokio::test]
async fn after_the_answer_to_a_table_nothing_new_reaches_what_drains() {
    let mut site = Site::start().await;
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let load = Load::new(site.address(), 16).start();
    for number in 0..40 {
        let leaving = number % 2;
        let from = [&old, &new][leaving];
        let mut service = both(&old, &new, 0, 500_000);
        service.endpoints[leaving].state = State::Draining;
        site.route(service).await;
        let name = leaving.to_string();
        footplate_testkit::eventually("drained", PATIENCE, async || {
            site.report().await.in_flight("shop", &name) == 0
        })
        .await;
        let (seen, done) = (from.requests(), load.done());
        footplate_testkit::eventually("others go on", PATIENCE, async || load.done() > done + 50).await;
        assert_eq!(from.requests(), seen, "in round {number}");
        footplate_testkit::eventually("resting connections are closed", PATIENCE, async || from.open() == 0)
            .await;
    }
    let outcome = load.stop().await;
    let lost = outcome.failures.iter().filter(|failure| !failure.contains("no-route")).count();
    assert_eq!(lost, 0, "{:?}", outcome.failures);
}

#[tokio::test]
async fn an_endpoint_that_comes_back_while_it_still_finishes_takes_requests() {
    let mut site = Site::start().await;
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    site.route(both(&old, &new, 0, 0)).await;
    let mut socket = Reader::new(TcpStream::connect(site.address()).await.unwrap());
    let request = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.io().write_all(request).await.unwrap();
    assert_eq!(socket.head().await.unwrap().unwrap().status(), 101);
    let mut without = both(&old, &new, 0, WHOLE);
    without.endpoints.remove(0);
    for _ in 0..2 {
        site.route(without.clone()).await;
        assert_eq!(site.get("/").await.body, "new");
        site.route(both(&old, &new, 0, 0)).await;
        for _ in 0..8 {
            assert_eq!(site.get("/").await.body, "old", "on every worker");
        }
    }
}
