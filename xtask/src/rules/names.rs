//! The rule that keeps to the glossary: one word, one meaning, and no name that says nothing.

use super::{Finding, Rule};
use crate::source::Source;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "names are whole words of the glossary",
    because: "a type called a manager or a file called util holds whatever nobody found a room for",
    next: "name the noun it holds (docs/glossary.md has the words); a new word goes to the glossary in the same commit",
    judge,
};

/// Endings of type names that say nothing.
const EMPTY_ENDINGS: [&str; 5] = ["Manager", "Helper", "Helpers", "Util", "Utils"];
/// Names of files that say nothing.
const EMPTY_FILES: [&str; 6] = ["util", "utils", "helper", "helpers", "misc", "common"];
/// Words of the systems before this one, and the glossary's word for each.
const OTHERS: [(&str, &str); 4] = [
    ("DeployTrain", "deployment"),
    ("Ride", "deployment"),
    ("Coordinator", "controller"),
    ("Minion", "agent"),
];

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let stem = path.rsplit('/').next().and_then(|file| file.strip_suffix(".rs")).unwrap_or_default();
        if EMPTY_FILES.contains(&stem) {
            findings.push(Finding::new(path, 1, format!("a file called `{stem}` names no noun")));
        }
        let source = Source::parse(path, text);
        for (number, line) in source.product() {
            let Some(name) = defined_type(line) else { continue };
            if let Some(ending) = EMPTY_ENDINGS.iter().find(|ending| name.ends_with(**ending)) {
                findings.push(Finding::new(path, number, format!("`{name}`: `{ending}` says nothing")));
            }
            if let Some((word, ours)) = OTHERS.iter().find(|(word, _)| name == *word) {
                findings.push(Finding::new(
                    path,
                    number,
                    format!("`{name}`: our word for `{word}` is `{ours}`"),
                ));
            }
        }
    }
    findings
}

/// Returns the name that a line defines as a type.
fn defined_type(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
    let rest = ["struct ", "enum ", "trait ", "type "].iter().find_map(|word| line.strip_prefix(word))?;
    rest.split(|letter: char| !letter.is_alphanumeric()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_says_nothing_is_found() {
        let found = judge(&Tree::from(&[
            (
                "crates/kv/src/lock.rs",
                "pub struct LockManager {\nenum Rider {\nstruct Ride;\nstruct Lock {\n",
            ),
            ("crates/kv/src/util.rs", ""),
        ]));
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
