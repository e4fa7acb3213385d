//! One deployment after the other, as an agent lives through them.

use std::fs;

use super::site::{Site, eventually, id, order, release, report_key, switching};

const V1: &str = "1";
const V2: &str = "2";

#[tokio::test]
async fn a_barrier_switches_what_is_prepared_and_nothing_before() {
    let site = Site::new();
    let agent = site.start("web-1");
    let first = release(V1, "echo one > which", "");
    site.assign("web-1", &switching(V1, order(1, None, std::slice::from_ref(&first)))).await;
    let report = site.report("web-1", "prepared release", |report| report.prepared.contains(&id(V1))).await;
    assert_eq!((report.live, report.generation.counter), (None, 1));
    assert_eq!(site.live("web-1"), None, "the barrier is closed");
    site.open_barrier(1).await;
    site.report("web-1", "live release", |report| report.runs(&id(V1))).await;
    assert_eq!(fs::read_to_string(site.path("web-1", "live/which")).expect("a file").trim(), "one");

    let second = release(V2, "echo two > which", "");
    site.assign("web-1", &switching(V2, order(2, Some(V1), &[first.clone(), second.clone()]))).await;
    let report = site.report("web-1", "second release", |report| report.prepared.contains(&id(V2))).await;
    assert_eq!(report.live, Some(id(V1)));
    site.open_barrier(2).await;
    site.report("web-1", "switch", |report| report.runs(&id(V2))).await;

    site.assign("web-1", &order(3, Some(V1), &[first, second])).await;
    site.report("web-1", "way back", |report| report.runs(&id(V1))).await;
    assert_eq!(fs::read_to_string(site.path("web-1", "live/which")).expect("a file").trim(), "one");
    agent.end().await;
    assert_eq!(site.live("web-1").as_deref(), Some(V1), "what is live stays live");
}

#[tokio::test]
async fn a_deployment_costs_six_requests_and_two_reports() {
    let site = Site::new();
    let agent = site.start("web-1");
    let releases = ["1", "2", "3"].map(|name| release(name, "", ""));
    site.assign("web-1", &order(1, Some(V1), &releases[..1])).await;
    site.report("web-1", "first release", |report| report.runs(&id(V1))).await;
    for (counter, pair) in [(2, &releases[..2]), (3, &releases[1..])] {
        eventually("the agent is idle", || site.weather.take_requests().is_empty()).await;
        let (from, to) = (pair[0].id.as_str(), pair[1].id.as_str());
        site.assign("web-1", &switching(to, order(counter, Some(from), pair))).await;
        site.report("web-1", "prepared release", |report| report.prepared.contains(&id(to))).await;
        site.open_barrier(counter).await;
        site.report("web-1", "switch", |report| report.runs(&id(to))).await;
        let gone = |report: &footplate_core::target::Report| report.prepared.len() == 2;
        site.report("web-1", "clean host", gone).await;
        let requests = site.weather.take_requests();
        let reports = requests.iter().filter(|request| request.contains(&report_key("web-1"))).count();
        assert!(requests.len() <= 6, "too many requests: {requests:#?}");
        // The second round cleans up the oldest release, and says so when it has nothing better to do.
        assert_eq!(reports, if counter == 2 { 2 } else { 3 }, "{requests:#?}");
    }
    agent.end().await;
}

#[tokio::test]
async fn a_failed_prepare_is_reported_with_its_output_and_changes_nothing() {
    let site = Site::new();
    let agent = site.start("web-1");
    let good = release(V1, "", "");
    site.assign("web-1", &order(1, Some(V1), std::slice::from_ref(&good))).await;
    site.report("web-1", "first release", |report| report.runs(&id(V1))).await;
    let bad = release(V2, "echo compiling; echo no such module >&2; exit 3", "");
    site.assign("web-1", &switching(V2, order(2, Some(V1), &[good, bad]))).await;
    let report = site.report("web-1", "failure", |report| report.failed.contains_key(&id(V2))).await;
    let failure = &report.failed[&id(V2)];
    assert!(failure.reason.contains("status 3"), "{failure:?}");
    assert_eq!(failure.output, "compiling\nno such module\n");
    assert_eq!((failure.attempts, failure.generation.counter), (1, 2));
    assert!(report.runs(&id(V1)) && !report.prepared.contains(&id(V2)));
    agent.end().await;
}

