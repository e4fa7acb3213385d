//! Export, import, and what readers notice of it.

use footplate_kv::backup::{read, write};
use footplate_kv::{Config, Server};
use tempfile::TempDir;

use crate::site::Site;

async fn open(directory: &TempDir) -> Server {
    Server::open(Config::loopback(directory.path())).await.unwrap()
}

#[tokio::test]
async fn an_export_is_imported_elsewhere_whole_and_far_ahead() {
    let site = Site::start().await;
    for number in 0..50 {
        site.put(&format!("/v1/kv/a/{number}?flags={number}"), format!("value {number}")).await;
    }
    site.put("/v1/kv/elsewhere", "x").await;
    let before = site.get("/v1/kv/a/?recurse").await.index.unwrap();
    let from = site.stop().await;
    let server = open(&from).await;
    let mut text = Vec::new();
    write(&server.export("a/"), &mut text).unwrap();
    let lines = server.export("a/");
    server.close().await;
    assert_eq!(lines.len(), 50);

    let to = TempDir::new().unwrap();
    let server = open(&to).await;
    assert_eq!(server.import(read(&text[..]).unwrap()).await.unwrap(), 50);
    assert_eq!(server.export(""), lines);
    server.close().await;
    let site = Site::start_in(to).await;
    // Whoever waits with an index from before is answered at once.
    let reply = site.get(&format!("/v1/kv/a/?recurse&index={}&wait=10m", before + 1_000_000)).await;
    assert!(reply.index.unwrap() > 1 << 32, "{:?}", reply.index);
    assert_eq!(reply.json().as_array().unwrap().len(), 50);
    let absent = site.get(&format!("/v1/kv/absent?index={before}&wait=10m")).await;
    assert_eq!(absent.status, 404);
    site.stop().await;
}

#[tokio::test]
async fn an_import_with_a_value_over_the_limit_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let server = open(&directory).await;
    let line = |key: &str, size: usize| footplate_kv::backup::Line {
        key: key.into(),
        flags: 0,
        value: vec![0; size],
    };
    let failure = server.import(vec![line("a", 1), line("b", 512 * 1024 + 1)]).await.unwrap_err();
    assert!(failure.because.contains("\"b\""), "{failure}");
    assert!(server.export("").is_empty());
    server.close().await;
}
