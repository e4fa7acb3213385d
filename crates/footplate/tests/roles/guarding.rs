//! Who may do what: tokens, hosts that are set aside, bytes that are not what they say.

use std::time::Duration;

use footplate::api::{By, Delivery, HostOrder, HostVerb, Overrides, Push, path};
use footplate::client::Client;
use footplate_core::artifact::Digest;
use footplate_core::release::{Hooks, Workload};
use footplate_core::retention::Retention;
use footplate_core::rollout::Policy;
use footplate_drivers::archive;
use footplate_drivers::store::{Scope, Store};
use tokio::io::AsyncWriteExt;

use crate::site::{Site, refusal, rollout, runs, within};

fn host_order(verb: HostVerb) -> HostOrder {
    HostOrder { verb, by: By { reason: Some("new disk".to_owned()), actor: None } }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_may_nothing_and_an_agents_token_may_only_fetch() {
    let site = Site::with_hosts(&["a"]).await;
    site.ship("1").await;
    let stranger = Client::new(site.client.address(), "guess");
    assert!(refusal(stranger.status().await.unwrap_err()).contains("token is missing or wrong"));
    let orders = site.store.read(&Scope::Prefix("hosts/".to_owned())).await.unwrap();
    let order = orders.entries.values().next().expect("an order");
    let order: serde_json::Value = serde_json::from_slice(&order.value).unwrap();
    let token = order["sources"][0]["token"].as_str().expect("a token");
    let agent = Client::new(site.client.address(), token);
    assert!(refusal(agent.status().await.unwrap_err()).contains("token is missing or wrong"));
    let digest: Digest = order["keep"][0]["artifact"]["digest"].as_str().unwrap().parse().unwrap();
    assert!(agent.has_artifact(&digest).await.unwrap());
    let file = site.folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(
        refusal(agent.put_artifact(&digest, &file).await.unwrap_err()).contains("an agent may only fetch")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_match_their_digest_are_refused_and_leave_nothing() {
    let site = Site::with_hosts(&["a"]).await;
    let file = site.folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let digest = Digest::from_bytes([7; 32]);
    let refused = refusal(site.client.put_artifact(&digest, &file).await.unwrap_err());
    assert!(refused.contains("cannot store sha256:0707") && refused.contains("push"), "{refused}");
    assert!(!site.client.has_artifact(&digest).await.unwrap());
    let incoming = site.folder.path().join("controller-1/incoming");
    let left: Vec<_> = std::fs::read_dir(incoming).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_leaves_nothing_and_can_be_made_again() {
    let site = Site::with_hosts(&[]).await;
    let (tree, file) = (site.folder.path().join("tree"), site.folder.path().join("file"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("page"), "hello").unwrap();
    let digest = archive::pack(&tree, &file, 0).unwrap().artifact.digest;
    let bytes = std::fs::read(&file).unwrap();
    let incoming = site.folder.path().join("controller-1/incoming");
    let uploads = || std::fs::read_dir(&incoming).unwrap().count();

    let address = site.client.address().strip_prefix("http://").unwrap().to_owned();
    let mut connection = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "PUT {}/{digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        path::ARTIFACTS,
        site.token(),
        bytes.len()
    );
    let half = [head.as_bytes(), &bytes[..bytes.len() / 2]].concat();
    connection.write_all(&half).await.unwrap();
    eventually("the upload is there", || uploads() == 1).await;
    drop(connection);
    eventually("the upload is gone", || uploads() == 0).await;
    assert!(!site.client.has_artifact(&digest).await.unwrap());
    site.client.put_artifact(&digest, &file).await.unwrap();
    assert!(site.client.has_artifact(&digest).await.unwrap());
}

async fn eventually(what: &str, claim: impl Fn() -> bool) {
    let search = async {
        while !claim() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, search).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_no_agent_would_unpack_is_refused_when_it_is_pushed() {
    let site = Site::with_hosts(&["a"]).await;
    let file = site.folder.path().join("file");
    std::fs::write(&file, "no archive").unwrap();
    let digest = archive::digest_file(&file).unwrap().digest;
    let refused = refusal(site.client.put_artifact(&digest, &file).await.unwrap_err());
    assert!(refused.contains("cannot read an archive") && refused.contains("build and push"), "{refused}");
    assert!(!site.client.has_artifact(&digest).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_host_takes_no_part_until_it_is_taken_back() {
    let site = Site::with_hosts(&["a", "b"]).await;
    site.ship("1").await;
    let b = "b".parse().unwrap();
    let status = site.client.host(&b, &host_order(HostVerb::Cordon)).await.unwrap();
    assert_eq!(status.set_aside.as_deref(), Some("cordoned by operator: new disk"));
    site.ship("2").await;
    assert_eq!((site.page("a").as_deref(), site.page("b").as_deref()), (Some("<p>2</p>"), Some("<p>1</p>")));
    site.client.host(&b, &host_order(HostVerb::Uncordon)).await.unwrap();
    site.until("b follows", async |status| runs(status, "b", "2")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_forgotten_only_when_its_agent_is_gone() {
    let mut site = Site::with_hosts(&["a", "b"]).await;
    site.ship("1").await;
    let b = "b".parse().unwrap();
    let refused = refusal(site.client.host(&b, &host_order(HostVerb::Remove)).await.unwrap_err());
    assert!(refused.contains("its agent is alive"), "{refused}");
    site.stop_agent("b");
    site.until("b is gone", async |status| status.hosts.iter().any(|host| !host.alive)).await;
    site.client.host(&b, &host_order(HostVerb::Remove)).await.unwrap();
    site.until("b is forgotten", async |status| status.hosts.len() == 1).await;
    let left = site.store.read(&Scope::Prefix("agents/b/".to_owned())).await.unwrap();
    assert!(left.entries.is_empty());
    let nobody = refusal(site.client.host(&b, &host_order(HostVerb::Cordon)).await.unwrap_err());
    assert!(nobody.contains("no such host is known"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_somebody_removed_by_hand_is_written_again() {
    let site = Site::with_hosts(&["a"]).await;
    site.ship("1").await;
    site.push("2", Hooks::default()).await.unwrap();
    let writes = vec![footplate_drivers::store::Write::DeletePrefix("hosts/a/".to_owned())];
    let transaction = footplate_drivers::store::Transaction { guards: Vec::new(), writes };
    site.store.apply(&transaction).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
    let status = site.client.status().await.unwrap();
    assert_eq!(rollout(&status).record.number, 2);
    assert!(path::STATUS.starts_with("/v1/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_newer_footplate_is_left_alone() {
    let site = Site::with_hosts(&["a"]).await;
    site.ship("1").await;
    let key = "apps/production/shop/current";
    let newer = br#"{"format":99,"path":"?"}"#.to_vec();
    let write = footplate_drivers::store::Write::Put(key.to_owned(), newer.clone());
    let transaction = footplate_drivers::store::Transaction { guards: Vec::new(), writes: vec![write] };
    site.store.apply(&transaction).await.unwrap();
    // The next whole look at the store comes with the next controller.
    let mut site = site;
    site.restart_controller().await;
    site.push("2", Hooks::default()).await.unwrap();
    let refused = refusal(site.deploy("2", Overrides::default()).await.unwrap_err());
    assert!(refused.contains(key) && refused.contains("upgrade this footplate"), "{refused}");
    let stored = site.store.read(&Scope::Key(key.to_owned())).await.unwrap();
    assert_eq!(stored.entries[key].value, newer);
    assert_eq!(site.page("a").as_deref(), Some("<p>1</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn process_groups_that_the_version_does_not_have_are_refused_when_it_is_pushed() {
    let site = Site::with_hosts(&["a"]).await;
    for groups in [&["files", "worker"][..], &["worker"], &[]] {
        let delivery = Delivery {
            selector: "role=web".parse().unwrap(),
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            policy: Policy::default(),
            retention: Retention::default(),
            freezes: Vec::new(),
        };
        let push = Push {
            app: "shop".parse().unwrap(),
            version: "1".parse().unwrap(),
            commit: None,
            summary: None,
            actor: None,
            artifact: None,
            workload: Workload::ReleaseDir(Hooks::default()),
            variables: Default::default(),
            routes: Default::default(),
            environments: [("production".parse().unwrap(), delivery)].into(),
        };
        let refused = site.client.push(&push).await.unwrap_err();
        let refused = refusal(refused);
        assert!(refused.contains("the version has `files`"), "{refused}");
    }
}
