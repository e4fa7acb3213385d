//! `cargo xtask check`: what every commit must pass. Format, lints, dependencies, house rules.

use crate::dependencies;
use crate::failure::Failure;
use crate::program;
use crate::rules::RULES;
use crate::tree::Tree;
use crate::workspace::Workspace;

/// Runs all four parts, also when one of them fails, so that one run tells all.
pub fn perform(workspace: &Workspace) -> Result<(), Failure> {
    let parts = [house_rules(workspace), dependencies::check(workspace), format(workspace), lints(workspace)];
    let failures: Vec<Failure> = parts.into_iter().filter_map(Result::err).collect();
    failures.into_iter().reduce(Failure::and).map_or(Ok(()), Err)
}

/// Judges the tree by every house rule.
pub fn house_rules(workspace: &Workspace) -> Result<(), Failure> {
    let tree = Tree::read(workspace)?;
    let broken = RULES.iter().filter_map(|rule| {
        let findings: Vec<String> =
            (rule.judge)(&tree).iter().map(|finding| format!("\n    {finding}")).collect();
        let what = format!("a house rule is broken: {}{}", rule.name, findings.concat());
        (!findings.is_empty()).then(|| Failure::new(what, rule.because, rule.next))
    });
    broken.reduce(Failure::and).map_or(Ok(()), Err)
}

fn format(workspace: &Workspace) -> Result<(), Failure> {
    program::perform(workspace.cargo().args(["fmt", "--all", "--check"]), "run `cargo fmt`")
}

fn lints(workspace: &Workspace) -> Result<(), Failure> {
    let mut clippy = workspace.cargo();
    clippy.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ]);
    program::perform(
        &mut clippy,
        "mend the first lint above; `cargo clippy -p CRATE --all-targets` is quicker",
    )
}
