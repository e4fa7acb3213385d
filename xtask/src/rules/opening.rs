//! The rule that a file says what it is before it does anything.

use super::{Finding, Rule};
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "every Rust file opens with `//!`, ten lines at most",
    because: "whoever opens a file for the first time wants to know which noun it holds and what must stay true of it",
    next: "write what the file is and its invariants; more than ten lines belong in ARCHITECTURE.md or on the items",
    judge,
};

const LINES_MAX: usize = 10;

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let lines = text.lines().take_while(|line| line.starts_with("//!")).count();
        match lines {
            0 => findings.push(Finding::new(path, 1, "does not open with `//!`")),
            1..=LINES_MAX => {}
            _ => findings.push(Finding::new(path, lines, format!("opens with {lines} lines of `//!`"))),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_opening_or_with_a_long_one_is_found() {
        let long = "//! a\n".repeat(11);
        let tree = Tree::from(&[
            ("a.rs", "//! What it is.\n"),
            ("b.rs", "use a;\n"),
            ("c.rs", &long),
            ("d.md", "text"),
        ]);
        let found: Vec<String> = judge(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["b.rs", "c.rs"]);
    }
}
