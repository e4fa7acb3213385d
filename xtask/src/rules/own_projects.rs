//! The rule that `kv`, `router`, `testkit` and `xtask` could each be a project of its own.

use super::core_dependencies::dependencies;
use super::{Finding, Rule};
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "kv, router, testkit and xtask depend on none of our crates",
    because: "the servers are driven over their published APIs, by us as by anybody; the tools must build when the product does not",
    next: "use the published API, or move the shared code to the crate that owns it",
    judge,
};

const ALONE: [&str; 4] = ["crates/kv", "crates/router", "crates/testkit", "xtask"];

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in ALONE {
        let path = format!("{folder}/Cargo.toml");
        let ours = dependencies(tree.text(&path).unwrap_or_default())
            .into_iter()
            .filter(|name| name.starts_with("footplate"));
        findings.extend(ours.map(|name| Finding::new(&path, 1, format!("depends on `{name}`"))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_leans_on_core_is_found() {
        let manifest = "[dependencies]\nfootplate-core = { workspace = true }\n[dev-dependencies]\nfootplate-testkit = \"1\"\n";
        let findings = judge(&Tree::from(&[
            ("crates/kv/Cargo.toml", manifest),
            ("crates/drivers/Cargo.toml", manifest),
        ]));
        assert_eq!(findings, [Finding::new("crates/kv/Cargo.toml", 1, "depends on `footplate-core`")]);
    }
}
