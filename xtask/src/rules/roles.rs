//! The rule that keeps the roles of the binary apart.

use super::{Finding, Rule};
use crate::source::Source;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "agent and controller never import each other, and cli imports no store driver",
    because: "decisions meet only in the store; a command that wrote there would act without lease, record and audit",
    next: "say it through the store's keys (`core::record`) or the controller's API (`footplate::api`)",
    judge,
};

/// Where a path may not be named: the folder, the root of the path, the path.
const APART: [(&str, &str, &str); 4] = [
    ("crates/footplate/src/agent", "crate", "crate::controller"),
    ("crates/footplate/src/controller", "crate", "crate::agent"),
    ("crates/footplate/src/cli", "footplate_drivers", "footplate_drivers::store"),
    ("crates/footplate/src/depro", "crate", "crate::controller"),
];

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let applies =
            |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(['/', '.']));
        for (_, root, forbidden) in APART.iter().filter(|(folder, ..)| applies(folder)) {
            let mentions = Source::parse(path, text).mentions(root).into_iter();
            let wrong = mentions.filter(|mention| is_below(&mention.path, forbidden));
            findings.extend(
                wrong.map(|mention| Finding::new(path, mention.line, format!("names `{}`", mention.path))),
            );
        }
    }
    findings
}

fn is_below(path: &str, forbidden: &str) -> bool {
    path.strip_prefix(forbidden).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_know_each_other_are_found() {
        let text = "use crate::controller::worker;\nuse footplate_drivers::{shell, store::open};\nuse crate::agent::run;\n";
        let lines = |path: &str| {
            judge(&Tree::from(&[(path, text)])).iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        assert_eq!(lines("crates/footplate/src/agent/run.rs"), [1]);
        assert_eq!(lines("crates/footplate/src/cli/deploy.rs"), [2]);
        assert_eq!(lines("crates/footplate/src/controller.rs"), [3]);
    }
}
