//! The rule that each command of the program is run by a test.

use super::{Finding, Rule};
use crate::source::is_test_file;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "every command of the program has a test that runs it",
    because: "the command line is the promise people script against",
    next: "run the command in crates/footplate/tests, with its output and exit code",
    judge,
};

const FOLDER: &str = "crates/footplate/src/cli/";
/// Files in the folder that are no command.
const NO_COMMANDS: [&str; 2] = ["mod", "tests"];

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let Some(command) = path.strip_prefix(FOLDER).and_then(|file| file.strip_suffix(".rs")) else {
            continue;
        };
        let is_command =
            !command.contains('/') && !NO_COMMANDS.contains(&command) && text.contains("derive(Args");
        let name = format!("\"{}\"", command.replace('_', "-"));
        let mut tests =
            tree.rust().filter(|(file, _)| file.starts_with("crates/footplate/") && is_test_file(file));
        if is_command && !tests.any(|(_, test)| test.contains(&name)) {
            findings.push(Finding::new(path, 1, format!("no test in crates/footplate runs {name}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_no_test_runs_is_found() {
        let text = "#[derive(Args)]\npub struct Arguments {}\n";
        let found = judge(&Tree::from(&[
            ("crates/footplate/src/cli/deploy.rs", text),
            ("crates/footplate/src/cli/status.rs", text),
            ("crates/footplate/tests/it/cli.rs", "run([\"status\", \"--json\"])"),
        ]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "crates/footplate/src/cli/deploy.rs");
    }
}
