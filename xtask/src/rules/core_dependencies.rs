//! The rule that bounds what `core` may bring in.

use super::{Finding, Rule};
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "core depends on serde, thiserror and libm, and nothing else",
    because: "whoever can reach a library from core can reach a clock or a socket through it",
    next: "put the code that needs the library into drivers or a role, and hand core the result",
    judge,
};

const ALLOWED: [&str; 3] = ["serde", "thiserror", "libm"];

fn judge(tree: &Tree) -> Vec<Finding> {
    let path = "crates/core/Cargo.toml";
    let names = dependencies(tree.text(path).unwrap_or_default());
    let foreign = names.into_iter().filter(|name| !ALLOWED.contains(&name.as_str()));
    foreign.map(|name| Finding::new(path, 1, format!("depends on `{name}`"))).collect()
}

/// Lists the names under `[dependencies]` and `[build-dependencies]` of a manifest.
pub fn dependencies(manifest: &str) -> Vec<String> {
    let table: toml::Table = manifest.parse().unwrap_or_default();
    let sections = ["dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|section| table.get(section)?.as_table());
    sections.flat_map(|section| section.keys().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_dependency_of_core_is_found_and_one_of_its_tests_is_not() {
        let manifest = "[dependencies]\nserde = \"1\"\ntokio = \"1\"\n[dev-dependencies]\nrand = \"1\"\n";
        let findings = judge(&Tree::from(&[("crates/core/Cargo.toml", manifest)]));
        assert_eq!(findings, [Finding::new("crates/core/Cargo.toml", 1, "depends on `tokio`")]);
    }
}
