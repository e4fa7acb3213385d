//! Hosts that come, go, come back, and pretend to be each other.

use std::fs;

use footplate_core::record::Key;
use footplate_drivers::store::{Guard, Transaction, Write};

use super::site::{Site, eventually, id, order, release, report_key, switching, target};

#[tokio::test]
async fn a_second_host_of_one_name_changes_nothing_until_the_first_is_gone() {
    let site = Site::new();
    let first = site.start_in("web-1", "one");
    site.assign("web-1", &order(1, Some("1"), &[release("1", "", "")])).await;
    site.report("web-1", "release", |report| report.runs(&id("1"))).await;
    let second = site.start_in("web-1", "two");
    eventually("the second one waits", || {
        site.weather.take_requests().iter().any(|request| request == "wait Key(\"agents/web-1/alive\")")
    })
    .await;
    assert!(!site.scratch("two/apps/production").exists(), "it does not touch its own disk");
    first.end().await;
    eventually("the second one goes on", || site.scratch("two/apps/production/shop/live").exists()).await;
    site.report("web-1", "release on the second", |report| report.runs(&id("1"))).await;
    second.end().await;
}

#[tokio::test]
async fn an_agent_that_was_killed_takes_its_name_back_at_once_and_goes_on() {
    let site = Site::new();
    let agent = site.start("web-1");
    let both = [release("1", "", ""), release("2", "", "")];
    site.assign("web-1", &switching("2", order(1, Some("1"), &both))).await;
    site.report("web-1", "prepared host", |report| report.prepared.len() == 2 && report.runs(&id("1"))).await;
    agent.kill().await;
    site.open_barrier(1).await;
    assert_eq!(site.live("web-1").as_deref(), Some("1"));
    let agent = site.start("web-1");
    site.report("web-1", "switch", |report| report.runs(&id("2"))).await;
    agent.kill().await;
    let agent = site.start("web-1");
    site.alive("web-1").await;
    eventually("it has looked", || !site.weather.take_requests().is_empty()).await;
    assert_eq!(site.live("web-1").as_deref(), Some("2"), "it does not pass through the old release");
    agent.end().await;
}

#[tokio::test]
async fn a_host_that_joins_after_the_switch_never_runs_the_old_release() {
    let site = Site::new();
    let log = site.scratch("activated");
    let note = |name: &str| format!("echo {name} >> {}", log.display());
    let both = [release("1", "", &note("1")), release("2", "", &note("2"))];
    site.assign("late", &switching("2", order(1, Some("1"), &both))).await;
    site.open_barrier(1).await;
    let agent = site.start("late");
    site.report("late", "new release", |report| report.runs(&id("2"))).await;
    assert_eq!(fs::read_to_string(&log).expect("a log"), "2\n");
    agent.end().await;
}

#[tokio::test]
async fn a_host_that_joins_before_the_switch_runs_the_old_release_until_then() {
    let site = Site::new();
    let both = [release("1", "", ""), release("2", "exit 1", "")];
    site.assign("late", &switching("2", order(1, Some("1"), &both))).await;
    let agent = site.start("late");
    let report = site.report("late", "old release", |report| report.runs(&id("1"))).await;
    assert!(!report.prepared.contains(&id("2")));
    agent.end().await;
}

#[tokio::test]
async fn a_reinstalled_host_does_not_stand_on_the_reports_of_its_former_life() {
    let site = Site::new();
    let agent = site.start_in("web-1", "former");
    site.assign("web-1", &switching("1", order(1, None, &[release("1", "", "")]))).await;
    site.report("web-1", "prepared release", |report| report.prepared.contains(&id("1"))).await;
    agent.end().await;
    site.assign("web-1", &switching("1", order(1, None, &[release("1", "sleep 300", "")]))).await;
    let agent = site.start_in("web-1", "new");
    let (alive, report) = (Key::Presence("web-1".parse().expect("a host")).to_string(), report_key("web-1"));
    site.until("agents/", "presence without a report", |snapshot| {
        let announced = snapshot.entries.contains_key(&alive);
        (announced && !snapshot.entries.contains_key(&report)).then_some(())
    })
    .await;
    agent.end().await;
}

#[tokio::test]
async fn a_session_that_is_lost_is_opened_again_with_the_reports() {
    let site = Site::new();
    let agent = site.start("web-1");
    site.assign("web-1", &order(1, Some("1"), &[release("1", "", "")])).await;
    site.report("web-1", "release", |report| report.runs(&id("1"))).await;
    // Somebody wipes the store, and the next report finds out.
    let writes = vec![Write::DeletePrefix("agents/".to_owned())];
    footplate_drivers::store::Store::apply(site.store.as_ref(), &Transaction { guards: vec![], writes })
        .await
        .expect("the memory store is always there");
    let both = [release("1", "", ""), release("2", "", "")];
    site.assign("web-1", &order(2, Some("2"), &both)).await;
    site.report("web-1", "second release", |report| report.runs(&id("2"))).await;
    site.alive("web-1").await;
    agent.end().await;
}

#[tokio::test]
async fn a_report_is_written_only_by_the_agent_that_holds_the_name() {
    let site = Site::new();
    let agent = site.start("web-1");
    site.assign("web-1", &order(1, Some("1"), &[release("1", "", "")])).await;
    site.report("web-1", "release", |report| report.runs(&id("1"))).await;
    let store: &dyn footplate_drivers::store::Store = site.store.as_ref();
    let other = store.open_session("other", std::time::Duration::from_secs(30)).await.expect("a session");
    let alive = Key::Presence("web-1".parse().expect("a host")).to_string();
    let steal = [
        Transaction { guards: vec![], writes: vec![Write::Delete(alive.clone())] },
        Transaction {
            guards: vec![Guard::Absent(alive.clone())],
            writes: vec![Write::PutEphemeral(alive, b"{}".to_vec(), other.clone())],
        },
    ];
    for transaction in &steal {
        store.apply(transaction).await.expect("the memory store is always there");
    }
    let before = site.report("web-1", "report", |_| true).await;
    site.assign("web-1", &order(2, Some("2"), &[release("1", "", ""), release("2", "", "")])).await;
    eventually("the agent stood back", || {
        site.weather.take_requests().iter().any(|request| request == "wait Key(\"agents/web-1/alive\")")
    })
    .await;
    assert_eq!(site.report("web-1", "report", |_| true).await, before);
    store.close_session(&other).await.expect("it was open");
    site.report("web-1", "second release", |report| report.runs(&id("2"))).await;
    agent.end().await;
}

#[tokio::test]
async fn a_target_that_is_taken_away_is_left_alone() {
    let site = Site::new();
    let agent = site.start("web-1");
    site.assign("web-1", &order(1, Some("1"), &[release("1", "", "")])).await;
    site.report("web-1", "release", |report| report.runs(&id("1"))).await;
    let key = Key::Assignment("web-1".parse().expect("a host"), target());
    let writes = vec![Write::Delete(key.to_string())];
    footplate_drivers::store::Store::apply(site.store.as_ref(), &Transaction { guards: vec![], writes })
        .await
        .expect("the memory store is always there");
    let state = site.scratch("web-1/state/targets/production.shop.files.json");
    eventually("it was let go", || !fs::read_to_string(&state).expect("a memory").contains("assignment"))
        .await;
    fs::remove_file(site.path("web-1", "live")).expect("it was live");
    site.assign("web-1", &order(1, Some("1"), &[release("1", "", "")])).await;
    eventually("it is looked after again", || site.live("web-1").is_some()).await;
    agent.end().await;
}
