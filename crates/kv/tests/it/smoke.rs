//! The first things a client does.

use std::time::Duration;

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
    let path = format!("/v1/kv/hosts/one/?recurse&index={seen}&wait=10m");
    let mut blocked = Box::pin(site.get(&path));
    let elsewhere = site.put("/v1/kv/hosts/two/app", "1");
    tokio::select! {
        reply = &mut blocked => panic!("woken by {reply:?}"),
        done = elsewhere => assert_eq!(done.body, "true"),
    }
    let both = async { tokio::join!(blocked, site.delete("/v1/kv/hosts/one/app")) };
    let (woken, _) =
        tokio::time::timeout(Duration::from_secs(30), both).await.expect("the delete wakes the reader");
    assert_eq!(woken.status, 404);
    assert!(woken.index.unwrap() > seen);
    site.stop().await;
}

#[tokio::test]
async fn no_index_goes_back_by_a_restart_also_where_nothing_is_left_to_show_it() {
    let site = Site::start().await;
    site.put("/v1/kv/a", "1").await;
    site.delete("/v1/kv/a").await;
    let id = site.put("/v1/session/create", "{}").await.json()["ID"].as_str().unwrap().to_owned();
    site.put(&format!("/v1/session/destroy/{id}"), "").await;
    let before = [site.get("/v1/session/list").await.index, site.get("/v1/kv/?recurse").await.index];
    let site = Site::start_in(site.stop().await).await;
    let after = [site.get("/v1/session/list").await.index, site.get("/v1/kv/?recurse").await.index];
    assert_eq!(after, before);
    site.put("/v1/kv/b", "1").await;
    assert!(site.get("/v1/kv/b").await.index > before[0].max(before[1]));
    site.stop().await;
}
