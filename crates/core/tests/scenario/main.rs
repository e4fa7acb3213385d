//! Stories: what people, hosts and time do, line by line, and what the core says to it, indented below.
//!
//! A story is its own expectation. To write one, give the lines without answers, run it, and read what it says.

#![allow(clippy::unwrap_used)] // The stage of a test: what cannot be parsed is a mistake in the story.

mod deliveries;
mod deploys;
mod hosts;
mod outlines;
mod people;
mod rollbacks;
mod routers;
mod seconds;
mod services;
mod stage;
mod trouble;

use stage::play;

/// Plays a story and expects the answers that stand in it.
fn check(story: &str) {
    let expected: Vec<&str> = story.lines().filter(|line| !line.trim().is_empty()).collect();
    let indent = expected.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expected: Vec<&str> = expected.into_iter().map(|line| &line[indent..]).collect();
    let told = play(expected.iter().copied().filter(|line| !line.starts_with(' ')));
    let expected = expected.join("\n");
    assert!(told == expected, "the story went like this:\n{told}\n\nand not like this:\n{expected}");
}
