//! The rule that a file holds one noun.

use super::{Finding, Rule};
use crate::source::is_test_file;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "a Rust file has at most 400 lines, a file of tests 600",
    because: "a file that holds one noun is found by its name and read in one go",
    next: "give the second noun a file of its own",
    judge,
};

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let lines_max = if is_test_file(path) { 600 } else { 400 };
        let lines = text.lines().count();
        if lines > lines_max {
            findings.push(Finding::new(path, lines, format!("has {lines} lines, {lines_max} are allowed")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_may_be_longer_than_the_product() {
        let text = "\n".repeat(500);
        let found = judge(&Tree::from(&[("crates/kv/src/a.rs", &text), ("crates/kv/tests/it/a.rs", &text)]));
        assert_eq!(found, [Finding::new("crates/kv/src/a.rs", 500, "has 500 lines, 400 are allowed")]);
    }
}
