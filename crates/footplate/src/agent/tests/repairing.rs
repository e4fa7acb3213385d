//! What was changed by hand, what broke, and what goes on without a store.

use std::fs;
use std::os::unix::fs::symlink;

use footplate_core::record::Key;

use super::site::{Site, eventually, id, order, release, switching, target};

async fn with_two_releases(site: &Site, host: &str) {
    let both = [release("1", "", ""), release("2", "", "")];
    site.assign(host, &order(1, Some("1"), &both)).await;
    site.report(host, "settled host", |report| report.runs(&id("1")) && report.prepared.len() == 2).await;
}

#[tokio::test]
async fn a_live_link_moved_by_hand_is_reported_and_repaired() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    let (live, aside) = (site.path("web-1", "live"), site.path("web-1", "live.by-hand"));
    symlink("versions/2", &aside).expect("room");
    fs::rename(&aside, &live).expect("room");
    let report = site.report("web-1", "drift", |report| report.drift.is_some()).await;
    assert_eq!(report.drift.as_deref(), Some("`live` was moved from `1` to `2`"));
    let report = site.report("web-1", "repair", |report| report.drift.is_none()).await;
    assert!(report.runs(&id("1")));
    assert_eq!(site.live("web-1").as_deref(), Some("1"));
    agent.end().await;
}

#[tokio::test]
async fn a_release_removed_by_hand_is_prepared_again() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    fs::remove_dir_all(site.path("web-1", "versions/2")).expect("it was there");
    let report = site.report("web-1", "drift", |report| report.drift.is_some()).await;
    assert_eq!(report.drift.as_deref(), Some("the completion mark of `2` is gone"));
    site.report("web-1", "repair", |report| report.drift.is_none() && report.prepared.len() == 2).await;
    assert!(site.path("web-1", "versions/2").is_dir());
    agent.end().await;
}

#[tokio::test]
async fn an_agent_that_boots_without_a_store_repairs_what_it_last_ran() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    agent.kill().await;
    site.weather.set_down(true);
    fs::remove_file(site.path("web-1", "live")).expect("it was live");
    let agent = site.start("web-1");
    eventually("it runs again", || site.live("web-1").as_deref() == Some("1")).await;
    site.weather.set_down(false);
    site.assign("web-1", &order(2, Some("2"), &[release("1", "", ""), release("2", "", "")])).await;
    site.report("web-1", "next release", |report| report.runs(&id("2"))).await;
    agent.end().await;
}

#[tokio::test]
async fn losing_the_store_stops_nothing_and_it_catches_up() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    site.weather.set_down(true);
    site.assign("web-1", &order(2, Some("2"), &[release("1", "", ""), release("2", "", "")])).await;
    fs::remove_file(site.path("web-1", "live")).expect("it was live");
    eventually("it is repaired", || site.live("web-1").as_deref() == Some("1")).await;
    site.weather.set_down(false);
    site.report("web-1", "next release", |report| report.runs(&id("2"))).await;
    agent.end().await;
}

#[tokio::test]
async fn a_barrier_that_cannot_be_read_is_closed() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    let both = [release("1", "", ""), release("2", "", "")];
    site.assign("web-1", &switching("2", order(2, Some("1"), &both))).await;
    site.report("web-1", "obeyed order", |report| report.generation.counter == 2).await;
    site.weather.set_down(true);
    site.weather.refuses_barriers(3).await;
    assert_eq!(site.live("web-1").as_deref(), Some("1"), "nobody said that it is open");

    // What the disk shows does not tell what must run, and nobody is there to ask.
    agent.kill().await;
    fs::remove_file(site.path("web-1", "live")).expect("it was live");
    let agent = site.start("web-1");
    site.weather.refuses_barriers(3).await;
    assert_eq!(site.live("web-1"), None, "it may be open by now, or not");
    site.weather.set_down(false);
    site.report("web-1", "old release", |report| report.runs(&id("1"))).await;
    site.open_barrier(2).await;
    site.report("web-1", "switch", |report| report.runs(&id("2"))).await;
    agent.end().await;
}

#[tokio::test]
async fn a_hook_that_was_cut_by_the_death_of_its_agent_runs_again() {
    let site = Site::new();
    let agent = site.start("web-1");
    let log = site.scratch("log");
    // The first run waits for ever; it is killed with its agent.
    let hook = format!("echo run >> {0}; test $(wc -l < {0}) -gt 1 || sleep 300", log.display());
    let both = [release("1", "", ""), release("2", "", &hook)];
    site.assign("web-1", &order(1, Some("1"), &both)).await;
    site.report("web-1", "settled host", |report| report.runs(&id("1")) && report.prepared.len() == 2).await;
    site.assign("web-1", &order(2, Some("2"), &both)).await;
    eventually("the hook runs", || log.exists()).await;
    agent.kill().await;
    assert_eq!(site.live("web-1").as_deref(), Some("2"));
    let agent = site.start("web-1");
    site.report("web-1", "whole activation", |report| report.runs(&id("2"))).await;
    assert_eq!(fs::read_to_string(&log).expect("a log"), "run\nrun\n");
    agent.end().await;
}

