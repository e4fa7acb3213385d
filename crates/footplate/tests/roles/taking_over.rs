//! Controllers come and go; the rollout goes on.

use footplate::api::{Overrides, Status};
use footplate_core::release::Hooks;

use crate::recorded::Recorded;
use crate::site::{Site, prepare, refusal, rollout};

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_comes_back_goes_on_where_it_stopped() {
    let mut site = Site::with_hosts(&["a", "b"]).await;
    site.ship("1").await;
    let gate = site.folder.path().join("gate");
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    site.push("2", prepare(&wait)).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    site.restart_controller().await;
    std::fs::write(&gate, "").unwrap();
    let end = site.end().await;
    assert_eq!((end.exit_code, end.record.to.id.as_str()), (Some(0), "2"), "{}", end.sentence);
    assert_eq!(site.page("b").as_deref(), Some("<p>2</p>"));
    let said = site.client.history(None, 50, None).await.unwrap();
    let kinds: Vec<&str> = said.iter().map(|entry| entry.kind.as_str()).collect();
    assert!(kinds.contains(&"done"), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_controller_with_the_lease_acts_and_the_other_says_so() {
    let mut site = Site::with_hosts(&["a"]).await;
    let first_stop = site.controller_stop.clone();
    let first = site.client.clone();
    let second = site.start_controller().await;
    let order = crate::site::deploy("1", Overrides::default());
    let refused = refusal(second.deploy(&order).await.unwrap_err());
    assert!(refused.contains("does not act") && refused.contains(first.address()), "{refused}");
    first_stop.cancel();
    let takes_over = async {
        while !second.health().await.is_ok_and(|health| health.acting) {
            tokio::task::yield_now().await;
        }
    };
    crate::site::within("the second acts", takes_over).await;
    site.client = second;
    site.push("1", Hooks::default()).await.unwrap();
    site.client.deploy(&order).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_whose_session_ended_changes_nothing_more() {
    let site = Site::with_hosts(&["a"]).await;
    site.ship("1").await;
    let gate = site.folder.path().join("gate");
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    site.push("2", prepare(&wait)).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    // Every session ends, the lease with them, as in a store that was not reached for long.
    for session in footplate_drivers::store::memory::Memory::sessions(&site.store) {
        site.store.expire(&session);
    }
    std::fs::write(&gate, "").unwrap();
    site.until("it is over", async |status: &Status| rollout(status).ended && status.controller.is_some())
        .await;
    assert_eq!(site.page("a").as_deref(), Some("<p>2</p>"));
    assert!(!site.controller_stop.is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_stands_by_reads_the_store_only_for_somebody_who_looks() {
    let mut site = Site::with_hosts(&["a"]).await;
    let first_stop = site.controller_stop.clone();
    let store = Recorded::new(site.store.clone());
    let second = site.start_controller_on(store.clone()).await;
    let order = crate::site::deploy("1", Overrides::default());
    let refused = refusal(second.deploy(&order).await.unwrap_err());
    assert!(refused.contains("does not act"), "{refused}");
    site.ship("1").await;
    assert_eq!(store.take(), [""; 0], "it waits on the lease alone");
    let status = second.status().await.unwrap();
    assert!(crate::site::runs(&status, "a", "1"), "{status:?}");
    assert!(store.take().contains(&"agents/".to_owned()));
    first_stop.cancel();
    site.client = second;
    site.until("the second acts", async |status: &Status| status.controller.is_some()).await;
    site.push("2", Hooks::default()).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
}
