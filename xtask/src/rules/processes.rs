//! The rule that the product starts programs in one place.

use super::{Finding, Rule};
use crate::source::{Source, is_test_file};
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "processes are started only in crates/drivers/src/shell",
    because: "there every program gets its own process group, a deadline, bounded output and a clean environment",
    next: "call `footplate_drivers::shell`",
    judge,
};

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let product = |path: &str| path.starts_with("crates/") && path.contains("/src/") && !is_test_file(path);
    for (path, text) in tree.rust().filter(|(path, _)| product(path)) {
        if path.starts_with("crates/drivers/src/shell") {
            continue;
        }
        let source = Source::parse(path, text);
        let mentions = ["std", "tokio"].into_iter().flat_map(|root| source.mentions(root));
        let commands = mentions.filter(|mention| mention.path.contains("::process::Command"));
        findings.extend(
            commands.map(|mention| Finding::new(path, mention.line, format!("names `{}`", mention.path))),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_started_outside_the_shell_is_found() {
        let text = "use std::process::{Command, ExitCode};\nuse clap::Command as Other;\n";
        let tree = Tree::from(&[
            ("crates/drivers/src/shell.rs", text),
            ("crates/drivers/src/workload/command.rs", text),
            ("crates/drivers/tests/it/main.rs", text),
        ]);
        let found = judge(&tree);
        assert_eq!(
            found,
            [Finding::new("crates/drivers/src/workload/command.rs", 1, "names `std::process::Command`")]
        );
    }
}
