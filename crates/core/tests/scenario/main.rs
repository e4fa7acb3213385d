//! Stories: what people, hosts and time do, line by line, and what the core says to it, indented below.
//!
//! A story is its own expectation. To write one, give the lines without answers, run it, and read what it says.

#![allow(clippy::unwrap_used)] // The stage of a test: what cannot be parsed is a mistake in the story.

mod deliveries;
mod deploys;
mod gates;
mod groups;
mod hosts;
mod judged;
mod new_groups;
mod openings;
mod outlines;
mod people;
mod rollbacks;
mod routers;
mod seconds;
mod services;
mod stage;
mod trouble;
mod wellness;

use stage::play;

/// Plays a story and expects the answers that stand in it.
fn check(story: &str) {
    check_from(&[], story);
}

/// Plays what a story opens with and then the story, and expects the answers that stand in both.
fn check_from(opening: &[&str], story: &str) {
    let expected: Vec<&str> = opening.iter().chain([&story]).flat_map(|part| lines(part)).collect();
    let told = play(expected.iter().copied().filter(|line| !line.starts_with(' ')));
    let expected = expected.join("\n");
    assert!(told == expected, "the story went like this:\n{told}\n\nand not like this:\n{expected}");
}

/// Returns the lines of a part of a story without the indent that they share.
fn lines(part: &str) -> impl Iterator<Item = &str> {
    let lines = || part.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines().map(move |line| &line[indent..])
}
