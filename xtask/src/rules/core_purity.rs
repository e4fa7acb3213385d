//! The rule that keeps `core` free of IO, clocks, waiting, randomness and unordered maps.

use super::{Finding, Rule, has_word};
use crate::source::Source;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "core is pure",
    because: "the same input must give the same answer on every machine; the simulation and the search replay it",
    next: "take what was read as an argument (time is `moment::Moment`), or move the code to drivers or a role",
    judge,
};

const FORBIDDEN: [&str; 22] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io",
    "std::time::Instant",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "async",
    ".await",
    "tokio",
    "rand",
    "thread_rng",
    "println!",
    "eprintln!",
    "Mutex",
    "RwLock",
    "unsafe",
];

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("crates/core/src/")) {
        for (number, line) in Source::parse(path, text).product() {
            let words = FORBIDDEN.iter().filter(|word| has_word(line, word));
            findings.extend(words.map(|word| Finding::new(path, number, format!("`{word}` in core"))));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_core_is_found_but_not_in_its_comments_or_tests() {
        let text = "//! Not an Instant.\nuse std::collections::BTreeMap;\nfn f() { Instant::now(); }\n\
                    #[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        let findings = judge(&Tree::from(&[("crates/core/src/a.rs", text), ("crates/kv/src/a.rs", text)]));
        assert_eq!(findings, [Finding::new("crates/core/src/a.rs", 3, "`Instant` in core")]);
    }
}
