//! Agents, controllers and stores that are killed at every step, and at random.

use std::time::{Duration, Instant};

use footplate_drivers::failpoint;
use rand::Rng;

use crate::is_long;
use crate::site::{HOSTS, Site, random};
use footplate_testkit::process::{eventually, poll_pause};

/// How many random kills there are in the short run and in the long one.
const KILLS: (u32, u32) = (12, 200);

#[test]
fn an_agent_killed_at_any_step_ends_in_the_new_release() {
    let mut site = Site::start();
    let names = failpoint::NAMES.iter().filter(|name| !name.starts_with("controller."));
    for (version, name) in (1..).zip(names.filter(|name| **name != "agent.announced")) {
        let (old, new) = (version.to_string(), (version + 1).to_string());
        site.push(&new);
        site.kill_agent("h2");
        site.start_agent("h2", Some(name));
        site.agents.get_mut("h2").expect("just started").wait_for("announced");
        let rollout = site.deploy(&new);
        eventually(&format!("the agent dies at {name}"), || {
            site.all_are(&old, &new);
            !site.agents.get_mut("h2").expect("it was started").is_running()
        });
        site.all_are(&old, &new);
        site.agents.remove("h2");
        site.start_agent("h2", None);
        rollout.must_be_done();
        site.all_run(&new);
        println!("killed at {name}: done");
    }
}

#[test]
fn an_agent_killed_as_it_is_announced_takes_its_name_again() {
    let mut site = Site::start();
    site.kill_agent("h2");
    site.start_agent("h2", Some("agent.announced"));
    eventually("it dies", || !site.agents.get_mut("h2").expect("it was started").is_running());
    site.start_agent("h2", None);
    site.push("2");
    site.deploy("2").must_be_done();
    site.all_run("2");
}

fn a_controller_killed_at(name: &str) {
    let mut site = Site::start();
    site.push("2");
    site.controller.take().expect("it runs").kill();
    site.start_controller(Some(name));
    let rollout = (name != "controller.lease_taken").then(|| {
        site.controller.as_mut().expect("just started").wait_for("acting");
        site.deploy("2")
    });
    eventually(&format!("the controller dies at {name}"), || {
        site.all_are("1", "2");
        !site.controller.as_mut().expect("it was started").is_running()
    });
    site.start_controller(None);
    match rollout {
        None => site.deploy_patiently("2"),
        // Whoever watched may have given up; the rollout has not.
        Some(rollout) => println!("the command ended so: {}", rollout.end()),
    }
    site.all_run("2");
}

#[test]
fn a_controller_killed_with_the_lease_is_followed_by_the_next() {
    a_controller_killed_at("controller.lease_taken");
}

#[test]
fn a_controller_killed_after_the_records_is_followed_by_the_next() {
    a_controller_killed_at("controller.records_written");
}

#[test]
fn a_controller_killed_after_the_orders_is_followed_by_the_next() {
    a_controller_killed_at("controller.orders_written");
}

#[test]
fn agents_and_stores_killed_at_random_end_in_one_release() {
    let mut random = random();
    let mut site = Site::start();
    let kills = if is_long() { KILLS.1 } else { KILLS.0 };
    for version in 2..2 + kills {
        let (old, new) = ((version - 1).to_string(), version.to_string());
        site.push(&new);
        let rollout = site.deploy(&new);
        let (begun, wait) = (Instant::now(), Duration::from_millis(random.random_range(0..600)));
        while begun.elapsed() < wait {
            site.all_are(&old, &new);
            poll_pause();
        }
        match random.random_range(0..=HOSTS.len()) {
            0 => {
                site.store.take().expect("it runs").kill();
                site.all_are(&old, &new);
                site.start_store();
            }
            host => {
                let host = HOSTS[host - 1];
                site.kill_agent(host);
                site.all_are(&old, &new);
                site.start_agent(host, None);
            }
        }
        if !rollout.ends_well_unless_refused() {
            site.deploy_patiently(&new);
        }
        site.all_run(&new);
    }
}
