//! What is forgotten: in time what was pushed and is kept by no environment; by order hosts that are gone.

use std::time::{Duration, SystemTime};

use footplate::api::{By, HostOrder, HostVerb, Status};
use footplate_core::artifact::Digest;
use footplate_core::fleet::Pushed;
use footplate_core::moment::Moment;
use footplate_core::record::{Stored, Written};
use footplate_core::release::Hooks;
use footplate_drivers::store::Write;

use crate::serving::builtin;
use crate::site::{Site, refusal, within};

const DAY: u64 = 24 * 3600;

/// Lets a release and its artifact be so old.
async fn age(site: &Site, version: &str, seconds: u64) -> Digest {
    let key = format!("releases/shop.{version}");
    let record = site.read_by_hand(&key).await.expect("it was pushed");
    let stored: Stored<Pushed> = serde_json::from_slice(&record).unwrap();
    let Stored::Known(mut pushed) = stored else { panic!("it is ours") };
    let release = &mut pushed.release;
    release.created_at = Moment::from_millis(release.created_at.as_millis() - seconds * 1000);
    let digest = release.artifact.as_ref().unwrap().digest;
    site.write_by_hand(vec![Write::Put(key, serde_json::to_vec(&Written(&pushed)).unwrap())]).await;
    age_artifact(site, &digest, seconds);
    digest
}

fn artifact(site: &Site, digest: &Digest) -> std::path::PathBuf {
    site.folder.path().join("controller-1/artifacts/sha256").join(digest.hex())
}

fn age_artifact(site: &Site, digest: &Digest, seconds: u64) {
    let file = std::fs::File::options().write(true).open(artifact(site, digest)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

async fn pushed(site: &Site) -> Vec<String> {
    let releases = site.client.releases(&"shop".parse().unwrap()).await.unwrap();
    let mut ids: Vec<String> = releases.iter().map(|pushed| pushed.release.id.to_string()).collect();
    ids.sort();
    ids
}

/// The sites of these stories keep two.
#[tokio::test(flavor = "multi_thread")]
async fn old_pushed_releases_that_no_environment_keeps_are_forgotten_with_their_bytes() {
    let mut site = Site::with_hosts(&["a"]).await;
    site.ship("0").await;
    for version in ["1", "2", "3", "4", "5"] {
        site.push(version, Hooks::default()).await.unwrap();
    }
    let mut digests = Vec::new();
    for (version, days) in [("0", 9), ("1", 8), ("2", 7), ("3", 6), ("4", 5)] {
        digests.push(age(&site, version, days * DAY).await);
    }
    site.restart_controller().await;
    let forgotten = async {
        while artifact(&site, &digests[2]).exists() || artifact(&site, &digests[3]).exists() {
            tokio::task::yield_now().await;
        }
    };
    // 5 and 4 are the newest two, 0 runs.
    within("the old ones are forgotten", forgotten).await;
    assert_eq!(pushed(&site).await, ["0", "4", "5"]);
    assert!(artifact(&site, &digests[0]).exists() && artifact(&site, &digests[4]).exists());
    site.ship("4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_forgotten_while_a_record_cannot_be_read() {
    let mut site = Site::with_hosts(&[]).await;
    for version in ["1", "2", "3"] {
        site.push(version, Hooks::default()).await.unwrap();
        age(&site, version, 2 * DAY).await;
    }
    let newer = br#"{"format":99,"what":"nobody knows"}"#.to_vec();
    site.write_by_hand(vec![Write::Put("apps/staging/shop/current".to_owned(), newer)]).await;
    site.restart_controller().await;
    // What is answered after an order was carried out after the first look.
    site.push("4", Hooks::default()).await.unwrap();
    assert_eq!(pushed(&site).await, ["1", "2", "3", "4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_lets_nothing_go_while_a_record_of_another_environment_cannot_be_read() {
    let mut site = Site::with_hosts(&["a"]).await;
    for version in ["1", "2", "3", "4"] {
        site.ship(version).await;
    }
    let all = pushed(&site).await;
    let newer = br#"{"format":99,"what":"nobody knows"}"#.to_vec();
    let key = "apps/staging/shop/current".to_owned();
    site.write_by_hand(vec![Write::Put(key.clone(), newer)]).await;
    site.restart_controller().await;
    for release in [Some("2"), None] {
        let refused = refusal(site.clean(release).await.unwrap_err());
        assert!(refused.contains(&key) && refused.contains("nothing was changed"), "{refused}");
    }
    assert_eq!(pushed(&site).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_which_only_its_router_spoke_is_known_until_it_is_removed() {
    let mut site = Site::with_hosts(&[]).await;
    let router = builtin(site.folder.path().join("router")).await;
    site.start_agent_beside("edge", "edge", Some(router.config.clone()));
    let lives = |status: &Status| status.hosts.iter().map(|host| host.alive).collect::<Vec<_>>();
    site.until("it has joined", async |status: &Status| lives(status) == [true]).await;
    let report = "agents/edge/router";
    assert!(site.read_by_hand(report).await.is_some(), "a router's report comes before its host's name");
    site.stop_agent("edge");
    site.until("its agent is gone and it is not", async |status: &Status| lives(status) == [false]).await;
    let remove = HostOrder { verb: HostVerb::Remove, by: By::default() };
    site.client.host(&"edge".parse().unwrap(), &remove).await.unwrap();
    assert_eq!(site.client.hosts().await.unwrap(), []);
    assert_eq!(site.read_by_hand(report).await, None);
    let again = refusal(site.client.host(&"edge".parse().unwrap(), &remove).await.unwrap_err());
    assert!(again.contains("no such host is known"), "{again}");
}
