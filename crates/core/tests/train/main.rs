//! The deploy train: stories that say what happens line by line, and whole lanes under a seed with every promise judged at every step.
//!
//! A story is its own expectation: give the lines without answers, run it, and read what it says. `FOOTPLATE_TRAIN_SEEDS=N` plays N
//! lanes; `FOOTPLATE_TRAIN_SEED=K` plays lane K alone and tells its story.

#![allow(clippy::unwrap_used)] // What a test cannot parse is a mistake in the test.

mod stage;
mod trips;

/// Plays a story and expects the answers that stand in it.
fn check(story: &str) {
    let lines = || story.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expected: Vec<&str> = lines().map(|line| &line[indent..]).collect();
    let told = stage::play(expected.iter().copied().filter(|line| !line.starts_with(' ')));
    let expected = expected.join("\n");
    assert!(told == expected, "the story went like this:\n{told}\n\nand not like this:\n{expected}");
}
