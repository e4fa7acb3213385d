//! The rule that `core` can be read from top to bottom.

use super::{Finding, Rule};
use crate::source::Source;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "a module of core imports only those above it in lib.rs",
    because: "core is read in that order; a circle between two modules means that they are one noun, or that a third is missing",
    next: "move the module down in lib.rs, or move what both need into one that stands above them",
    judge,
};

const ROOT: &str = "crates/core/src/lib.rs";

fn judge(tree: &Tree) -> Vec<Finding> {
    let Some(root) = tree.text(ROOT) else {
        return Vec::new();
    };
    let order: Vec<&str> = root.lines().filter_map(module_name).collect();
    let place = |name: &str| order.iter().position(|module| *module == name);
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let Some(own) = path.strip_prefix("crates/core/src/").and_then(|rest| rest.split(['/', '.']).next())
        else {
            continue;
        };
        for mention in Source::parse(path, text).mentions("crate") {
            let other = mention.path.split("::").nth(1).unwrap_or_default();
            if place(own).zip(place(other)).is_some_and(|(here, there)| there > here) {
                let what = format!("`{own}` imports `{other}`, which stands below it");
                findings.push(Finding::new(path, mention.line, what));
            }
        }
    }
    findings.dedup();
    findings
}

fn module_name(line: &str) -> Option<&str> {
    line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "))?.strip_suffix(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_from_below_is_found() {
        let findings = judge(&Tree::from(&[
            (ROOT, "pub mod name;\npub mod target;\n"),
            ("crates/core/src/name.rs", "use crate::target::Target;\n"),
            ("crates/core/src/target.rs", "use crate::name::{App, Host};\nuse crate::target::own;\n"),
        ]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].path, "crates/core/src/name.rs");
    }
}
