//! One request at a time: routed, answered, counted; tables taken and refused.

use footplate_testkit::backend::Backend;
use footplate_testkit::load::Load;
use tokio::net::TcpStream;

use crate::site::{PATIENCE, Site, endpoint, service, single, talk};

#[tokio::test]
async fn a_request_reaches_its_endpoint_and_the_answer_its_client() {
    let mut site = Site::start().await;
    let nobody = site.get("/").await;
    assert_eq!((nobody.status(), nobody.head.get("footplate-router")), (404, Some("no-route")));
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let reply = site.get("/").await;
    assert_eq!((reply.status(), reply.body.as_str()), (200, "one"));
    let report = site.report().await;
    let version = &report.services["shop"].versions["1"];
    assert_eq!((version.counts.requests, version.counts.answers), (1, [0, 1, 0, 0, 0]));
    assert_eq!((version.times[0].class, version.times[0].pairs[1]), (2, 1));
    assert_eq!(report.clients.unrouted, 1);
}

#[tokio::test]
async fn what_an_endpoint_is_told_names_the_client_and_no_connection() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let reply = site
        .send("GET /head?x=1 HTTP/1.1\r\nHost: Shop.test:80\r\nConnection: keep-alive, x-mine\r\nX-Mine: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        .await;
    let mut lines: Vec<&str> = reply.body.lines().filter(|line| !line.starts_with("via: ")).collect();
    lines[1..].sort_unstable();
    let expected = [
        "GET /head?x=1 HTTP/1.1",
        "forwarded: for=127.0.0.1;proto=http",
        "host: Shop.test:80",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: Shop.test:80",
        "x-forwarded-proto: http",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_request_without_a_host_gets_one_towards_its_endpoint() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let reply = site.send("GET /head HTTP/1.0\r\n\r\n").await;
    let host = format!("host: {}", backend.address);
    assert!(reply.body.starts_with("GET /head HTTP/1.1\n"), "{}", reply.body);
    assert!(reply.body.lines().any(|line| line == host), "{host} is not in\n{}", reply.body);
    assert!(!reply.body.contains("x-forwarded-host"), "its client said none: {}", reply.body);
}

#[tokio::test]
async fn many_clients_share_a_few_connections_to_an_endpoint() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let load = Load::new(site.address(), 8).start();
    footplate_testkit::eventually("2,000 requests", PATIENCE, async || load.done() > 2_000).await;
    let outcome = load.stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
    assert!(backend.connections() <= 8, "{} connections", backend.connections());
    assert_eq!(backend.requests(), outcome.requests);
    let report = site.report().await;
    assert_eq!(report.services["shop"].versions["1"].counts.requests, outcome.requests);
    assert_eq!(report.in_flight("shop", "a"), 0);
}

#[tokio::test]
async fn shares_are_kept() {
    let mut site = Site::start().await;
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let endpoints = vec![endpoint("a", "1", one.address), endpoint("b", "2", two.address)];
    site.route(service(&[("1", 900_000), ("2", 100_000)], endpoints)).await;
    let load = Load::new(site.address(), 8).start();
    footplate_testkit::eventually("4,000 requests", PATIENCE, async || load.done() > 4_000).await;
    let outcome = load.stop().await;
    assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
    // Six standard deviations: one run in 500 million is outside.
    let (expected, deviation) = (outcome.requests as f64 * 0.1, (outcome.requests as f64 * 0.09).sqrt());
    let seen = outcome.served_by["two"] as f64;
    assert!((seen - expected).abs() < 6.0 * deviation, "{:?}", outcome.served_by);
}

#[tokio::test]
async fn a_table_with_mistakes_or_an_older_one_changes_nothing() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let bad = r#"{"revision": 9, "services": {"shop": {"routes": [{"path": "x"}], "versions": [{"name": "1", "share": 5}]}}}"#;
    let reply = site.control("PUT", "/v1/table", bad).await;
    assert_eq!(reply.status(), 422);
    assert_eq!(reply.json()["mistakes"].as_array().unwrap().len(), 2, "{}", reply.body);
    let wrong = site.control("PUT", "/v1/table", r#"{"revision": 9, "services": {"shop": 1}}"#).await;
    assert!(wrong.status() == 400 && wrong.body.contains("services.shop"), "{}", wrong.body);
    let older = site.control("PUT", "/v1/table", r#"{"revision": 0}"#).await;
    assert!(older.status() == 409 && older.body.contains("revision 1 is in force"), "{}", older.body);
    let other = site.control("PUT", "/v1/table", r#"{"revision": 1}"#).await;
    assert_eq!(other.status(), 409);
    assert_eq!(site.get("/").await.body, "one");
    let same = site.control("GET", "/v1/table", "").await;
    assert_eq!(site.control("PUT", "/v1/table", &same.body).await.json()["revision"], 1);
    assert_eq!(site.control("GET", "/v1/nothing", "").await.status(), 404);
    assert_eq!(site.control("POST", "/v1/table", "").await.status(), 405);
}

#[tokio::test]
async fn a_router_that_starts_again_routes_before_anybody_speaks_to_it() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let folder = site.stop().await;
    let config = crate::site::config(&folder);
    let site = Site::open(folder, config).await;
    assert_eq!(site.get("/").await.body, "one");
    assert_eq!(site.control("GET", "/v1/health", "").await.json()["revision"], 1);
}

#[tokio::test]
async fn prometheus_reads_the_counts_at_an_address_that_answers_nothing_else() {
    let mut site = Site::with(|config| config.metrics = Some(([127, 0, 0, 1], 0).into())).await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let ask = async |site: &Site, line: &str| {
        let socket = TcpStream::connect(site.metrics.unwrap()).await.unwrap();
        talk(socket, &format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")).await
    };
    for _ in 0..2 {
        site.get("/").await;
        let reply = ask(&site, "GET /metrics").await;
        let kind = reply.head.get("content-type").unwrap_or_default();
        assert!(reply.status() == 200 && kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let connections = site.report().await.clients.connections;
        let line = format!("footplate_router_connections_total {connections}");
        assert!(reply.body.lines().any(|other| other == line), "{line} is not in\n{}", reply.body);
        for (line, status) in [
            ("GET /v1/counts", 404),
            ("PUT /v1/table", 404),
            ("POST /v1/handover", 404),
            ("POST /metrics", 405),
        ] {
            assert_eq!(ask(&site, line).await.status(), status, "{line}");
        }
        // The next router takes this address over, too.
        site.upgrade().await;
        site.elders_end().await;
    }
    assert_eq!(site.get("/metrics").await.body, "one", "clients of services are not answered with it");
}

#[tokio::test]
async fn the_metrics_are_what_was_counted() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    site.get("/status/503").await;
    let text = site.control("GET", "/metrics", "").await.body;
    for line in [
        r#"footplate_router_attempts_total{service="shop",version="1",kind="first"} 1"#,
        r#"footplate_router_answers_total{service="shop",version="1",class="5xx"} 1"#,
        r#"footplate_router_answer_seconds_count{service="shop",version="1",class="5xx"} 1"#,
        r#"footplate_router_endpoint_up{service="shop",version="1",endpoint="a"} 1"#,
        "footplate_router_table_revision 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
}
