//! The deploy train: stories that say what happens line by line, and whole lanes under a seed with every promise judged at every step.
//!
//! A story is its own expectation: give the lines without answers, run it, and read what it says. `FOOTPLATE_TRAIN_SEEDS=N` plays N
//! lanes; `FOOTPLATE_TRAIN_SEED=K` plays lane K alone and tells its story.

#![allow(clippy::unwrap_used)] // What a test cannot parse is a mistake in the test.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::train::Stage;

use mutation::Mutation;
use world::World;

mod batches;
mod deadlines;
mod emergencies;
mod moving;
mod mutation;
mod openings;
mod outside;
mod promises;
mod stage;
mod trips;
mod undone;
mod waits;
mod world;

const SEEDS: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not `{text}`")))
}

fn tell(seed: u64, mutation: Option<Mutation>) -> String {
    let mut world = World::new(seed, mutation, true);
    let end = world.run().err().unwrap_or_else(|| "every promise was kept".to_owned());
    let story = world.story();
    let lines: Vec<&str> = story.lines().collect();
    format!("{}\n{end}", lines[lines.len().saturating_sub(200)..].join("\n"))
}

#[test]
fn simulated_lanes_keep_every_promise() {
    if let Some(seed) = number("FOOTPLATE_TRAIN_SEED") {
        let story = tell(seed, None);
        println!("{story}");
        assert!(story.ends_with("every promise was kept"), "lane {seed} breaks a promise");
        return;
    }
    let seeds = number("FOOTPLATE_TRAIN_SEEDS").unwrap_or(SEEDS);
    let (mut ends, mut turned, mut broken) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for seed in 0..seeds {
        let mut world = World::new(seed, None, false);
        if let Err(how) = world.run() {
            broken.push(format!("lane {seed}: {how}"));
        }
        turned.extend(world.turned);
        for (word, count) in world.ends {
            *ends.entry(word).or_insert(0) += count;
        }
    }
    assert!(
        broken.is_empty(),
        "{} lanes break a promise: {:#?}",
        broken.len(),
        &broken[..broken.len().min(20)]
    );
    println!("{seeds} lanes, changes that ended: {ends:?}");
    println!("taken back from: {turned:?}");
    if seeds >= SEEDS {
        assert_eq!(ends.len(), 7, "every kind of end must occur, or the lanes are too tame: {ends:?}");
        let back = Stage::ALL.iter().filter(|stage| **stage >= Stage::Boarding && **stage < Stage::Undoing);
        let missed: Vec<&Stage> = back.filter(|stage| !turned.contains(stage)).collect();
        assert!(missed.is_empty(), "no trip was taken back from {missed:?}, or the lanes are too tame");
    }
}

#[test]
fn simulated_lanes_catch_every_planted_fault() {
    for mutation in Mutation::ALL {
        let caught = (0..SEEDS).find_map(|seed| {
            World::new(seed, Some(mutation), false).run().err().map(|broken| (seed, broken))
        });
        match caught {
            Some((seed, broken)) => println!("{mutation:?}: lane {seed}: {broken}"),
            None => panic!("{mutation:?} passes every promise"),
        }
    }
}

/// Plays a story and expects the answers that stand in it.
fn check(story: &str) {
    check_from(&[], story);
}

/// The same for a story that opens with these parts.
fn check_from(opening: &[&str], story: &str) {
    let expected: Vec<&str> = opening.iter().chain([&story]).flat_map(|part| lines(part)).collect();
    let told = stage::play(expected.iter().copied().filter(|line| !line.starts_with(' ')));
    let expected = expected.join("\n");
    assert!(told == expected, "the story went like this:\n{told}\n\nand not like this:\n{expected}");
}

/// Returns the lines of a part of a story without the indent that they share.
fn lines(part: &str) -> impl Iterator<Item = &str> {
    let lines = || part.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines().map(move |line| &line[indent..])
}
