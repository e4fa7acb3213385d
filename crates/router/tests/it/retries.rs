//! Endpoints that refuse, break off or are away: what is tried again, what is held, what is counted.

use std::collections::BTreeMap;

use footplate_router::count::Fault;
use footplate_router::table::{Hold, Service, State, WHOLE};
use footplate_testkit::backend::Backend;
use footplate_testkit::load::Load;

use crate::site::{PATIENCE, Site, endpoint, service, single};

fn pair(one: &Backend, two: &Backend) -> Service {
    service(&[("1", WHOLE)], vec![endpoint("a", "1", one.address), endpoint("b", "1", two.address)])
}

#[tokio::test]
async fn a_get_that_broke_is_sent_elsewhere_and_the_failure_is_counted() {
    let mut site = Site::start().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    site.route(pair(&one, &two)).await;
    let reply = site.get("/break").await;
    assert_eq!((reply.status(), reply.head.get("footplate-router")), (502, Some("broken")));
    // Both break, and the third attempt goes to one of them again: two retries, no more.
    assert_eq!(one.requests() + two.requests(), 3);
    assert!(one.requests() > 0 && two.requests() > 0, "another endpoint comes before the same one");
    let counts = &site.report().await.services["shop"].versions["1"].counts;
    assert_eq!((counts.requests, counts.retries), (1, 2));
    assert_eq!(counts.faults, BTreeMap::from([(Fault::Broken, 3)]));
}

#[tokio::test]
async fn a_post_is_never_sent_twice_once_it_may_have_arrived() {
    let mut site = Site::start().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    site.route(pair(&one, &two)).await;
    for (method, length) in [("POST", 0), ("PATCH", 0), ("PUT", 3)] {
        let before = one.requests() + two.requests();
        let body = "abc".get(..length).unwrap();
        let request =
            format!("{method} /break HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        assert_eq!(site.send(&request).await.status(), 502, "{method}");
        assert_eq!(one.requests() + two.requests() - before, 1, "{method}");
    }
    let idempotent = site.send("DELETE /break HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((idempotent.status(), one.requests() + two.requests()), (502, 6));
}

#[tokio::test]
async fn what_was_refused_a_connection_goes_elsewhere_whatever_it_is() {
    let mut site = Site::start().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    site.route(pair(&one, &two)).await;
    one.kill().await;
    let load = Load {
        method: "POST".into(),
        body: b"once".to_vec(),
        path: "/echo".into(),
        ..Load::new(site.address(), 4)
    };
    let running = load.start();
    footplate_testkit::eventually("1,000 requests", PATIENCE, async || running.done() > 1_000).await;
    let outcome = running.stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
    let report = site.report().await;
    let endpoints = &report.services["shop"].endpoints;
    let refusals =
        endpoints.iter().find(|endpoint| endpoint.name == "a").unwrap().counts.faults[&Fault::Connect];
    assert!(
        refusals > 0 && refusals < outcome.requests / 4,
        "left alone for a while, not asked each time: {refusals}"
    );
}

#[tokio::test]
async fn requests_wait_while_the_last_endpoint_restarts() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let address = backend.address;
    site.route(single(address)).await;
    let load = Load { keep_alive: false, method: "POST".into(), ..Load::new(site.address(), 4) };
    backend.kill().await;
    let running = load.start();
    footplate_testkit::eventually("somebody waits", PATIENCE, async || {
        site.report().await.services["shop"].waiting == 4
    })
    .await;
    let again = Backend::start_at("two", address).await.unwrap();
    footplate_testkit::eventually("answers", PATIENCE, async || running.done() > 100).await;
    let outcome = running.stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
    assert!(again.requests() > 100);
    assert!(site.report().await.services["shop"].held >= 4);
}

#[tokio::test]
async fn no_more_wait_than_the_table_says_and_no_longer() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let mut only = single(backend.address);
    only.endpoints[0].state = State::Draining;
    only.hold = Hold { requests: 2, time_ms: 200 };
    site.route(only.clone()).await;
    let (a, b, c) = tokio::join!(site.get("/"), site.get("/"), site.get("/"));
    assert_eq!([a.status(), b.status(), c.status()], [503; 3]);
    assert_eq!(a.head.get("retry-after"), Some("1"));
    let shop = &site.report().await.services["shop"];
    assert_eq!((shop.refused, shop.held, shop.waiting), (3, 2, 0));
    assert_eq!(backend.connections(), 0, "nothing reaches an endpoint that drains");
}

