//! Versions reach hosts, or nothing changes.

use footplate::api::{Overrides, Status};

use crate::site::{Site, activated, prepare, runs, target};

#[tokio::test(flavor = "multi_thread")]
async fn a_version_reaches_every_host_and_goes_back_and_forward() {
    let site = Site::with_hosts(&["a", "b", "c"]).await;
    site.ship("1").await;
    site.ship("2").await;
    for host in ["a", "b", "c"] {
        assert_eq!(site.page(host).as_deref(), Some("<p>2</p>"));
    }
    site.roll_back(None).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
    assert_eq!(site.page("c").as_deref(), Some("<p>1</p>"));
    site.open_gate().await;
    site.deploy("2", Overrides::default()).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
    assert_eq!(site.page("a").as_deref(), Some("<p>2</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_prepare_hook_changes_nothing_and_says_why() {
    let site = Site::with_hosts(&["a", "b", "c"]).await;
    site.ship("1").await;
    let only_on_b = "test \"$HOST\" != b || { echo the disk is too small; exit 3; }";
    site.push("2", prepare(only_on_b)).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    let end = site.end().await;
    assert_eq!(end.exit_code, Some(1));
    assert!(end.sentence.contains("b/files could not prepare `2`"), "{}", end.sentence);
    assert!(end.sentence.ends_with("`1` stays live"), "{}", end.sentence);
    for host in ["a", "b", "c"] {
        assert_eq!(site.page(host).as_deref(), Some("<p>1</p>"));
    }
    let status = site.client.status().await.unwrap();
    let failure =
        target(&status, "b").and_then(|target| target.failed.values().next()).expect("it is reported");
    assert_eq!(failure.output.trim(), "the disk is too small");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_activation_brings_every_host_back() {
    let site = Site::with_hosts(&["a", "b", "c"]).await;
    site.ship("1").await;
    site.push("2", activated("test \"$HOST\" != c")).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    let end = site.end().await;
    assert_eq!(end.exit_code, Some(1));
    assert!(end.sentence.contains("went back to `1`"), "{}", end.sentence);
    assert!(end.sentence.contains("c/files could not activate `2`"), "{}", end.sentence);
    for host in ["a", "b", "c"] {
        assert_eq!(site.page(host).as_deref(), Some("<p>1</p>"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_host_converges_by_itself() {
    let mut site = Site::with_hosts(&["a"]).await;
    site.ship("1").await;
    site.start_agent("b");
    site.until("b runs 1", async |status: &Status| runs(status, "b", "1")).await;
    assert_eq!(site.page("b").as_deref(), Some("<p>1</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reimaged_host_converges_by_itself() {
    let mut site = Site::with_hosts(&["a", "b"]).await;
    site.ship("1").await;
    site.ship("2").await;
    site.stop_agent("b");
    site.until("b is gone", async |status: &Status| target(status, "b").is_some_and(|b| !b.alive)).await;
    let folder = site.host_folder("b");
    // The agent gives its folder up a moment after its session.
    crate::site::within("b's folder is free", async {
        while std::fs::remove_dir_all(&folder).is_err() || folder.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    site.start_agent("b");
    site.until("b runs 2", async |status: &Status| {
        runs(status, "b", "2") && target(status, "b").is_some_and(|b| b.alive)
    })
    .await;
    assert_eq!(site.page("b").as_deref(), Some("<p>2</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_hooks_can_be_read_at_the_controller() {
    let site = Site::with_hosts(&["a"]).await;
    site.push("1", prepare("echo prepared on $HOST")).await.unwrap();
    site.deploy("1", Overrides::default()).await.unwrap();
    site.end().await;
    let read = async {
        loop {
            let outputs = site.client.outputs(&crate::site::path(), None, 0, 10).await.unwrap();
            if let Some(output) = outputs.first() {
                return output.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let output = crate::site::within("the output is there", read).await;
    assert_eq!((output.text.trim(), output.ok, output.host.as_str()), ("prepared on a", true, "a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_releases_are_cleaned_off_the_hosts() {
    let site = Site::with_hosts(&["a"]).await;
    for version in ["1", "2", "3", "4"] {
        site.ship(version).await;
    }
    let versions = site.host_folder("a").join("apps/production/shop/versions");
    let there = |version: &str| versions.join(version).exists();
    let is_gone = async |version: &str| {
        site.until("it is gone", async |status: &Status| {
            let prepared = &target(status, "a").expect("a target").prepared;
            prepared.iter().all(|id| id.as_str() != version) && !there(version)
        })
        .await
    };
    is_gone("1").await;
    assert!(there("2"), "what ran before stays until the rollout away from it has ended");
    let refused = crate::site::refusal(site.clean(Some("4")).await.unwrap_err());
    assert!(refused.contains("cannot remove `4`") && refused.contains("it is what runs"), "{refused}");
    assert_eq!(site.clean(None).await.unwrap(), ["2"]);
    is_gone("2").await;
    assert!(there("3") && there("4"));
}
