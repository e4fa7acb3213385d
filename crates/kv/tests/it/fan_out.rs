//! Ten thousand blocked readers, in this process, without sockets.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use footplate_kv::{Config, Server};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tower::ServiceExt;

const READERS: usize = 10_000;

async fn ask(router: &Router, method: &str, path: String) -> (StatusCode, u64) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let index =
        response.headers().get("x-consul-index").map_or(0, |index| index.to_str().unwrap().parse().unwrap());
    (response.status(), index)
}

async fn waiters(router: &Router) -> usize {
    let request = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let text = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.lines().find_map(|line| line.strip_prefix("footplate_kv_waiters ")).unwrap().parse().unwrap()
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

async fn block(router: &Router, path: impl Fn(usize) -> String) -> JoinSet<(StatusCode, u64)> {
    let before = waiters(router).await;
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let (router, path) = (router.clone(), path(number));
        readers.spawn(async move { ask(&router, "GET", path).await });
    }
    footplate_testkit::eventually("all readers are blocked", Duration::from_secs(120), || async {
        waiters(router).await == before + READERS
    })
    .await;
    readers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_write_wakes_ten_thousand_readers_of_its_key_and_none_of_ten_thousand_others() {
    let directory = TempDir::new().unwrap();
    let server = Server::open(Config::loopback(directory.path())).await.unwrap();
    let router = server.router();
    let (_, _) = ask(&router, "PUT", "/v1/kv/barriers/app".into()).await;
    let (_, seen) = ask(&router, "GET", "/v1/kv/barriers/app".into()).await;
    let memory = resident_bytes();
    // Their prefixes are empty: the hardest case, as the index they wait from is the whole store's.
    let others = block(&router, |n| format!("/v1/kv/hosts/host{n}/?recurse&index={seen}&wait=10m")).await;
    let mut readers = block(&router, |_| format!("/v1/kv/barriers/app?index={seen}&wait=10m")).await;
    println!("{} bytes a blocked reader, its task included", (resident_bytes() - memory) / (2 * READERS));
    let start = Instant::now();
    let (status, _) = ask(&router, "PUT", "/v1/kv/barriers/app?flags=1".into()).await;
    assert_eq!(status, 200);
    let mut woken = 0;
    while let Some(read) = tokio::time::timeout(Duration::from_secs(60), readers.join_next()).await.unwrap() {
        let (status, index) = read.unwrap();
        assert!(status == 200 && index > seen);
        woken += 1;
    }
    println!("one write woke {woken} readers in {:?}", start.elapsed());
    assert_eq!(woken, READERS);
    assert_eq!(waiters(&router).await, READERS, "readers of other prefixes were woken");
    let start = Instant::now();
    ask(&router, "PUT", "/v1/kv/hosts/host77/app".into()).await;
    footplate_testkit::eventually("the one reader is woken", Duration::from_secs(60), || async {
        waiters(&router).await == READERS - 1
    })
    .await;
    println!("one write woke one of {READERS} readers in {:?}", start.elapsed());
    drop(others);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_writes_share_commits() {
    let directory = TempDir::new().unwrap();
    let server = Server::open(Config::loopback(directory.path())).await.unwrap();
    let router = server.router();
    let start = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..200 {
        let router = router.clone();
        writers.spawn(async move {
            for number in 0..20 {
                let (status, _) = ask(&router, "PUT", format!("/v1/kv/w/{writer}?flags={number}")).await;
                assert_eq!(status, 200);
            }
        });
    }
    writers.join_all().await;
    println!("4000 writes by 200 writers in {:?}", start.elapsed());
    assert_eq!(server.export("w/").len(), 200);
    server.close().await;
}
