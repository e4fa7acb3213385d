//! `cargo xtask test`: everything CI wants to know, by one command.
//! A server or program that cannot be had is a failure here, never a skipped test.

use crate::check;
use crate::failure::Failure;
use crate::packages;
use crate::program;
use crate::workspace::Workspace;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// How many tests ended how, summed over all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Sets up, checks, tests. Every part runs even when one before it failed, so that one run tells all.
pub fn perform(workspace: &Workspace) -> Result<(), Failure> {
    let cache = packages::cache_folder()?;
    timed("packages", || packages::install(&cache))?;
    let checked = timed("check", || Ok(check::perform(workspace)))?;
    let (tally, tested) = timed("tests", || run_tests(workspace, &cache))?;
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    [checked, tested].into_iter().filter_map(Result::err).reduce(Failure::and).map_or(Ok(()), Err)
}

/// Runs one part and says how long it took.
fn timed<T>(part: &str, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    println!("── {part}");
    let start = Instant::now();
    let outcome = run();
    println!("── {part}: {:.1} s", start.elapsed().as_secs_f64());
    outcome
}

/// Runs every test of the workspace, documentation included, passing their output through while it is counted.
fn run_tests(workspace: &Workspace, cache: &Path) -> Result<(Tally, Result<(), Failure>), Failure> {
    let mut command = workspace.cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.env("FOOTPLATE_TEST_CACHE", cache).stdin(Stdio::null()).stdout(Stdio::piped());
    let failure = |error| Failure::new("cannot run the tests", error, "install Rust with cargo");
    let mut child = command.spawn().map_err(failure)?;
    let output = child.stdout.take().expect("the output was asked for as a pipe");
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line.map_err(failure)?).into_owned();
        tally.count(&line);
        writeln!(std::io::stdout(), "{line}").map_err(failure)?;
    }
    let status = child.wait().map_err(failure)?;
    let outcome = match (status.success(), &tally) {
        (true, Tally { ignored: 0, failed: 0, passed: 1.. }) => Ok(()),
        (true, _) => Err(Failure::new(
            "not every test ran",
            format!("{} passed, {} failed, {} ignored", tally.passed, tally.failed, tally.ignored),
            "remove what ignores them: a test that cannot run is a failure",
        )),
        (false, _) => Err(Failure::new(
            format!("`{}` failed", program::render(&command)),
            status,
            "read the first failure above; run it alone with `cargo test -p CRATE NAME`",
        )),
    };
    Ok((tally, outcome))
}

impl Tally {
    /// Adds a line like `test result: ok. 5 passed; 0 failed; 0 ignored; …`; any other line counts nothing.
    fn count(&mut self, line: &str) {
        let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in numbers.split("; ") {
            match part.split_once(' ').and_then(|(number, word)| Some((number.parse::<u64>().ok()?, word))) {
                Some((number, "passed")) => self.passed += number,
                Some((number, "failed")) => self.failed += number,
                Some((number, "ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_binaries_are_summed() {
        let mut tally = Tally::default();
        for line in [
            "test core::works ... ok",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.count(line);
        }
        assert_eq!(tally, Tally { passed: 7, failed: 3, ignored: 1 });
    }
}
