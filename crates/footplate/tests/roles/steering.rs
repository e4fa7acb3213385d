//! People steer a rollout: hold, promote, pause, resume, abort, roll back, wait for hosts.

use footplate::api::{OrderVerb, Overrides, Status};
use footplate_core::release::Hooks;
use footplate_core::rollout::Phase;

use crate::site::{Site, prepare, refusal, rollout, runs};

fn holding(status: &Status) -> bool {
    matches!(rollout(status).record.phase, Phase::Holding { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_rollout_waits_for_promote() {
    let site = Site::with_hosts(&["a", "b"]).await;
    site.ship("1").await;
    site.push("2", Hooks::default()).await.unwrap();
    site.deploy("2", Overrides { hold: Some(true), ..Overrides::default() }).await.unwrap();
    let status = site.until("it holds", async |status: &Status| holding(status)).await;
    assert!(rollout(&status).sentence.contains("footplate promote shop"), "{}", rollout(&status).sentence);
    assert_eq!(site.page("a").as_deref(), Some("<p>1</p>"));
    site.order(OrderVerb::Promote).await.unwrap();
    assert_eq!(site.end().await.exit_code, Some(0));
    assert_eq!(site.page("b").as_deref(), Some("<p>2</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_rollout_switches_nothing_and_an_abort_ends_it() {
    let site = Site::with_hosts(&["a"]).await;
    site.ship("1").await;
    let gate = site.folder.path().join("gate");
    let wait = format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    site.push("2", prepare(&wait)).await.unwrap();
    site.deploy("2", Overrides::default()).await.unwrap();
    site.order(OrderVerb::Pause).await.unwrap();
    std::fs::write(&gate, "").unwrap();
    let status = site
        .until("2 is prepared", async |status: &Status| {
            status.apps[0].targets[0].prepared.iter().any(|id| id.as_str() == "2")
        })
        .await;
    assert!(!rollout(&status).ended);
    assert_eq!(site.page("a").as_deref(), Some("<p>1</p>"));
    site.order(OrderVerb::Abort).await.unwrap();
    let end = site.end().await;
    assert_eq!(end.exit_code, Some(1));
    assert!(end.sentence.contains("aborted"), "{}", end.sentence);
    assert_eq!(site.page("a").as_deref(), Some("<p>1</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_never_waits_behind_a_deployment() {
    let site = Site::with_hosts(&["a", "b"]).await;
    site.ship("1").await;
    site.ship("2").await;
    site.push("3", prepare("exec sleep 20")).await.unwrap();
    site.deploy("3", Overrides::default()).await.unwrap();
    site.roll_back(Some("1")).await.unwrap();
    let status = site.until("all run 1", async |status: &Status| {
        runs(status, "a", "1") && runs(status, "b", "1") && rollout(status).ended
    });
    assert_eq!(rollout(&status.await).record.number, 4);
    assert_eq!(site.page("a").as_deref(), Some("<p>1</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_in_a_row_go_where_the_status_proposes() {
    let site = Site::with_hosts(&["a"]).await;
    for version in ["1", "2", "3"] {
        site.ship(version).await;
    }
    for to in ["2", "1"] {
        let status = site.client.status().await.unwrap();
        let proposal = status.apps[0].proposal.as_ref().expect("a proposal");
        assert_eq!(proposal.id.as_str(), to);
        site.roll_back(None).await.unwrap();
        assert_eq!(site.end().await.exit_code, Some(0));
        assert_eq!(site.page("a"), Some(format!("<p>{to}</p>")));
    }
    assert_eq!(site.client.status().await.unwrap().apps[0].proposal, None, "3 and 2 were rolled back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_waits_for_the_hosts_that_were_asked_for() {
    let mut site = Site::with_hosts(&["a"]).await;
    site.push("1", Hooks::default()).await.unwrap();
    site.deploy("1", Overrides { nodes: Some(2), ..Overrides::default() }).await.unwrap();
    let status = site
        .until("it says for whom it waits", async |status: &Status| {
            status.apps.first().is_some_and(|app| app.rollout.is_some())
        })
        .await;
    assert!(rollout(&status).sentence.contains("1 more host to join"), "{}", rollout(&status).sentence);
    site.start_agent("b");
    assert_eq!(site.end().await.exit_code, Some(0));
    assert_eq!(site.page("b").as_deref(), Some("<p>1</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_names_who_is_missing_and_switches_nothing() {
    let site = Site::with_hosts(&["a", "b"]).await;
    site.ship("1").await;
    site.push("2", prepare("test $HOST = a || exec sleep 20")).await.unwrap();
    let overrides = Overrides { prepare_deadline_ms: Some(400), ..Overrides::default() };
    site.deploy("2", overrides).await.unwrap();
    let end = site.end().await;
    assert_eq!(end.exit_code, Some(4));
    assert!(end.sentence.contains('b') && end.sentence.contains("`1` stays live"), "{}", end.sentence);
    assert_eq!(site.page("a").as_deref(), Some("<p>1</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_make_no_sense_are_refused_with_what_to_do() {
    let site = Site::with_hosts(&["a"]).await;
    let unknown = refusal(site.deploy("9", Overrides::default()).await.unwrap_err());
    assert!(unknown.contains("no release `9` was pushed") && unknown.contains("footplate push"), "{unknown}");
    let never = refusal(site.roll_back(None).await.unwrap_err());
    assert!(never.contains("it was never deployed"), "{never}");
    site.ship("1").await;
    let again = refusal(site.deploy("1", Overrides::default()).await.unwrap_err());
    assert!(again.contains("it runs that release already"), "{again}");
    let idle = refusal(site.order(OrderVerb::Promote).await.unwrap_err());
    assert!(idle.contains("nothing is being rolled out"), "{idle}");
    let nothing_before = refusal(site.roll_back(None).await.unwrap_err());
    assert!(nothing_before.contains("no earlier release"), "{nothing_before}");
    let changed = refusal(site.push_page("1", "<p>another</p>", Hooks::default()).await.unwrap_err());
    assert!(changed.contains("pushed before with other content"), "{changed}");
}
