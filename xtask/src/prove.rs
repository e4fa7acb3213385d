//! `cargo xtask prove NAME`: the tests that run on every commit, at a length that nobody wants to wait for on every commit.
//!
//! A proof is a test plus settings. Its result is kept in docs/benchmarks with the command and the machine.

use crate::failure::Failure;
use crate::machine::Machine;
use crate::note::{self, Origin};
use crate::packages;
use crate::program;
use crate::workspace::Workspace;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// One long proof.
struct Proof {
    name: &'static str,
    /// What it shows when it passes, in a sentence.
    shows: &'static str,
    way: Way,
    /// What makes it longer than in the daily run.
    settings: &'static [(&'static str, &'static str)],
}

/// How a proof is run.
enum Way {
    /// Tests of a package: the test program, and a part of the tests' names.
    Tests { package: &'static str, program: &'static str, names: &'static str },
    /// A script of the project.
    Script(&'static str),
}

const PROOFS: [Proof; 8] = [
    Proof {
        name: "simulation",
        shows: "No promise breaks in 100,000 simulated fleets with lost wake-ups, dying hosts and two controllers.",
        way: Way::Tests { package: "footplate-core", program: "simulation", names: "" },
        settings: &[("FOOTPLATE_SIMULATION_SEEDS", "100000")],
    },
    Proof {
        name: "search",
        shows: "In no order do reports, deaths, failures, commands and late writes break a promise of a small rollout.",
        way: Way::Tests { package: "footplate-core", program: "search", names: "" },
        settings: &[("FOOTPLATE_SEARCH", "large")],
    },
    Proof {
        name: "kv-crash",
        shows: "The embedded store is killed 200 times under load and loses nothing that it acknowledged.",
        way: Way::Tests { package: "footplate-kv", program: "it", names: "nothing_acknowledged_is_lost" },
        settings: &[("FOOTPLATE_KV_KILLS", "200")],
    },
    Proof {
        name: "processes",
        shows: "Agents, stores and controllers are killed, cut off and starved in deployments; each host ends in the release it should.",
        way: Way::Tests { package: "footplate", program: "real", names: "" },
        settings: &[("FOOTPLATE_PROVE_PROCESSES", "1")],
    },
    Proof {
        name: "identical",
        shows: "50 times the same version again under load: its judge never takes it back, and no request fails.",
        way: Way::Tests { package: "footplate", program: "swaps", names: "judged::the_same_version_again" },
        settings: &[("FOOTPLATE_PROVE_IDENTICAL", "50")],
    },
    Proof {
        name: "slow",
        shows: "What takes its time is taken back with real timers: a leak of 100 KiB a second, a crash after a minute.",
        way: Way::Tests { package: "footplate", program: "swaps", names: "judged::one_that_" },
        settings: &[("FOOTPLATE_PROVE_SLOW", "1")],
    },
    Proof {
        name: "registry",
        shows: "Three published releases of a real package come to 25 agents byte for byte, go back, and are cleaned.",
        way: Way::Script("examples/registry-releases.sh"),
        settings: &[],
    },
    Proof {
        name: "service",
        shows: "A real service is taken through three of its published versions and back under load, without a failed request.",
        way: Way::Script("examples/registry-service.sh"),
        settings: &[("REQUESTS", "20000")],
    },
];

/// Prints what can be proved.
pub fn list() {
    for Proof { name, shows, settings, .. } in &PROOFS {
        let settings: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        println!("{name:<12} {shows} {}", settings.join(" "));
    }
}

/// Runs one proof and keeps its result.
pub fn perform(workspace: &Workspace, name: &str) -> Result<(), Failure> {
    let Some(proof) = PROOFS.iter().find(|proof| proof.name == name) else {
        let names: Vec<&str> = PROOFS.iter().map(|proof| proof.name).collect();
        return Err(Failure::new(
            format!("there is no proof `{name}`"),
            "its name is not known",
            format!("one of: {}", names.join(", ")),
        ));
    };
    let cache = packages::cache_folder()?;
    packages::install(&cache)?;
    let start = Instant::now();
    let (output, passed) = run(workspace, proof)?;
    let seconds = start.elapsed().as_secs();
    let origin = Origin::read(workspace, format!("cargo xtask prove {name}"))?;
    let verdict = if passed { "passed" } else { "FAILED" };
    let page = format!(
        "# Proof: {name}\n\n{}\n\n{}- result: {verdict} after {seconds} s, build included\n\n```text\n{}\n```\n",
        proof.shows,
        origin.render(&Machine::read()),
        output.join("\n")
    );
    note::write_page(workspace, &format!("proof-{name}"), &page)?;
    if passed {
        return Ok(());
    }
    Err(Failure::new(
        format!("the proof `{name}` failed"),
        "a test failed, see above",
        "replay it with the seed it printed",
    ))
}

/// Runs a proof and returns what it said, without cargo's own lines.
fn run(workspace: &Workspace, proof: &Proof) -> Result<(Vec<String>, bool), Failure> {
    let mut command = match proof.way {
        Way::Tests { package, program, names } => {
            // What tests run beside themselves is built for a whole package alone.
            let mut examples = workspace.cargo();
            examples.args(["build", "--release", "--locked", "--package", package, "--examples"]);
            program::perform(&mut examples, "mend what the compiler names")?;
            let mut cargo = workspace.cargo();
            cargo.args(["test", "--release", "--locked", "--package", package, "--test", program, names]);
            cargo.args(["--", "--nocapture", "--test-threads=1"]);
            cargo
        }
        Way::Script(path) => {
            let mut script = Command::new(workspace.root().join(path));
            script.current_dir(workspace.root());
            script
        }
    };
    command.envs(proof.settings.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
    let failure = |error| Failure::new("cannot run the proof", error, "install Rust with cargo");
    let mut child = command.spawn().map_err(failure)?;
    let output = child.stdout.take().expect("the output was asked for as a pipe");
    let mut said = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.map_err(failure)?;
        println!("{line}");
        if tells_something(&line) {
            said.push(line);
        }
    }
    Ok((said, child.wait().map_err(failure)?.success()))
}

/// Says whether a line is one of the tests' own, or the sum of a binary that ran some.
fn tells_something(line: &str) -> bool {
    let of_the_harness = line.starts_with("running ") || line.trim().is_empty();
    !of_the_harness && !line.starts_with("test result: ok. 0 passed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_tell_something_are_kept() {
        let lines =
            ["running 1 test", "", "seeds 0 to 1999: 3 kinds of ends", "test result: ok. 0 passed; 0 failed"];
        assert_eq!(lines.into_iter().filter(|line| tells_something(line)).count(), 1);
    }
}
