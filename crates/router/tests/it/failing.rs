//! What is told of requests that failed, and of who asks most: for a judge of the versions.

use std::sync::atomic::{AtomicU64, Ordering};

use footplate_router::busy::Busiest;
use footplate_router::count::Fault;
use footplate_router::failed::{FailedRequest, How};
use footplate_router::key;
use footplate_router::table::{Stickiness, Timeouts};
use footplate_testkit::Elder;
use footplate_testkit::backend::Backend;
use footplate_testkit::load::Load;
use footplate_testkit::wire::Reader;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::site::{PATIENCE, Site, single};

/// `3 GET /status/500 Status(500)`.
fn line(failed: &FailedRequest) -> String {
    format!("{} {} {} {:?}", failed.number, failed.method, failed.path, failed.how)
}

fn lines(failed: &[FailedRequest]) -> Vec<String> {
    failed.iter().map(line).collect()
}

#[tokio::test]
async fn every_attempt_that_failed_by_its_version_leaves_a_record_and_nothing_else_does() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let mut only = single(backend.address);
    only.timeouts = Timeouts { answer_ms: 50, ..Timeouts::default() };
    only.retries.attempts = 1;
    site.route(only).await;
    for path in ["/", "/status/404", "/status/500?token=secret", "/cut", "/slow/60000", "/break"] {
        // A client that breaks off with its answer cut is no failure of an attempt.
        drop(TcpStream::connect(site.address()).await);
        let mut reader = Reader::new(TcpStream::connect(site.address()).await.unwrap());
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        reader.io().write_all(request.as_bytes()).await.unwrap();
        reader.head().await.unwrap().unwrap();
    }
    backend.kill().await;
    let load = Load { method: "POST".into(), ..Load::new(site.address(), 1) };
    let running = load.start();
    let report = async || site.facts(0).await;
    footplate_testkit::eventually("nobody takes the connection", PATIENCE, async || {
        report().await.failed.iter().any(|failed| failed.how == How::Fault(Fault::Connect))
    })
    .await;
    drop(running);
    let report = report().await;
    let expected = [
        "1 GET /status/500 Status(500)",
        "2 GET /slow/60000 Fault(Timeout)",
        "3 GET /break Fault(Broken)",
        "4 GET /break Fault(Broken)",
        "5 POST / Fault(Connect)",
    ];
    assert_eq!(lines(&report.failed)[..5], expected);
    let client = key::point("", &[127, 0, 0, 1]);
    let all = |failed: &FailedRequest| {
        (failed.service.as_str(), failed.version.as_str(), failed.key) == ("shop", "1", client)
    };
    assert!(report.failed.iter().all(all), "{:?}", report.failed);
    assert!(report.failed[1].time_us >= 50_000, "{:?}", report.failed[1]);
    let counts = &report.services["shop"].versions["1"].counts;
    let faults = counts.faults.iter().filter(|(fault, _)| **fault != Fault::Stale).map(|(_, number)| number);
    assert!(counts.answers[4] + faults.sum::<u64>() >= report.failed.len() as u64, "{counts:?}");
}

#[tokio::test]
async fn what_was_told_is_not_told_again_and_another_instance_asks_for_all() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    for number in 500..505 {
        site.get(&format!("/status/{number}")).await;
    }
    let told = site.facts(0).await;
    let all = told.failed.len();
    assert!((4..=5).contains(&all), "one client leaves four records a second: {:?}", told.failed);
    assert_eq!(site.facts(3).await.failed, told.failed[3..]);
    assert_eq!(site.report().await.failed, [], "whoever does not ask is told counts alone");
    let asked = async |query: &str| {
        let reply = site.control("GET", &format!("/v1/counts?{query}"), "").await;
        (reply.status(), reply.json()["failed"].as_array().map(Vec::len))
    };
    assert_eq!(asked(&format!("failed_after=3&instance={}", told.instance)).await, (200, Some(all - 3)));
    assert_eq!(asked("failed_after=3&instance=another").await, (200, Some(all)));
    assert_eq!(asked("failed_after=x").await, (400, None));
}