#[tokio::test]
async fn a_table_with_a_ready_endpoint_ends_the_wait() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let mut only = single(backend.address);
    only.endpoints[0].state = State::Draining;
    site.route(only.clone()).await;
    let address = site.address();
    let waiting = tokio::spawn(async move {
        crate::site::talk(
            tokio::net::TcpStream::connect(address).await.unwrap(),
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .await
    });
    footplate_testkit::eventually("it waits", PATIENCE, async || {
        site.report().await.services["shop"].waiting == 1
    })
    .await;
    only.endpoints[0].state = State::Ready;
    site.route(only).await;
    assert_eq!(waiting.await.unwrap().body, "one");
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_in_time_is_not_asked_again() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let mut only = single(backend.address);
    only.timeouts.answer_ms = 100;
    site.route(only).await;
    let reply = site.get("/slow/60000").await;
    assert_eq!((reply.status(), reply.head.get("footplate-router")), (504, Some("timeout")));
    assert_eq!(backend.requests(), 1);
    let counts = &site.report().await.services["shop"].versions["1"].counts;
    assert_eq!(counts.faults, BTreeMap::from([(Fault::Timeout, 1)]));
    assert_eq!(site.get("/").await.body, "one");
    assert_eq!(backend.connections(), 2, "the connection without an answer is not used again");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_and_counted() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let socket = tokio::net::TcpStream::connect(site.address()).await.unwrap();
    let mut reader = footplate_testkit::wire::Reader::new(socket);
    tokio::io::AsyncWriteExt::write_all(reader.io(), b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(reader.head().await.unwrap().unwrap().status(), 200);
    let body = reader.body(footplate_testkit::wire::Framing::Length(1000), |_| {}).await;
    assert!(body.is_err(), "the client sees that it is not whole");
    let counts = &site.report().await.services["shop"].versions["1"].counts;
    assert_eq!((counts.answers[1], counts.cut, counts.in_flight), (1, 1, 0));
}

#[tokio::test]
async fn a_version_without_share_gets_nothing_even_when_all_others_are_away() {
    let mut site = Site::start().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let endpoints = vec![endpoint("a", "1", one.address), endpoint("b", "2", two.address)];
    let mut shop = service(&[("1", WHOLE), ("2", 0)], endpoints);
    shop.hold.time_ms = 200;
    site.route(shop).await;
    one.kill().await;
    assert_eq!(site.get("/").await.status(), 503);
    assert_eq!(two.connections(), 0);
}

#[tokio::test]
async fn every_attempt_ends_in_exactly_one_count() {
    let mut site = Site::start().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    site.route(pair(&one, &two)).await;
    let paths = ["/", "/break", "/status/404", "/status/500", "/cut", "/close", "/bytes/100000"];
    let loads: Vec<_> = paths
        .iter()
        .map(|path| Load { path: (*path).into(), ..Load::new(site.address(), 2) }.start())
        .collect();
    footplate_testkit::eventually("all were asked", PATIENCE, async || {
        loads.iter().all(|load| load.done() > 50)
    })
    .await;
    two.kill().await;
    let before: u64 = loads.iter().map(|load| load.done()).sum();
    footplate_testkit::eventually("more", PATIENCE, async || {
        loads.iter().map(|load| load.done()).sum::<u64>() > before + 200
    })
    .await;
    for load in loads {
        load.stop().await;
    }
    let report = site.report().await;
    let shop = &report.services["shop"];
    let all = shop.endpoints.iter().map(|endpoint| &endpoint.counts).chain([&shop.versions["1"].counts]);
    for counts in all {
        let ends = counts.answers.iter().sum::<u64>() + counts.faults.values().sum::<u64>() + counts.left;
        assert_eq!((counts.requests + counts.retries, counts.in_flight), (ends, 0), "{counts:?}");
    }
    let timed: u64 =
        shop.versions["1"].times.iter().flat_map(|times| times.pairs.chunks(2).map(|pair| pair[1])).sum();
    assert_eq!(timed, shop.versions["1"].counts.answers.iter().sum::<u64>());
}

#[tokio::test]
async fn a_connection_that_rested_and_was_closed_is_no_fault_of_the_version() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let address = backend.address;
    site.route(single(address)).await;
    assert_eq!(site.get("/").await.body, "one");
    backend.kill().await;
    let _again = Backend::start_at("two", address).await.unwrap();
    assert_eq!(site.get("/").await.body, "two");
    let counts = &site.report().await.services["shop"].versions["1"].counts;
    assert_eq!(counts.faults.get(&Fault::Broken), None, "{counts:?}");
}

#[tokio::test]
async fn an_endpoint_that_closes_every_connection_at_once_is_asked_a_few_times_only() {
    let mut site = Site::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut only = single(listener.local_addr().unwrap());
    only.hold.time_ms = 500;
    site.route(only).await;
    let closing = tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    for method in ["GET", "POST"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        let status = site.send(&request).await.status();
        assert!([502, 503].contains(&status), "{method}: {status}");
    }
    closing.abort();
    let counts = &site.report().await.services["shop"].versions["1"].counts;
    assert!(counts.requests + counts.retries < 100, "{counts:?}");
    assert_eq!(counts.in_flight, 0);
}
