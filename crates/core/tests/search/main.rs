//! Every interleaving of one small rollout: reports, deaths, failures, commands, deadlines and late writes, in any order, with
//! the real machine and the real planner, and the promises as properties.
//!
//! `FOOTPLATE_SEARCH=large` searches three targets with more trouble.

#![allow(clippy::unwrap_used)] // What a test cannot parse is a mistake in the test.

use footplate_core::rollout::{Kind, OnFailedActivation, OnVanished};
use stateright::{Checker, Model};

use model::{Budget, Field};

mod model;
mod properties;

fn search(name: &str, field: Field) {
    let begun = std::time::Instant::now();
    let checker = field.checker().spawn_dfs().join();
    let (visited, different) = (checker.state_count(), checker.unique_state_count());
    println!(
        "{name}: {visited} states visited, {different} different ones, {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}

fn budget(commands: u8, deaths: u8, reimages: u8, failures: u8) -> Budget {
    Budget { commands, deaths, reimages, failures }
}

/// Returns the larger budget when a long search was asked for.
fn or_large(small: Budget, large: Budget) -> Budget {
    match std::env::var("FOOTPLATE_SEARCH").as_deref() {
        Ok("large") => large,
        Ok(other) => panic!("FOOTPLATE_SEARCH can be `large`, not `{other}`"),
        Err(_) => small,
    }
}

#[test]
fn every_interleaving_of_two_targets_keeps_the_promises() {
    for (on_failed, on_vanished) in [
        (OnFailedActivation::Rollback, OnVanished::Fail),
        (OnFailedActivation::Rollback, OnVanished::GoOn),
        (OnFailedActivation::Keep, OnVanished::Fail),
        (OnFailedActivation::Keep, OnVanished::GoOn),
    ] {
        let mut field = Field::new(2, Kind::Deploy, true);
        field.policy.on_failed_activation = on_failed;
        field.policy.on_vanished = on_vanished;
        field.budget = or_large(budget(1, 0, 0, 1), budget(1, 1, 0, 1));
        search(&format!("{on_failed:?} {on_vanished:?}"), field);
    }
}

#[test]
fn every_interleaving_of_a_hold_keeps_the_promises() {
    let mut field = Field::new(2, Kind::Deploy, true);
    field.policy.hold = true;
    field.budget = or_large(budget(2, 0, 0, 0), budget(3, 0, 1, 0));
    search("hold", field);
}

#[test]
fn every_interleaving_of_a_first_deployment_keeps_the_promises() {
    let mut field = Field::new(2, Kind::Deploy, false);
    field.budget = or_large(budget(1, 1, 0, 1), budget(2, 2, 1, 2));
    search("first deployment", field);
}

#[test]
fn every_interleaving_of_a_rollback_keeps_the_promises() {
    let mut field = Field::new(2, Kind::Rollback, true);
    field.budget = or_large(budget(1, 0, 0, 1), budget(1, 1, 1, 1));
    search("rollback", field);
}

#[test]
fn every_interleaving_of_three_targets_keeps_the_promises() {
    let mut field = Field::new(3, Kind::Deploy, true);
    field.budget = or_large(budget(0, 0, 0, 0), budget(1, 0, 0, 1));
    search("three targets", field);
}
