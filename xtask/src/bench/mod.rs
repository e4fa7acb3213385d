//! `cargo xtask bench NAME`: figures by one command that anybody can run, with targets where some were promised.
//!
//! Benchmarks drive the release build of the program as its users do: processes, files, HTTP.

mod fleet;
mod floor;
mod process;
mod programs;
mod proxy;
mod report;
mod router;
mod server;
mod statistics;
mod swaps;
mod verdict;

use crate::failure::Failure;
use crate::machine::Machine;
use crate::note::{self, Origin};
use crate::packages;
use crate::workspace::Workspace;
use clap::{Args, ValueEnum};
use programs::Programs;
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
    /// Build without optimisation, which is quicker: to try a benchmark out, its figures mean nothing
    #[arg(long, conflicts_with = "page")]
    debug: bool,
    /// Seed of the random script lengths, or of simulated traffic
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
    /// Versions swapped by agents under load: failed requests, p99 beside a run without swaps, memory
    Swaps,
    /// The judge on simulated traffic: false alarms, delays, promotions, beside the rules of others
    Verdict,
}

impl Name {
    fn word(self) -> &'static str {
        match self {
            Name::Fleet => "fleet",
            Name::Floor => "floor",
            Name::Router => "router",
            Name::Swaps => "swaps",
            Name::Verdict => "verdict",
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
                 body of 100 bytes;\nservice and clients share another core, so what a proxy manages at most depends on them too: compare the requests per CPU-second.\nA p99 is the median of the p99 of windows of 50 ms, as a virtual machine stops for milliseconds now and then; the rows beside it hold such stops as well."
            }
            Name::Swaps => {
                "Several runs, minimum / median / maximum; a promise (no failed request) is met by every single run, a ratio by the median.\nEach run of swaps \
                 is compared with a run of the same length in which as many idle processes are started. Router and clients share one core; services and agents have another, to which \
                 store, controller and commands\nyield. The strategies take turns. Clients of every kind (one-shot, uploads, downloads, streams, WebSockets) ask beside those at a given rate."
            }
            Name::Verdict => {
                "Simulated traffic, 100 requests a second and a canary of 10 % unless the row says otherwise, through the real judge, which looks every second for ten minutes.\nOf a part (%), \
                 minimum and maximum are its bounds with 95 % (Clopper and Pearson), the median is the part itself: a false-alarm row is met by its upper bound.\nA delay is met by its median; \
                 what was not found counts as 600 s. The rules of others see the same traffic, as their projects publish them (crates/core/examples/verdict/rules.rs)."
            }
        }
    }
}

/// Builds the program, measures, prints, and fails when a target was missed.
pub fn perform(workspace: &Workspace, arguments: &BenchArguments) -> Result<(), Failure> {
    let options = fleet_options(arguments);
    let programs = Programs::new(workspace, !arguments.debug);
    let binary = || arguments.binary.clone().map_or_else(|| programs.build("footplate", "footplate"), Ok);
    let rows = match arguments.name {
        Name::Router => measure_router(&router::Ground::open(&programs, binary()?)?, arguments)?,
        Name::Swaps => measure_swaps(&router::Ground::open(&programs, binary()?)?, &programs, arguments)?,
        Name::Floor => fleet::measure_floor(&options)?,
        Name::Verdict => {
            let (quick, runs, seed) = (arguments.quick, arguments.runs, arguments.seed);
            verdict::measure(&programs, &verdict::Options { quick, runs, seed })?
        }
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

fn measure_router(ground: &router::Ground, arguments: &BenchArguments) -> Result<Vec<report::Row>, Failure> {
    let options = router::Options {
        runs: arguments.runs.unwrap_or(if arguments.quick { 3 } else { 5 }),
        seconds: if arguments.quick { 4 } else { 10 },
        swaps: 500,
    };
    router::measure(ground, &options)
}

fn measure_swaps(
    ground: &router::Ground,
    programs: &Programs,
    arguments: &BenchArguments,
) -> Result<Vec<report::Row>, Failure> {
    let quick = arguments.quick;
    let options = swaps::Options {
        runs_min: arguments.runs.unwrap_or(if quick { 1 } else { 5 }),
        seconds: if quick { 30 } else { 75 },
        rate: if arguments.debug { 300 } else { 5_000 },
        swaps_min: if quick { 8 } else { 200 },
        requests_min: if quick { 5_000 } else { 1_000_000 },
    };
    swaps::measure(ground, &swaps::Visitors::build(programs)?, &options)
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
