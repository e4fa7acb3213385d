//! The house rules: what the compiler and clippy cannot know about this project. One file a rule.
//!
//! A rule is a pure function from the tree's text to findings, and every message teaches: what is wrong, why it matters,
//! where to go. A rule that can be checked is checked here; nothing is held only by habit.

mod core_dependencies;
mod core_order;
mod core_purity;
mod families;
mod length;
mod links;
mod machine_traces;
mod names;
mod opening;
mod own_projects;
mod processes;
mod roles;
mod sleeping;
mod tested_commands;
mod unfinished;
mod unwrapping;

use crate::tree::Tree;
use std::fmt;

/// A rule, with the sentences that a developer reads when it is broken.
pub struct Rule {
    /// What must hold.
    pub name: &'static str,
    /// Why it must hold.
    pub because: &'static str,
    /// What to do instead.
    pub next: &'static str,
    /// Lists the places that break it.
    pub judge: fn(&Tree) -> Vec<Finding>,
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    pub what: String,
}

impl Finding {
    /// Takes the place and what stands there.
    pub fn new(path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Every rule, the structure of the code first.
pub const RULES: [&Rule; 16] = [
    &core_purity::RULE,
    &core_order::RULE,
    &core_dependencies::RULE,
    &own_projects::RULE,
    &families::RULE,
    &roles::RULE,
    &processes::RULE,
    &opening::RULE,
    &length::RULE,
    &names::RULE,
    &unwrapping::RULE,
    &unfinished::RULE,
    &sleeping::RULE,
    &tested_commands::RULE,
    &links::RULE,
    &machine_traces::RULE,
];

/// Says whether `word` stands in `line` by itself, not as a part of a longer name.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    let (head, tail) = (word.starts_with(is_letter), word.ends_with(is_letter));
    line.match_indices(word).any(|(at, _)| {
        let longer_before = head && line[..at].ends_with(is_letter);
        let longer_behind = tail && line[at + word.len()..].starts_with(is_letter);
        !longer_before && !longer_behind
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_not_a_part_of_a_longer_name() {
        assert!(has_word("let a: Instant = b;", "Instant"));
        assert!(!has_word("let a: Instantaneous = b;", "Instant"));
        assert!(!has_word("my_async", "async") && has_word("a.await?", ".await"));
    }
}
