//! `cargo xtask bench swaps`: versions of a service swapped again and again by real agents, behind each router, while clients ask.
//!
//! Each run of swaps has a control run of the same length beside it, in which as many idle processes are started as there were swaps:
//! what is more in the first is the swaps' doing. Router and clients have one core, everything else another.

mod front;
mod rows;
mod site;

use super::process::poll;
use super::programs::Programs;
use super::report::Row;
use super::router::Ground;
use crate::failure::Failure;
use crate::program;
use serde::Deserialize;
use site::{Site, Strategy};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const NEXT: &str = "read the talk of the roles, then run it again on a quiet machine";
/// Connections of the clients that ask at a given rate.
const CLIENTS: &str = "64";
/// How long each of the others rests between its requests, in milliseconds.
const PAUSE: &str = "100";
/// Runs of swaps after the least number of them, until there were as many swaps and requests as promised.
const RUNS_MORE: usize = 10;
/// How long clients may take to finish what they began.
const END_DEADLINE: Duration = Duration::from_secs(60);

/// How much is measured behind each router.
pub struct Options {
    /// Runs of swaps, each with a control run; at least.
    pub runs_min: usize,
    /// How long each is.
    pub seconds: u64,
    /// Requests a second of the clients whose times are taken.
    pub rate: u64,
    /// Swaps there must be in all.
    pub swaps_min: usize,
    /// Requests there must be in all runs of swaps.
    pub requests_min: u64,
}

/// The programs that ask and answer.
pub struct Visitors {
    /// Clients of every kind.
    customers: PathBuf,
    /// The service.
    shop: PathBuf,
}

impl Visitors {
    /// Builds them.
    pub fn build(programs: &Programs) -> Result<Visitors, Failure> {
        let example = |name| programs.build_example("footplate", name);
        Ok(Visitors { customers: example("customers")?, shop: example("shop")? })
    }
}

/// What clients saw.
#[derive(Debug, Clone, Default, Deserialize)]
struct Seen {
    requests: u64,
    failed: u64,
    p50_us: f64,
    p99_us: f64,
}

/// One run: what was seen by the clients at a rate and by those of every other kind, and the swaps there were.
#[derive(Debug, Clone, Default)]
struct Run {
    steady: Seen,
    others: Seen,
    swaps: Vec<Swap>,
}

/// One swap and how long it took, in seconds.
#[derive(Debug, Clone)]
struct Swap {
    strategy: Strategy,
    took: f64,
}

impl Run {
    fn requests(&self) -> u64 {
        self.steady.requests + self.others.requests
    }
}

/// All runs behind one router, and how much its memory has grown in them, in bytes.
struct Found {
    kind: front::Kind,
    swapped: Vec<Run>,
    idle: Vec<Run>,
    grown: f64,
}

/// Measures behind both routers.
pub fn measure(ground: &Ground, visitors: &Visitors, options: &Options) -> Result<Vec<Row>, Failure> {
    let mut all = Vec::new();
    for kind in front::Kind::ALL {
        all.extend(rows::rows(&measure_behind(ground, visitors, kind, options)?, options));
    }
    Ok(all)
}

fn measure_behind(
    ground: &Ground,
    visitors: &Visitors,
    kind: front::Kind,
    options: &Options,
) -> Result<Found, Failure> {
    let mut site = Site::open(ground, kind, &visitors.shop)?;
    // Every strategy once, so that what is measured is no first time.
    for _ in Strategy::ALL {
        swap(&mut site)?;
    }
    let early = site.front.memory();
    let mut found = Found { kind, swapped: Vec::new(), idle: Vec::new(), grown: 0.0 };
    while found.lacks(options) && found.swapped.len() < options.runs_min + RUNS_MORE {
        let run = found.swapped.len() + 1;
        eprintln!("{}, run {run}: swaps", kind.name());
        let mut swaps = Vec::new();
        let seen = under_load(ground, visitors, &mut site, options, |site, _left| {
            swaps.push(swap(site)?);
            Ok(())
        })?;
        eprintln!("{}, run {run}: after {} swaps idle processes", kind.name(), swaps.len());
        let pause = Duration::from_secs(options.seconds).div_f64(swaps.len().max(1) as f64);
        found.swapped.push(Run { swaps, ..seen });
        found.idle.push(under_load(ground, visitors, &mut site, options, |site, left| {
            let _idle = site.start_idle()?;
            std::thread::sleep(pause.min(left));
            Ok(())
        })?);
    }
    found.grown = site.front.memory() as f64 - early as f64;
    Ok(found)
}

impl Found {
    fn swaps(&self) -> usize {
        self.swapped.iter().map(|run| run.swaps.len()).sum()
    }

    /// Counts the requests of the runs with swaps.
    fn requests(&self) -> u64 {
        self.swapped.iter().map(Run::requests).sum()
    }

    /// Tells whether another run is needed for what was promised.
    fn lacks(&self, options: &Options) -> bool {
        self.swapped.len() < options.runs_min
            || self.swaps() < options.swaps_min
            || self.requests() < options.requests_min
    }
}

/// Lets clients ask for as long as a run is, and meanwhile does something again and again. The last time may end after the clients at a
/// rate have; those of every other kind go on until then.
fn under_load(
    ground: &Ground,
    visitors: &Visitors,
    site: &mut Site,
    options: &Options,
    mut act: impl FnMut(&mut Site, Duration) -> Result<(), Failure>,
) -> Result<Run, Failure> {
    let (core, address) = (ground.cores.0, site.front.address.clone());
    let length = options.seconds.to_string();
    let arguments = ["open", &address, CLIENTS, &length, &options.rate.to_string()];
    let mut steady = ground.start("steady", core, &ground.load, &arguments, &[])?;
    let others = ground.start("others", core, &visitors.customers, &[&address, "every-kind", PAUSE], &[])?;
    let begun = Instant::now();
    while let Some(left) = Duration::from_secs(options.seconds).checked_sub(begun.elapsed()) {
        act(site, left)?;
    }
    steady.wait(END_DEADLINE)?;
    program::perform(Command::new("kill").args(["-TERM", &others.id().to_string()]), NEXT)?;
    let run = Run {
        steady: ground.read("steady")?,
        others: poll("the clients to end", END_DEADLINE, || Ok(ground.read("others").ok()))?,
        swaps: Vec::new(),
    };
    if run.others.failed > 0 {
        eprintln!("{}", ground.said("others"));
    }
    Ok(run)
}

/// Takes the next version live.
fn swap(site: &mut Site) -> Result<Swap, Failure> {
    let strategy = site.push()?;
    let begun = Instant::now();
    site.deploy()?;
    Ok(Swap { strategy, took: begun.elapsed().as_secs_f64() })
}