#[tokio::test]
async fn a_broken_state_file_is_put_aside_and_the_order_is_taken_anew() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    agent.end().await;
    let state = site.scratch("web-1/state/targets");
    fs::write(state.join("production.shop.files.json"), b"\0\0\0").expect("room");
    let agent = site.start("web-1");
    eventually("a new memory", || {
        fs::read_to_string(state.join("production.shop.files.json"))
            .is_ok_and(|text| text.contains("generation"))
    })
    .await;
    let names = fs::read_dir(&state).expect("a folder").map(|file| file.expect("a file").file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().contains("unreadable")));
    assert_eq!(site.live("web-1").as_deref(), Some("1"));
    agent.end().await;
}

#[tokio::test]
async fn an_order_of_a_newer_format_is_left_alone() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    let key = Key::Assignment("web-1".parse().expect("a host"), target());
    site.put(&key, br#"{"format":99,"all":"different"}"#.to_vec()).await;
    fs::remove_file(site.path("web-1", "live")).expect("it was live");
    eventually("it still obeys the order it knows", || site.live("web-1").as_deref() == Some("1")).await;
    site.assign("web-1", &order(2, Some("2"), &[release("1", "", ""), release("2", "", "")])).await;
    site.report("web-1", "readable order", |report| report.runs(&id("2"))).await;
    agent.end().await;
}

#[tokio::test]
async fn an_order_that_cannot_be_remembered_is_not_obeyed() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    // A folder stands where the new memory is written: as good as a full disk, also for root.
    let blocker = site.scratch("web-1/state/targets/production.shop.files.json.new");
    eventually("the last memory is written", || fs::create_dir(&blocker).is_ok()).await;
    site.assign("web-1", &order(2, Some("2"), &[release("1", "", ""), release("2", "", "")])).await;
    let report = site.report("web-1", "failure", |report| !report.failed.is_empty()).await;
    assert!(report.failed[&id("2")].reason.contains("cannot remember the order"), "{report:?}");
    assert_eq!((report.generation.counter, site.live("web-1").as_deref()), (1, Some("1")));
    fs::remove_dir(&blocker).expect("it was there");
    let report = site.report("web-1", "obeyed order", |report| report.runs(&id("2"))).await;
    assert!(report.failed.is_empty());
    agent.end().await;
}

#[tokio::test]
async fn an_agent_that_cannot_see_its_disk_says_nothing_old_about_it() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    let (versions, aside) = (site.path("web-1", "versions"), site.path("web-1", "versions.aside"));
    fs::rename(&versions, &aside).expect("it was there");
    fs::write(&versions, "not a folder").expect("room");
    site.assign("web-1", &order(2, Some("2"), &[release("1", "", ""), release("2", "", "")])).await;
    let report = site.report("web-1", "blindness", |report| report.generation.counter == 2).await;
    assert!(report.drift.as_deref().is_some_and(|drift| drift.starts_with("cannot be seen")), "{report:?}");
    assert_eq!((report.live, report.prepared.len()), (None, 0), "nothing is known under the new order");
    fs::remove_file(&versions).expect("it was written");
    fs::rename(&aside, &versions).expect("it was put aside");
    agent.end().await;
}

#[tokio::test]
async fn a_worker_that_panics_is_reported_and_replaced_and_the_others_work_on() {
    let site = Site::new();
    let agent = site.start("web-1");
    with_two_releases(&site, "web-1").await;
    let other = "production.blog.files".parse().expect("a target");
    site.assign_to("web-1", &other, &order(1, Some("1"), &[release("1", "", "")])).await;
    let other_live = site.scratch("web-1/apps/production/blog/live");
    eventually("the other app runs", || other_live.exists()).await;

    // What runs is not what the order begins with, so that the worker reads the barrier, where the fault waits.
    site.weather.plant_faults(3);
    let both = [release("1", "", ""), release("2", "", "")];
    site.assign("web-1", &switching("2", order(2, None, &both))).await;
    let report = site.report("web-1", "failure", |report| !report.failed.is_empty()).await;
    assert_eq!(report.generation.counter, 2);
    assert_eq!(report.failed[&id("2")].reason, "footplate has a fault: the planted fault");

    fs::remove_file(&other_live).expect("it was live");
    eventually("the other app is repaired", || other_live.exists()).await;
    site.open_barrier(2).await;
    let report = site.report("web-1", "switch", |report| report.runs(&id("2"))).await;
    assert!(report.failed.is_empty(), "{report:?}");
    assert_eq!(site.weather.faults_left(), 0);

    // Also one that panics again and again hears the next order, and lets the agent end.
    site.weather.plant_faults(u32::MAX);
    site.assign("web-1", &switching("1", order(3, None, &both))).await;
    site.report("web-1", "failure", |report| !report.failed.is_empty()).await;
    site.assign("web-1", &order(4, Some("1"), &both)).await;
    site.report("web-1", "next release", |report| report.runs(&id("1")) && report.failed.is_empty()).await;
    agent.end().await;
}
