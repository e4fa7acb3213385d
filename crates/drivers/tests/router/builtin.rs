//! What the driver of the built-in router has for itself: routers of one line, of which all must follow.

use std::time::Duration;

use footplate_testkit::Elder;
use tempfile::TempDir;

use crate::site::{Site, ask};

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_router_that_missed_a_table_is_told_again_and_counts_as_behind_until_then() {
    let folder = TempDir::new().unwrap();
    let elder = Elder::at(&folder.path().join("control.elder.sock")).unwrap();
    let mut site = Site::builtin_in(folder).await;
    site.follow("a/1", "1:100").await;
    assert_eq!((elder.taken(), site.busy().await), (1, Some(vec![])));
    elder.refuse(true);
    let pool = site.pool("a/1 drains a/2", "1:0 2:100").await;
    for _ in 0..2 {
        let said = site.router.follow(std::slice::from_ref(&pool)).await.unwrap_err();
        assert!(said.to_string().contains("503"), "{said}");
        assert_eq!(site.busy().await, Some(vec![]), "it is not said to follow: what was told before it does");
    }
    elder.refuse(false);
    site.router.follow(std::slice::from_ref(&pool)).await.unwrap();
    assert_eq!((elder.taken(), site.busy().await), (2, Some(vec![])));
    site.router.follow(&[pool]).await.unwrap();
    assert_eq!(elder.taken(), 2, "who follows is not told again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_driver_before_told_in_vain_is_told_by_the_next() {
    let folder = TempDir::new().unwrap();
    let elder = Elder::at(&folder.path().join("control.elder.sock")).unwrap();
    elder.refuse(true);
    let mut site = Site::builtin_in(folder).await;
    let pool = site.pool("a/1", "1:100").await;
    site.router.follow(std::slice::from_ref(&pool)).await.unwrap_err();
    elder.refuse(false);
    let next = footplate_drivers::router::open(&footplate_drivers::router::Config::Builtin(
        site.folder.path().to_owned(),
    ));
    next.follow(&[pool]).await.unwrap();
    assert_eq!(elder.taken(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_requests_holds_at_the_router() {
    let mut site = Site::builtin().await;
    let mut pool = site.pool("a/1", "1:100").await;
    pool.requests.body_bytes_max = Some(10);
    pool.requests.answer = Duration::from_millis(200);
    pool.requests.hold = Duration::ZERO;
    site.router.follow(std::slice::from_ref(&pool)).await.unwrap();
    let status = async |line: &str| {
        let answer =
            ask(site.address, format!("{line}\r\nhost: a\r\nconnection: close\r\n\r\n")).await.unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(status("GET / HTTP/1.1").await, "200");
    assert_eq!(status("POST /echo HTTP/1.1\r\ncontent-length: 11").await, "413");
    assert_eq!(status("GET /slow/60000 HTTP/1.1").await, "504");
    pool.requests = Default::default();
    pool.members[0].is_draining = true;
    pool.requests.hold = Duration::ZERO;
    site.router.follow(&[pool]).await.unwrap();
    assert_eq!(status("GET / HTTP/1.1").await, "503", "it is not held");
}
