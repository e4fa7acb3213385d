//! The rule that families of drivers do not know each other.

use super::{Finding, Rule};
use crate::source::Source;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "a family of drivers imports no other family",
    because: "a driver is chosen by configuration; what joins two families is policy, and policy lives in core or a role",
    next: "hand the value in as an argument from the role, or put what both share beside the families (as `shell` is)",
    judge,
};

const FAMILIES: [&str; 12] = [
    "store",
    "artifact",
    "workload",
    "service",
    "health",
    "router",
    "kpi",
    "source",
    "build",
    "discovery",
    "notifier",
    "ledger",
];

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let own = path.strip_prefix("crates/drivers/src/").and_then(|rest| rest.split(['/', '.']).next());
        let Some(own) = own.filter(|own| FAMILIES.contains(own)) else {
            continue;
        };
        for mention in Source::parse(path, text).mentions("crate") {
            let other = mention.path.split("::").nth(1).unwrap_or_default();
            if other != own && FAMILIES.contains(&other) {
                findings.push(Finding::new(
                    path,
                    mention.line,
                    format!("the family `{own}` imports `{other}`"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_may_use_what_stands_beside_the_families_only() {
        let findings = judge(&Tree::from(&[(
            "crates/drivers/src/workload/command.rs",
            "use crate::shell::Script;\nuse crate::workload::Workload;\nuse crate::store::Key;\n",
        )]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].line, 3);
    }
}
