//! `cargo xtask bench verdict`: simulated traffic through the judge of `footplate-core`, and through the published rules of others.
//!
//! The core's example `verdict` simulates, by its own code and with optimisation, and prints lines that become rows here.

mod rows;

use super::programs::Programs;
use super::report::Row;
use crate::failure::Failure;
use crate::program;
use std::process::Command;

/// How much to simulate.
pub struct Options {
    /// Few runs of what is not about false alarms.
    pub quick: bool,
    /// Runs of each row about false alarms, instead of the example's own number.
    pub runs: Option<usize>,
    /// What the traffic is drawn from.
    pub seed: u64,
}

/// Builds the example, lets it simulate, and holds its figures against the targets.
pub fn measure(programs: &Programs, options: &Options) -> Result<Vec<Row>, Failure> {
    let example = programs.build_example("footplate-core", "verdict")?;
    let mut command = Command::new(example);
    command.args(["--seed", &options.seed.to_string()]);
    if options.quick {
        command.arg("--quick");
    }
    if let Some(runs) = options.runs {
        command.args(["--runs", &runs.to_string()]);
    }
    eprintln!("simulating, seed {}: some minutes", options.seed);
    let text = program::read(&mut command, "run the example `verdict` of footplate-core by hand")?;
    rows::read(&text)
}
