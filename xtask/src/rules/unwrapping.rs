//! The rule that the product does not panic on bad luck.

use super::{Finding, Rule};
use crate::source::Source;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "no unwrap outside tests",
    because: "an agent that panics on a full disk takes every app on its host out of reach",
    next: "return the error in three parts, or use `expect(\"why it cannot fail\")`",
    judge,
};

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        for (number, line) in Source::parse(path, text).product() {
            if line.contains(".unwrap()")
                || line.contains(".unwrap_err()")
                || line.contains("allow(clippy::unwrap_used")
            {
                findings.push(Finding::new(path, number, line.trim()));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwrap_in_the_product_is_found() {
        let text = "fn a() { b().unwrap() }\nfn c() { d().unwrap_or_default() } // .unwrap()\n";
        let found = judge(&Tree::from(&[("crates/kv/src/a.rs", text), ("crates/kv/tests/it/a.rs", text)]));
        assert_eq!(found, [Finding::new("crates/kv/src/a.rs", 1, "fn a() { b().unwrap() }")]);
    }
}
