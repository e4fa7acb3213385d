//! Every interleaving of one small rollout: reports, deaths, failures, commands, deadlines and late writes, in any order, with
//! the real machine and the real planner, and the promises as properties; [`steps`] does the same for rollouts in steps.
//!
//! `FOOTPLATE_SEARCH=large` searches with more trouble, and a whole deployment on three targets.

#![allow(clippy::unwrap_used)] // What a test cannot parse is a mistake in the test.

use footplate_core::rollout::{Kind, OnFailedActivation, OnVanished};
use stateright::{Checker, Model};

use model::{Budget, Field};

mod model;
mod properties;
mod steps;

fn search<M>(name: &str, field: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + std::hash::Hash + std::fmt::Debug + Send + Sync,
    M::Action: Clone + PartialEq + std::fmt::Debug,
{
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
    if is_large() { large } else { small }
}

fn is_large() -> bool {
    match std::env::var("FOOTPLATE_SEARCH").as_deref() {
        Ok("large") => true,
        Ok(other) => panic!("FOOTPLATE_SEARCH can be `large`, not `{other}`"),
        Err(_) => false,
    }
}

#[test]
fn every_interleaving_of_two_targets_keeps_the_promises() {
    use {OnFailedActivation as Failed, OnVanished as Vanished};
    for (on_failed, on_vanished, small) in [
        (Failed::Rollback, Vanished::Fail, budget(0, 0, 0, 1)),
        (Failed::Rollback, Vanished::Fail, budget(1, 0, 0, 0)),
        (Failed::Rollback, Vanished::GoOn, budget(0, 1, 0, 0)),
        (Failed::Keep, Vanished::GoOn, budget(0, 0, 0, 1)),
    ] {
        let mut field = Field::new(2, Kind::Deploy, true);
        field.policy.on_failed_activation = on_failed;
        field.policy.on_vanished = on_vanished;
        field.budget = or_large(small, budget(1, 1, 0, 1));
        search(&format!("{on_failed:?} {on_vanished:?} {small:?}"), field);
    }
}

#[test]
fn every_interleaving_of_a_hold_keeps_the_promises() {
    let mut field = Field::new(2, Kind::Deploy, true);
    field.policy.hold = true;
    field.budget = or_large(budget(1, 0, 0, 0), budget(3, 0, 1, 0));
    search("hold", field);
}

#[test]
fn every_interleaving_of_a_first_deployment_keeps_the_promises() {
    let mut field = Field::new(2, Kind::Deploy, false);
    field.budget = or_large(budget(1, 0, 0, 0), budget(1, 1, 0, 1));
    search("first deployment", field);
}

#[test]
fn every_interleaving_of_a_rollback_keeps_the_promises() {
    let mut field = Field::new(2, Kind::Rollback, true);
    field.budget = or_large(budget(0, 1, 0, 0), budget(1, 1, 0, 1));
    search("rollback", field);
}

#[test]
fn every_interleaving_of_three_targets_keeps_the_promises() {
    let mut back = Field::new(3, Kind::Rollback, true);
    back.budget = or_large(budget(0, 0, 0, 0), budget(1, 0, 0, 0));
    search("three targets, rollback", back);
    if is_large() {
        search("three targets", Field::new(3, Kind::Deploy, true));
    }
}