#[tokio::test]
async fn a_client_is_known_by_what_keeps_it_with_its_version_and_else_by_its_address() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let mut shop = single(backend.address);
    shop.stickiness = Stickiness::Cookie { name: "id".into(), salt: "s".into(), give: true };
    site.route(shop).await;
    for header in ["", "Cookie: id=7\r\n"] {
        site.send(&format!("GET /status/500 HTTP/1.1\r\nHost: a\r\n{header}\r\n")).await;
    }
    let keys: Vec<u64> = site.facts(0).await.failed.iter().map(|failed| failed.key).collect();
    assert_eq!(keys, [key::point("", &[127, 0, 0, 1]), key::point("s", b"7")]);
}

#[tokio::test]
async fn how_busy_the_busiest_clients_are_is_told_of_whole_seconds() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    let mut shop = single(backend.address);
    shop.stickiness = Stickiness::Header { name: "X-User".into(), salt: String::new() };
    site.route(shop).await;
    let clients = AtomicU64::new(0);
    footplate_testkit::eventually("enough was looked at", PATIENCE, async || {
        let client = clients.fetch_add(1, Ordering::Relaxed);
        for user in ["often".to_owned(), format!("once-{client}")] {
            site.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n")).await;
        }
        let Busiest { sampled, of_ten } = site.facts(0).await.services["shop"].busiest.unwrap();
        // Each of two workers may have seen one more of either at a second's end.
        assert!(of_ten * 2 <= sampled + 20 && of_ten * 2 + 20 >= sampled, "{of_ten} of {sampled}");
        sampled >= 40
    })
    .await;
    assert_eq!(site.report().await.services["shop"].busiest, None);
}

#[tokio::test]
async fn records_outlive_upgrades_under_numbers_that_only_rise() {
    let mut site = Site::start().await;
    let backend = Backend::start("one").await;
    site.route(single(backend.address)).await;
    let mut resting = Reader::new(TcpStream::connect(site.address()).await.unwrap());
    resting.io().write_all(b"GET /status/501 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    crate::site::read(&mut resting, "GET").await.unwrap();
    site.upgrade().await;
    let told = site.facts(0).await;
    assert_eq!(
        lines(&told.failed),
        ["1 GET /status/501 Status(501)"],
        "the new one knows what nobody was told"
    );
    site.get("/status/502").await;
    // The connection that rested is still the old one's, which ends with its answer.
    resting.io().write_all(b"GET /status/503 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    crate::site::read(&mut resting, "GET").await.unwrap();
    site.elders_end().await;
    site.upgrade().await;
    site.elders_end().await;
    site.get("/status/504").await;
    let mut after = site.facts(1).await;
    assert_eq!(after.instance, told.instance);
    after.failed.sort_by_key(|failed| failed.path.clone());
    let paths: Vec<&str> = after.failed.iter().map(|failed| failed.path.as_str()).collect();
    assert_eq!(paths, ["/status/502", "/status/503", "/status/504"]);
    let mut numbers: Vec<u64> = after.failed.iter().map(|failed| failed.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3, 4]);
}

#[tokio::test]
async fn what_failed_at_an_elder_of_another_line_counts_from_its_first_word() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::site::config(&folder);
    std::fs::create_dir(&config.folder).unwrap();
    let elder = Elder::at(&config.folder.join("control.elder.sock")).unwrap();
    let told = |numbers: std::ops::RangeInclusive<u64>| {
        let record = |number| {
            serde_json::json!({
                "number": number, "at_ms": 1, "service": "shop", "version": "1", "key": "07", "method": "GET",
                "path": format!("/{number}"), "status": 500, "time_us": 1,
            })
        };
        serde_json::json!({"instance": "another", "failed": numbers.map(record).collect::<Vec<_>>()})
    };
    elder.count(told(1..=5));
    let site = Site::open(folder, config).await;
    assert_eq!(site.facts(0).await.failed, []);
    elder.count(told(4..=7));
    let paths = async || -> Vec<String> {
        site.facts(0).await.failed.iter().map(|failed| failed.path.clone()).collect()
    };
    assert_eq!(paths().await, ["/6", "/7"]);
    assert_eq!(paths().await, ["/6", "/7"], "each is taken over once");
}
