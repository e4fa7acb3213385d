//! Whole fleets under a seed: real planner, real turn, real records, everything else simulated, and every promise judged at
//! every step.
//!
//! `FOOTPLATE_SIMULATION_SEEDS=N` plays N fleets (2,000 when unset); `FOOTPLATE_SIMULATION_SEED=K` plays fleet K alone and
//! tells its story.

#![allow(clippy::unwrap_used)] // What a test cannot parse is a mistake in the test.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use footplate_core::rollout::Outcome;

use mutation::Mutation;
use world::{Broken, World};

mod agents;
mod controller;
mod controllers;
mod judge;
mod knobs;
mod machine;
mod mutation;
mod people;
mod promises;
mod routers;
mod service;
mod store;
mod story;
mod world;

const SEEDS: u64 = 2000;
/// The parts of a step; a rollout turns back from each of them, in the first step and in a later one.
const PARTS: [&str; 10] = [
    "holding",
    "calling",
    "withdrawing",
    "emptying",
    "starting",
    "accepting",
    "shifting",
    "draining",
    "stopping",
    "watching",
];

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not `{text}`")))
}

fn play(seed: u64, mutation: Option<Mutation>) -> Result<World, Broken> {
    let mut world = World::new(seed, mutation, false);
    world.run()?;
    Ok(world)
}

fn tell(seed: u64, mutation: Option<Mutation>) -> String {
    let mut world = World::new(seed, mutation, true);
    let end = match world.run() {
        Ok(()) => "every promise was kept".to_owned(),
        Err(broken) => format!("broken: {}: {}", broken.promise, broken.how),
    };
    format!("{}\n{end}", world.story())
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::DoneExcept { .. } => "done except",
        Outcome::Failed { deadline: false, .. } => "failed",
        Outcome::Failed { deadline: true, .. } => "failed at a deadline",
        Outcome::Aborted { .. } => "aborted",
        Outcome::TurnedBack { .. } => "turned back",
        Outcome::LeftAsIs { .. } => "left as it is",
        Outcome::Replaced { .. } => "replaced",
    }
}

/// How much of a broken fleet's story is told when it is not replayed alone.
const LAST_LINES: usize = 120;

/// How the rollouts of many fleets ended.
#[derive(Default)]
struct Census {
    ends: BTreeMap<&'static str, u64>,
    /// At which step and part they turned back.
    turned: BTreeMap<(u32, &'static str), u64>,
    /// The fleets in which a promise broke.
    broken: BTreeMap<u64, Broken>,
}

impl Census {
    fn count(&mut self, world: World) {
        world.turned.iter().for_each(|place| *self.turned.entry(*place).or_default() += 1);
        for rollout in world.ended {
            *self.ends.entry(word(rollout.outcome().expect("it ended"))).or_default() += 1;
        }
    }
}

/// Plays these fleets on all processors.
fn census(seeds: u64) -> Census {
    let (next, census) = (AtomicU64::new(0), Mutex::new(Census::default()));
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return;
        }
        let played = play(seed, None);
        let mut census = census.lock().expect("no fleet panics while it is counted");
        match played {
            Ok(world) => census.count(world),
            Err(broken) => {
                eprintln!("fleet {seed} breaks `{}`: {}", broken.promise, broken.how);
                census.broken.insert(seed, broken);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    census.into_inner().expect("no fleet panics while it is counted")
}

#[test]
fn simulated_fleets_keep_every_promise() {
    if let Some(seed) = number("FOOTPLATE_SIMULATION_SEED") {
        let story = tell(seed, None);
        println!("{story}");
        assert!(story.ends_with("every promise was kept"), "fleet {seed} breaks a promise");
        return;
    }
    let seeds = number("FOOTPLATE_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let Census { ends, turned, broken } = census(seeds);
    if let Some(seed) = broken.keys().next() {
        let story = tell(*seed, None);
        let lines: Vec<&str> = story.lines().collect();
        let end = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        let all: Vec<&u64> = broken.keys().collect();
        panic!(
            "fleet {seed} breaks `{}`: {}\n{end}\nbroken in all: {all:?}; replay one with FOOTPLATE_SIMULATION_SEED={seed}",
            broken[seed].promise, broken[seed].how,
        );
    }
    println!("{seeds} fleets, rollouts that ended: {ends:?}");
    println!("that turned back at a step, by its part: {turned:?}");
    if seeds >= SEEDS {
        assert_eq!(ends.len(), 8, "every kind of end must occur, or the fleets are too tame: {ends:?}");
        let missed = PARTS.iter().find(|part| !turned.contains_key(&(0, *part)));
        assert_eq!(missed, None, "no rollout turned back there, or the fleets are too tame: {turned:?}");
        // Routers are called before the first step alone. Later steps try the hook while they start and while they are watched, so
        // that accepting itself hardly waits.
        let later = PARTS.iter().filter(|part| !["calling", "accepting"].contains(part));
        let missed = later.into_iter().find(|part| (1..=2).all(|step| !turned.contains_key(&(step, *part))));
        assert_eq!(missed, None, "no later step turned back there, or the fleets are too tame: {turned:?}");
    }
}

#[test]
fn simulated_fleets_catch_every_planted_fault() {
    for mutation in Mutation::ALL {
        let caught =
            (0..3 * SEEDS).find_map(|seed| play(seed, Some(mutation)).err().map(|broken| (seed, broken)));
        match caught {
            Some((seed, broken)) => {
                println!("{mutation:?}: fleet {seed} breaks `{}`: {}", broken.promise, broken.how)
            }
            None => panic!("{mutation:?} passes every promise"),
        }
    }
}
