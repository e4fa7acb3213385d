//! The rule that the project speaks of itself alone: no path of the machine it was written on, no registry's address.
//! The traces are put together here from pieces, so that this file holds none of them.

use super::{Finding, Rule};
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "no path of a machine and no registry's host in a file",
    because: "whoever clones this has other folders and another mirror; a fixed address fails there, late and far from here",
    next: "read the address from the machine's own configuration, or speak of the thing without its place",
    judge,
};

const TRACES: [&str; 11] = [
    concat!("/wor", "k/"),
    concat!("/far", "m/"),
    concat!("bash_", "jobs"),
    concat!("/ro", "ot/"),
    concat!("crat", "es.io"),
    concat!("do", "cs.rs"),
    concat!("py", "pi.org"),
    concat!("python", "hosted"),
    concat!("npm", "js."),
    concat!("deb.", "debian"),
    concat!("static.", "rust-lang"),
];

/// Written by package managers, which put the registry's address there.
const LOCK_FILES: [&str; 2] = ["Cargo.lock", "package-lock.json"];

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let written_by_us = |path: &str| !LOCK_FILES.contains(&path.rsplit('/').next().unwrap_or(path));
    for (path, text) in tree.texts().filter(|(path, _)| written_by_us(path)) {
        for (index, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let traces = TRACES.iter().filter(|trace| lower.contains(**trace));
            findings.extend(traces.map(|trace| Finding::new(path, index + 1, format!("`{trace}`"))));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_of_a_machine_is_found_but_not_in_a_lock_file() {
        let text = format!("see {}notes\n", TRACES[3]);
        let found = judge(&Tree::from(&[("docs/a.md", &text), ("Cargo.lock", &text)]));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
