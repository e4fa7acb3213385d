//! `cargo xtask bench NAME`: figures by one command that anybody can run, with targets where some were promised.
//!
//! Benchmarks drive the release build of the program as its users do: processes, files, HTTP.

mod fleet;
mod floor;
mod process;
mod proxy;
mod report;
mod router;
mod server;
mod statistics;

use crate::failure::Failure;
use crate::machine::Machine;
use crate::note::{self, Origin};
use crate::packages;
use crate::program;
use crate::workspace::Workspace;
use clap::{Args, ValueEnum};
use report::Report;
use std::path::PathBuf;
use std::time::Duration;

/// What to measure, and how much of it.
#[derive(Args)]
pub struct BenchArguments {
    /// Which benchmark
    name: Name,
    /// Only the rows that carry targets, within five minutes
    #[arg(long)]
    quick: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Keep the result as a page in docs/benchmarks
    #[arg(long)]
    page: bool,
    /// Numbers of agents, instead of the benchmark's own
    #[arg(long, value_delimiter = ',')]
    agents: Vec<usize>,
    /// Stores, instead of the benchmark's own
    #[arg(long, value_delimiter = ',')]
    stores: Vec<server::Kind>,
    /// Kinds of work, instead of the benchmark's own
    #[arg(long, value_delimiter = ',')]
    works: Vec<fleet::Work>,
    /// Runs of each measurement, instead of the benchmark's own
    #[arg(long)]
    runs: Option<usize>,
    /// Layouts of the store, instead of the benchmark's own
    #[arg(long, value_delimiter = ',')]
    layouts: Vec<fleet::Layout>,
    /// Measure this program instead of building one
    #[arg(long, value_name = "PROGRAM")]
    binary: Option<PathBuf>,
    /// Seed of the random script lengths
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Agents by the hundred: times, requests, memory, with the original's figures beside
    Fleet,
    /// What this machine needs for the original's scripts and for renames, with no deployer at all
    Floor,
    /// The built-in router beside HAProxy and nginx: requests per CPU-second, added latency, memory over swaps
    Router,
}

impl Name {
    fn word(self) -> &'static str {
        match self {
            Name::Fleet => "fleet",
            Name::Floor => "floor",
            Name::Router => "router",
        }
    }

    /// Says on the page how its figures were taken.
    fn explain(self) -> &'static str {
        match self {
            Name::Fleet | Name::Floor => {
                "Times of several runs, minimum / median / maximum. A time or a size meets its target by the median; \
                 a promise (nothing early, so many requests) by every single run.\nThe last column is what the original Depro \
                 needed, measured on two cores with Consul 1.8.7."
            }
            Name::Router => {
                "Several runs, minimum / median / maximum; a target is met by the median. Each proxy has one thread on one core and passes a \
                 body of 100 bytes;\nservice and clients share another core, so what a proxy manages at most depends on them too: compare the requests per CPU-second."
            }
        }
    }
}

/// Builds the program, measures, prints, and fails when a target was missed.
pub fn perform(workspace: &Workspace, arguments: &BenchArguments) -> Result<(), Failure> {
    let options = fleet_options(arguments);
    let binary = || arguments.binary.clone().map_or_else(|| build(workspace), Ok);
    let rows = match arguments.name {
        Name::Router => measure_router(workspace, arguments, binary()?)?,
        Name::Floor => fleet::measure_floor(&options)?,
        Name::Fleet => {
            packages::install(&packages::cache_folder()?)?;
            fleet::measure(workspace, &fleet::Subject::new(binary()?)?, &options)?
        }
    };
    let report = Report { bench: arguments.name.word().into(), machine: Machine::read(), rows };
    println!("{}", if arguments.json { report.render_json() } else { report.render_text() });
    if arguments.page {
        write_page(workspace, &report, arguments)?;
    }
    let missed: Vec<&str> = report.missed().iter().map(|row| row.name.as_str()).collect();
    if missed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        "targets were missed",
        missed.join("; "),
        "run it again on a quiet machine, then profile the program",
    ))
}

fn measure_router(
    workspace: &Workspace,
    arguments: &BenchArguments,
    binary: PathBuf,
) -> Result<Vec<report::Row>, Failure> {
    let cache = packages::cache_folder()?;
    packages::install(&cache)?;
    let scratch = tempfile::tempdir()
        .map_err(|error| Failure::new("cannot make a temporary folder", error, "free some space"))?;
    let ground = router::Ground::open(workspace, scratch.path(), cache, binary)?;
    let options = router::Options {
        runs: arguments.runs.unwrap_or(if arguments.quick { 3 } else { 5 }),
        seconds: if arguments.quick { 4 } else { 10 },
        swaps: 500,
    };
    router::measure(&ground, &options)
}

/// Fills what was not asked for by the benchmark's own choice.
fn fleet_options(arguments: &BenchArguments) -> fleet::Options {
    let quick = arguments.quick;
    let or = |given: &[usize], quick_ones: &[usize], all: &[usize]| match (given, quick) {
        ([], true) => quick_ones.to_vec(),
        ([], false) => all.to_vec(),
        (given, _) => given.to_vec(),
    };
    let kinds = match (arguments.stores.as_slice(), quick) {
        ([], true) => vec![server::Kind::Embedded, server::Kind::Consul],
        ([], false) => vec![server::Kind::Embedded, server::Kind::Consul, server::Kind::Etcd],
        (given, _) => given.to_vec(),
    };
    let works = if arguments.works.is_empty() { fleet::Work::ALL.to_vec() } else { arguments.works.clone() };
    fleet::Options {
        kinds,
        agents: or(&arguments.agents, &[100, 200], &[1, 10, 50, 100, 200]),
        counted: works.iter().copied().filter(|work| !quick || !work.is_slow()).collect(),
        works,
        runs: arguments.runs.unwrap_or(if quick { 3 } else { 5 }),
        idle: Duration::from_secs(if quick { 15 } else { 45 }),
        layouts: match (arguments.layouts.as_slice(), quick) {
            ([], true) => vec![fleet::Layout::Footplate],
            ([], false) => vec![fleet::Layout::Footplate, fleet::Layout::Depro],
            (given, _) => given.to_vec(),
        },
        in_process: if quick || !arguments.agents.is_empty() { [0, 0] } else { [1_000, 10_000] },
        seed: arguments.seed,
    }
}

/// Builds the program with optimisation and returns where it is.
fn build(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let mut cargo = workspace.cargo();
    program::perform(
        cargo.args(["build", "--quiet", "--release", "--locked", "--package", "footplate"]),
        "mend the build",
    )?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.root().join("target"), PathBuf::from);
    Ok(target.join("release/footplate"))
}

fn write_page(workspace: &Workspace, report: &Report, arguments: &BenchArguments) -> Result<(), Failure> {
    let (ending, flag) = if arguments.quick { ("-quick", " --quick") } else { ("", "") };
    let origin = Origin::read(workspace, format!("cargo xtask bench {}{flag} --page", report.bench))?;
    let page = format!(
        "# Benchmark: {}{flag}\n\n{}\n{}\n\n{}",
        report.bench,
        origin.render(&report.machine),
        arguments.name.explain(),
        report.render_markdown()
    );
    note::write_page(workspace, &format!("{}{ending}", report.bench), &page)
}