#[tokio::test]
async fn a_failed_activation_is_told_and_a_rollback_goes_at_once() {
    let site = Site::new();
    let agent = site.start("web-1");
    let both = [release(V1, "", ""), release(V2, "", "echo port taken; exit 1")];
    site.assign("web-1", &order(1, Some(V1), &both)).await;
    site.report("web-1", "first release", |report| report.runs(&id(V1)) && report.prepared.len() == 2).await;
    site.assign("web-1", &switching(V2, order(2, Some(V1), &both))).await;
    site.open_barrier(2).await;
    let report = site.report("web-1", "failure", |report| report.failed.contains_key(&id(V2))).await;
    assert_eq!(report.live, Some(id(V2)), "the switch was made, its hook failed");
    assert!(!report.runs(&id(V2)));
    site.assign("web-1", &order(3, Some(V1), &both)).await;
    let report = site.report("web-1", "way back", |report| report.runs(&id(V1))).await;
    assert!(report.failed.is_empty(), "a new order forgets old failures: {report:?}");
    agent.end().await;
}

#[tokio::test]
async fn a_rollback_kills_a_running_hook_and_does_not_wait_for_it() {
    let site = Site::new();
    let agent = site.start("web-1");
    let good = release(V1, "", "");
    let (begun, ended) = (site.scratch("begun"), site.scratch("ended"));
    let slow =
        format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 300; touch {1}", begun.display(), ended.display());
    site.assign("web-1", &order(1, Some(V1), std::slice::from_ref(&good))).await;
    site.report("web-1", "first release", |report| report.runs(&id(V1))).await;
    let both = [good.clone(), release(V2, &slow, "")];
    site.assign("web-1", &switching(V2, order(2, Some(V1), &both))).await;
    eventually("the hook runs", || begun.exists()).await;
    let hook = fs::read_to_string(&begun).expect("its process").trim().to_owned();
    site.assign("web-1", &order(3, Some(V1), &[good])).await;
    let report = site.report("web-1", "way back", |report| report.generation.counter == 3).await;
    assert!(report.runs(&id(V1)) && report.failed.is_empty(), "a stop is no failure: {report:?}");
    let is_gone = || !std::path::Path::new("/proc").join(&hook).exists();
    eventually("the hook is gone", is_gone).await;
    assert!(!ended.exists());
    agent.end().await;
}

#[tokio::test]
async fn an_older_order_is_not_obeyed_and_the_report_says_what_was() {
    let site = Site::new();
    let agent = site.start("web-1");
    let both = [release(V1, "", ""), release(V2, "", "")];
    site.assign("web-1", &order(7, Some(V2), &both)).await;
    site.report("web-1", "release", |report| report.runs(&id(V2)) && report.prepared.len() == 2).await;
    site.assign("web-1", &order(6, Some(V1), &both)).await;
    let third = [both[0].clone(), release("3", "", "")];
    site.assign("web-1", &order(8, Some("3"), &third)).await;
    let report = site.report("web-1", "newer order", |report| report.runs(&id("3"))).await;
    assert_eq!(report.generation.counter, 8);
    site.assign("web-1", &order(6, Some(V1), &both)).await;
    agent.end().await;
    let agent = site.start("web-1");
    site.alive("web-1").await;
    eventually("the agent has heard the old order", || {
        site.weather.take_requests().iter().filter(|request| request.contains("hosts/")).count() > 1
    })
    .await;
    assert_eq!(site.live("web-1").as_deref(), Some("3"), "also not after a restart");
    agent.end().await;
}

/// Returns an order to switch from 1 to 2 that also keeps a release whose preparation does not end.
fn with_an_endless_one(counter: u64) -> footplate_core::target::Assignment {
    let endless = release("endless", "sleep 600", "");
    switching(V2, order(counter, Some(V1), &[release(V1, "", ""), release(V2, "", ""), endless]))
}

#[tokio::test]
async fn a_release_that_is_only_kept_delays_neither_report_nor_switch() {
    let site = Site::new();
    let agent = site.start("web-1");
    site.assign("web-1", &order(1, Some(V1), &[release(V1, "", "")])).await;
    site.report("web-1", "first release", |report| report.runs(&id(V1))).await;
    site.assign("web-1", &with_an_endless_one(2)).await;
    site.report("web-1", "prepared release", |report| report.prepared.contains(&id(V2))).await;
    eventually("the kept one is prepared", || site.path("web-1", "run/endless.prepare").exists()).await;
    site.open_barrier(2).await;
    site.report("web-1", "switch", |report| report.runs(&id(V2))).await;
    agent.end().await;
}

#[tokio::test]
async fn an_order_that_wants_something_else_first_cuts_what_is_only_kept() {
    let site = Site::new();
    let agent = site.start("web-1");
    site.assign("web-1", &with_an_endless_one(1)).await;
    eventually("the kept one is prepared", || site.path("web-1", "run/endless.prepare").exists()).await;
    let (third, kept) = (release("3", "", ""), with_an_endless_one(2).keep);
    let keep: Vec<_> = std::iter::once(third).chain(kept).collect();
    site.assign("web-1", &switching("3", order(2, Some(V1), &keep))).await;
    site.report("web-1", "third release", |report| report.prepared.contains(&id("3"))).await;
    agent.end().await;
}
