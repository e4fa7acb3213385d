//! Every interleaving of one small rollout in steps: a controller whose turns are cut, agents that start and stop services,
//! a router that reads in two pieces and has requests in flight, deadlines that pass at any moment.

use footplate_core::rollout::{Pace, Portion, Strategy};
use std::time::Duration;

use crate::is_large;
use field::{Budget, Field};

mod field;
mod machine;
mod properties;

fn budget(deadlines: u8, failures: u8, cuts: u8, requests: u8, commands: u8) -> Budget {
    Budget { deadlines, failures, cuts, requests, commands, absences: 0 }
}

/// The router's agent goes away at any moment, with a request in flight, and comes back at any other.
fn absence() -> Budget {
    Budget { absences: 1, ..budget(0, 0, 0, 1, 0) }
}

fn pace() -> Pace {
    Pace { watch: Duration::from_secs(1), soak: Duration::from_secs(1), ..Pace::default() }
}

fn rolling() -> Strategy {
    Strategy::Rolling { batch: Portion::Count(1) }
}

fn canary() -> Strategy {
    Strategy::Canary { ramp: vec!["50%".parse().unwrap()], batch: Portion::Count(1) }
}

/// The troubles that each strategy meets: one at a time, or all of them in a long search.
fn troubles() -> Vec<Budget> {
    match is_large() {
        true => vec![
            budget(1, 1, 1, 1, 0),
            budget(1, 0, 0, 1, 1),
            budget(0, 1, 1, 1, 1),
            Budget { failures: 1, ..absence() },
        ],
        false => vec![budget(1, 0, 0, 0, 0), budget(0, 1, 0, 0, 0), budget(0, 0, 1, 1, 0), absence()],
    }
}

fn search(name: &str, hosts: usize, strategy: Strategy, pace: Pace) {
    for trouble in troubles() {
        let field = Field::new(hosts, strategy.clone(), pace.clone(), trouble);
        crate::search(&format!("{name}, {hosts} hosts, {trouble:?}"), field);
    }
}

#[test]
fn every_interleaving_of_a_rolling_rollout_keeps_the_promises() {
    search("rolling", 2, rolling(), pace());
}

#[test]
fn every_interleaving_of_a_person_who_interrupts_keeps_the_promises() {
    let field = Field::new(2, rolling(), pace(), budget(0, 0, 0, 0, 1));
    crate::search("rolling, 2 hosts, a person", field);
}

#[test]
fn every_interleaving_of_a_canary_keeps_the_promises() {
    search("canary", 2, canary(), pace());
}

#[test]
fn every_interleaving_of_blue_green_keeps_the_promises() {
    search("blue/green", 2, Strategy::BlueGreen, pace());
}

#[test]
fn every_interleaving_of_releases_that_may_not_run_twice_keeps_the_promises() {
    search("alone", 2, rolling(), Pace { alone: true, ..pace() });
}
