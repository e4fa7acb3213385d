//! The first things a client does.

use serde_json::json;

use crate::site::Site;

#[tokio::test]
async fn what_was_put_is_read_back_also_after_a_restart() {
    let site = Site::start().await;
    assert_eq!(site.put("/v1/kv/a/b?flags=7", "hello").await.body, "true");
    let before = site.get("/v1/kv/a/b").await;
    assert_eq!(before.json()[0]["Value"], json!("aGVsbG8="));
    assert_eq!(before.json()[0]["Flags"], json!(7));
    let site = Site::start_in(site.stop().await).await;
    let after = site.get("/v1/kv/a/b").await;
    assert_eq!(after.body, before.body);
    assert_eq!(after.index, before.index);
    site.stop().await;
}

#[tokio::test]
async fn a_blocked_read_wakes_when_its_prefix_changes_and_not_before() {
    let site = Site::start().await;
    site.put("/v1/kv/hosts/one/app", "1").await;
    let seen = site.get("/v1/kv/hosts/one/?recurse").await.index.unwrap();
    let path = format!("/v1/kv/hosts/one/?recurse&index={seen}&wait=30s");
    let mut blocked = Box::pin(site.get(&path));
    let elsewhere = site.put("/v1/kv/hosts/two/app", "1");
    tokio::select! {
        reply = &mut blocked => panic!("woken by {reply:?}"),
        done = elsewhere => assert_eq!(done.body, "true"),
    }
    let (woken, _) = tokio::join!(blocked, site.delete("/v1/kv/hosts/one/app"));
    assert_eq!(woken.status, 404);
    assert!(woken.index.unwrap() > seen);
    site.stop().await;
}
