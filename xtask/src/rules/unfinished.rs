//! The rule that what is in the tree is finished. The marks are put together here, so that this file holds none of them.

use super::{Finding, Rule};
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "no stubs, no marks of unfinished work, no ignored tests",
    because: "a stub looks like a feature from outside, and an ignored test like a promise that is kept",
    next: "finish it, or take it out and open an issue",
    judge,
};

const MARKS: [&str; 7] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("#[ig", "nore"),
    concat!("```ig", "nore"),
];

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        for (index, line) in text.lines().enumerate() {
            let marks = MARKS.iter().filter(|mark| super::has_word(line, mark));
            findings.extend(marks.map(|mark| Finding::new(path, index + 1, format!("`{mark}`"))));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_piece_is_found_even_in_a_comment() {
        let text = format!("fn a() {{}}\n// {} later\n    {}]\n", MARKS[0], MARKS[5]);
        let lines: Vec<usize> = judge(&Tree::from(&[("crates/kv/tests/a.rs", &text)]))
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [2, 3]);
    }
}
