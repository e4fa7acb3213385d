//! A second deployment during a rollout, as a person orders it: it waits through a restart of the controller, or takes the other's place.

use footplate::api::{OrderVerb, Overrides, Status};
use footplate_core::release::Hooks;
use footplate_core::rollout::During;

use crate::site::{Site, refusal, rollout, runs};

fn during(during: During) -> Overrides {
    Overrides { during: Some(during), ..Overrides::default() }
}

/// A site that runs 1, and whose rollout to 2 holds.
async fn holding() -> Site {
    let site = Site::with_hosts(&["web-1"]).await;
    site.ship("1").await;
    for version in ["2", "3", "4"] {
        site.push(version, Hooks::default()).await.unwrap();
    }
    site.deploy("2", Overrides { hold: Some(true), ..Overrides::default() }).await.unwrap();
    site.until("it holds", async |status: &Status| rollout(status).record.phase.word() == "holding").await;
    site
}

fn waiting(status: &Status) -> Option<&str> {
    status.apps[0].waiting.as_ref().map(|waiting| waiting.sentence.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_the_controller_and_begins_when_the_rollout_has_arrived() {
    let mut site = holding().await;
    let told = refusal(site.deploy("3", Overrides::default()).await.unwrap_err());
    assert!(told.contains("rollout 2 to `2` is holding") && told.contains("--during wait"), "{told}");
    let planned = site.deploy("3", during(During::Wait)).await.unwrap();
    let expected = "`3` of `production.shop` waits for rollout 2 to `2`, and begins when that arrives";
    assert_eq!(planned.waits.as_deref(), Some(expected));
    assert_eq!((planned.number, planned.to.as_str()), (3, "3"));
    site.restart_controller().await;
    let status = site.until("it is shown", async |status: &Status| !status.apps.is_empty()).await;
    assert_eq!(waiting(&status), Some(expected));
    site.order(OrderVerb::Promote).await.unwrap();
    let status = site.until("the third runs", async |status: &Status| runs(status, "web-1", "3")).await;
    assert_eq!(rollout(&status).record.number, 3);
    assert_eq!(waiting(&status), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_taken_back_alone_or_with_the_rollout() {
    let site = holding().await;
    site.deploy("3", during(During::Wait)).await.unwrap();
    let rollout = site.order(OrderVerb::Forgo).await.unwrap();
    assert_eq!(rollout.record.phase.word(), "holding", "only what waited is taken back");
    site.deploy("4", during(During::Wait)).await.unwrap();
    site.order(OrderVerb::Abort).await.unwrap();
    let status = site.until("nothing waits", async |status: &Status| waiting(status).is_none()).await;
    assert!(crate::site::ended(&status) && runs(&status, "web-1", "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_replaces_another_takes_its_place() {
    let site = holding().await;
    site.deploy("3", during(During::Replace)).await.unwrap();
    let status = site.until("the third runs", async |status: &Status| runs(status, "web-1", "3")).await;
    assert_eq!(rollout(&status).record.number, 3);
}
