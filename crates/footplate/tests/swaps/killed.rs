//! Swaps while what drives them is killed or replaced, and services that are killed without warning.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use footplate_testkit::load::Load;
use footplate_testkit::process::{eventually, poll_pause};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::cells::{CANARY, PACE, ROLLING};
use crate::front::{Builtin, Front, Haproxy};
use crate::site::{Site, Version, must_be_done};
use crate::traffic::Traffic;
use crate::witness::Witnesses;

/// Swaps, each with one kill: twice the controller, each of the agents, and the router.
const SWAPS: usize = 6;
/// Requests that change something and are in flight when their service is killed.
const POSTS: usize = 16;
/// The last moment of a swap at which something is killed.
const MOMENT_MAX: Duration = Duration::from_secs(3);

/// Returns a generator whose seed is printed, and can be given back in `FOOTPLATE_SEED`.
fn random() -> SmallRng {
    let given = std::env::var("FOOTPLATE_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("FOOTPLATE_SEED={seed} replays this");
    rand::SeedableRng::seed_from_u64(seed)
}

fn poll_until(moment: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        poll_pause();
    }
}

/// Kills something and starts it again, or replaces the router.
fn disturb<F: Front>(site: &mut Site<F>, number: usize) {
    match number % 3 {
        0 => {
            site.kill_controller();
            site.start_controller();
        }
        1 => {
            let hosts = site.agents();
            let host = &hosts[number / 3 % hosts.len()];
            site.kill_agent(host);
            site.start_agent(host);
        }
        _ => site.front.upgrade(),
    }
}

fn swap_while_disturbed<F: Front>() {
    let mut random = random();
    let mut site = Site::<F>::start(2);
    let rollouts = [ROLLING, CANARY].map(|strategy| format!("{strategy}\n{PACE}"));
    site.must_ship(&Version::good("0", &rollouts[0]));
    let address = site.front.address();
    let traffic = Traffic::start(address);
    let first = random.random_range(0..3);
    for number in 0..SWAPS {
        let (old, new) = (number.to_string(), (number + 1).to_string());
        let witnesses = Witnesses::begin(&traffic.runtime, address, site.store(), old);
        let mut deploy = site.ship(&Version::good(&new, &rollouts[number % 2]));
        // Before, its answer could be lost with the controller, and a person would have to look.
        deploy.wait_for("in production, rollout");
        poll_until(random.random_range(Duration::ZERO..MOMENT_MAX));
        disturb(&mut site, first + number);
        must_be_done(&mut deploy);
        witnesses.must_have_finished(&traffic.runtime);
    }
    traffic.must_be_whole();
    site.front.elders_end();
}

#[test]
fn killed_controllers_and_agents_and_replaced_routers_lose_no_request() {
    swap_while_disturbed::<Builtin>();
}

#[test]
fn killed_controllers_and_agents_and_reloads_of_haproxy_lose_no_request() {
    swap_while_disturbed::<Haproxy>();
}

/// Waits until each of the posts has come to a service, and returns where by its number.
fn eventually_told<F: Front>(site: &Site<F>) -> BTreeMap<usize, &'static str> {
    let mut told = BTreeMap::new();
    eventually("every post has come to a service", || {
        for host in ["web-1", "web-2"] {
            let log = site.log(host, "1");
            let numbers = log.lines().filter_map(|line| line.strip_prefix("told ")?.parse().ok());
            told.extend(numbers.map(|number: usize| (number, host)));
        }
        told.len() == POSTS
    });
    told
}

fn kill_a_service<F: Front>() {
    let site = Site::<F>::start(2);
    site.must_ship(&Version::good("1", PACE));
    let address = site.front.address();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let gets = Load { path: "/small".into(), ..Load::new(address, 6) };
    let posting = Load {
        method: "POST".into(),
        path: "/echo".into(),
        body: vec![b'u'; 1_000],
        ..Load::new(address, 4)
    };
    let loads = [Load { keep_alive: false, clients: 3, ..gets.clone() }, gets];
    let (harmless, posting) = (loads.map(|load| load.start()), posting.start());
    let client = reqwest::Client::new();
    let posts: Vec<_> = (0..POSTS)
        .map(|number| {
            let post = client.post(format!("http://{address}/told/6000/{number}")).send();
            runtime.spawn(async { post.await.map(|answer| answer.status().as_u16()).unwrap_or(0) })
        })
        .collect();
    let told = eventually_told(&site);
    kill(site.service("web-1", "1").expect("it runs"));
    let statuses: Vec<u16> =
        posts.into_iter().map(|post| runtime.block_on(post).expect("no panic")).collect();
    let failed: BTreeSet<usize> = (0..POSTS).filter(|number| statuses[*number] != 200).collect();
    let on_it: BTreeSet<usize> =
        told.iter().filter(|(_, host)| **host == "web-1").map(|(number, _)| *number).collect();
    assert!(!on_it.is_empty() && on_it.len() < POSTS, "both had some: {told:?}");
    assert_eq!(failed, on_it, "exactly those that were in flight on it: {statuses:?}");
    assert!(on_it.iter().all(|number| statuses[*number] == 502), "{statuses:?}");
    eventually("its service is back", || site.service("web-1", "1").is_some());
    for load in harmless {
        let (before, outcome) = (load.done(), runtime.block_on(load.stop()));
        assert!(before > 50, "{before}");
        assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
    }
    let outcome = runtime.block_on(posting.stop());
    assert!(outcome.failed <= 4, "one in flight for each client: {:?}", outcome.failures);
}

#[test]
fn a_service_killed_without_warning_fails_only_what_was_in_flight_and_not_idempotent() {
    kill_a_service::<Builtin>();
}

#[test]
fn behind_haproxy_too_a_service_killed_without_warning_fails_only_what_was_in_flight_and_not_idempotent() {
    kill_a_service::<Haproxy>();
}

fn kill_the_last_service<F: Front>() {
    let site = Site::<F>::start(1);
    site.must_ship(&Version::good("1", PACE));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let load = Load { path: "/small".into(), ..Load::new(site.front.address(), 4) };
    let load = load.start();
    for _ in 0..2 {
        let before = load.done();
        eventually("it answers", || load.done() > before + 50);
        let old = site.service("web-1", "1").expect("it runs");
        kill(old);
        eventually("it is started again", || site.service("web-1", "1").is_some_and(|pid| pid != old));
    }
    let before = load.done();
    eventually("it answers", || load.done() > before + 50);
    let outcome = runtime.block_on(load.stop());
    assert_eq!(outcome.failed, 0, "{:?}", outcome.failures);
}

#[test]
fn requests_wait_while_the_only_service_is_started_again() {
    kill_the_last_service::<Builtin>();
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}
