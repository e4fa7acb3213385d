//! The rule that a test waits for a condition, never for an amount of time.

use super::{Finding, Rule, has_word};
use crate::source::Source;
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "a test does not sleep",
    because: "a sleep is too short on a busy machine and too long on every other one",
    next: "poll the condition with a deadline, in a function whose name begins with `eventually` or `poll`",
    judge,
};

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The servers of the testkit wait for what they start, and their proxy delays on purpose: that is no test's sleep.
    for (path, text) in tree.rust().filter(|(path, _)| !path.starts_with("crates/testkit/src/")) {
        let source = Source::parse(path, text);
        for (number, line) in
            source.tests().filter(|(_, line)| has_word(line, "sleep(") && !line.contains("fn sleep("))
        {
            let function = source.function_at(number).unwrap_or_default();
            if !function.starts_with("eventually") && !function.starts_with("poll") {
                findings.push(Finding::new(path, number, format!("`{}` in `{function}`", line.trim())));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_allowed_only_while_polling() {
        let text = "fn a_story() {\n    thread::sleep(second);\n}\nfn poll_until() {\n    loop {\n        sleep(step);\n    }\n}\n";
        let found = judge(&Tree::from(&[("crates/kv/tests/it/a.rs", text), ("crates/kv/src/a.rs", text)]));
        assert_eq!(
            found,
            [Finding::new("crates/kv/tests/it/a.rs", 2, "`thread::sleep(second);` in `a_story`")]
        );
    }
}
