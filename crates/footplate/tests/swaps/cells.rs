//! Ten swaps and 50,000 requests for each strategy: none fails, and what lasts is waited for.

use std::time::Instant;

use crate::front::{Builtin, Front, Haproxy};
use crate::site::{Site, Version, must_be_done};
use crate::traffic::Traffic;
use crate::witness::Witnesses;

/// Swaps of a cell.
const SWAPS: usize = 10;
/// Requests of a cell, at least.
const REQUESTS: u64 = 50_000;
/// What all strategies have in common here.
pub const PACE: &str = "watch = \"50ms\"\nstep_deadline = \"60s\"";

/// Swaps versions under load, and returns how many requests there were.
fn swap<F: Front>(rollout: &str) {
    let begun = Instant::now();
    let rollout = format!("{rollout}\n{PACE}");
    let site = Site::<F>::start(2);
    let names: Vec<String> = (0..=SWAPS).map(|number| number.to_string()).collect();
    site.must_ship(&Version::good(&names[0], &rollout));
    let address = site.front.address();
    let traffic = Traffic::start(address);
    for pair in names.windows(2) {
        let witnesses = Witnesses::begin(&traffic.runtime, address, site.store(), pair[0].clone());
        let mut deploy = site.ship(&Version::good(&pair[1], &rollout));
        must_be_done(&mut deploy);
        witnesses.must_have_finished(&traffic.runtime);
    }
    println!("{SWAPS} swaps after {:?}", begun.elapsed());
    traffic.wait_for(REQUESTS.saturating_sub(traffic.done()));
    let outcome = traffic.must_be_whole();
    println!("{} requests after {:?}", outcome.requests, begun.elapsed());
    for name in names {
        let served = outcome.served_by.keys().any(|by| by.ends_with(&format!("/{name}")));
        assert!(served, "{name} answered nobody: {:?}", outcome.served_by);
    }
}

/// The strategies.
const BARRIER: &str = "strategy = \"barrier\"";
pub const ROLLING: &str = "strategy = \"rolling\"\nbatch = \"1\"";
pub const CANARY: &str = "strategy = \"canary\"\nramp = [\"10%\", \"50%\"]\nbatch = \"1\"";
const BLUE_GREEN: &str = "strategy = \"blue_green\"";

#[test]
fn swaps_of_all_hosts_at_once_lose_no_request() {
    swap::<Builtin>(BARRIER);
}

#[test]
fn rolling_swaps_lose_no_request() {
    swap::<Builtin>(ROLLING);
}

#[test]
fn swaps_by_a_canary_lose_no_request() {
    swap::<Builtin>(CANARY);
}

#[test]
fn swaps_of_blue_and_green_lose_no_request() {
    swap::<Builtin>(BLUE_GREEN);
}

#[test]
fn swaps_of_all_hosts_at_once_lose_no_request_behind_haproxy() {
    swap::<Haproxy>(BARRIER);
}

#[test]
fn rolling_swaps_lose_no_request_behind_haproxy() {
    swap::<Haproxy>(ROLLING);
}

#[test]
fn swaps_by_a_canary_lose_no_request_behind_haproxy() {
    swap::<Haproxy>(CANARY);
}

#[test]
fn swaps_of_blue_and_green_lose_no_request_behind_haproxy() {
    swap::<Haproxy>(BLUE_GREEN);
}
