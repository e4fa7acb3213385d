//! A store that is away for a while, and hosts that boot meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use crate::is_long;
use crate::site::{HOSTS, Site};
use footplate_testkit::process::{eventually, poll_pause};

#[test]
fn a_store_that_is_away_stops_nothing_and_the_rollout_goes_on_after() {
    let mut site = Site::start();
    site.push_with("2", "cp page prepared; sleep 1", "cp page activated");
    let mut rollout = site.deploy("2");
    eventually("the agents prepare", || HOSTS.iter().all(|host| site.path(host, "versions/2").exists()));
    site.store.take().expect("it runs").kill();
    for host in HOSTS {
        site.agents.get_mut(host).expect("it runs").wait_for("cannot ");
    }
    let begun = Instant::now();
    while is_long() && begun.elapsed() < Duration::from_secs(60) {
        site.all_are("1", "1");
        poll_pause();
    }
    site.all_are("1", "1");
    assert!(rollout.goes_on(), "{}", rollout.said());
    for host in HOSTS {
        assert!(site.agents.get_mut(host).expect("it was started").is_running(), "{host} ended");
    }
    site.start_store();
    rollout.must_be_done();
    site.all_run("2");
}

#[test]
fn a_host_that_boots_without_a_store_runs_what_it_ran() {
    let mut site = Site::start();
    site.store.take().expect("it runs").kill();
    site.kill_agent("h1");
    fs::remove_file(site.path("h1", "live")).expect("it was live");
    site.start_agent("h1", None);
    eventually("it runs again", || site.live("h1").as_deref() == Some("1"));
    site.start_store();
    site.push("2");
    site.deploy("2").must_be_done();
    site.all_run("2");
}
