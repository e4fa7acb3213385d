//! `cargo xtask bench router`: the built-in router beside HAProxy and nginx, each pinned to one core, on the same service, in turn.
//!
//! Efficiency is requests per CPU-second of the proxy (all its processes) with 32 clients that ask as fast as they are answered. Latency
//! is what a proxy adds to the p99 of the service itself at the same given rate: half of what the slowest proxy managed.

mod proxies;
mod service;
mod swaps;

use super::process::Process;
use super::programs::Programs;
use super::report::Row;
use crate::failure::Failure;
use crate::packages;
use proxies::{Kind, Proxy};
pub use proxies::{free_address, start_router};
use serde::Deserialize;
use service::Service;
use std::path::{Path, PathBuf};
use std::process::Command;

const NEXT: &str = "run it again on a quiet machine, then profile the router";
/// Clients that ask as fast as they are answered.
const CLIENTS: &str = "32";
/// Clients at a given rate: enough that none is waited for.
const CLIENTS_OPEN: &str = "64";
/// The least requests per CPU-second, as a part of HAProxy's.
const EFFICIENCY_MIN: f64 = 0.8;
/// The most that the router may add to p99, as a multiple of what HAProxy adds.
const ADDED_MAX: f64 = 1.5;
/// The most that memory may grow from the 100th to the 500th swap, in MiB.
const GROWTH_MAX_MIB: f64 = 4.0;

/// How much is measured.
pub struct Options {
    pub runs: usize,
    pub seconds: u64,
    pub swaps: usize,
}

/// Programs and the place they run in.
pub struct Ground {
    /// Removed at the end.
    pub folder: tempfile::TempDir,
    pub cache: PathBuf,
    pub router: PathBuf,
    /// The clients and the service.
    pub load: PathBuf,
    /// The cores of the proxies, and of everything else.
    pub cores: (usize, usize),
}

/// What the clients saw.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    requests: f64,
    failed: u64,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
    /// The median of the p99 of short windows.
    windows_p99_us: f64,
    /// CPU time of the proxy meanwhile, in seconds.
    #[serde(skip)]
    cpu: f64,
    /// The part of the time that the clients counted.
    #[serde(skip)]
    whole: f64,
}

impl Seen {
    fn rate(&self) -> f64 {
        self.requests / self.seconds
    }

    fn efficiency(&self) -> f64 {
        self.rate() * self.whole / self.cpu
    }
}

impl Ground {
    /// Installs the other proxies, and prepares the clients and the place; `router` is the program to measure.
    pub fn open(programs: &Programs, router: PathBuf) -> Result<Ground, Failure> {
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::new("cannot make a temporary folder", error, "free some space"))?;
        let cache = packages::cache_folder()?;
        packages::install(&cache)?;
        let load = programs.build("footplate-testkit", "footplate-load")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if cores < 2 {
            return Err(Failure::new(
                "cannot compare proxies",
                "this machine has one core",
                "take one with two or more",
            ));
        }
        Ok(Ground { folder, cache, router, load, cores: (0, cores - 1) })
    }

    /// Starts a program pinned to a core, with its talk in a file of its own.
    pub fn start(
        &self,
        name: &str,
        core: usize,
        program: &Path,
        arguments: &[&str],
        set: &[(&str, PathBuf)],
    ) -> Result<Process, Failure> {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &core.to_string()]).arg(program).args(arguments);
        command.envs(set.iter().map(|(name, value)| (name, value)));
        Process::start(command, &self.folder.path().join(format!("{name}.log")))
    }

    /// Returns what a program has said.
    pub fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Reads the JSON that a program has left in its file.
    pub fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Failure> {
        let said = self.said(name);
        let first = said.lines().next().unwrap_or_default();
        serde_json::from_str(first)
            .map_err(|_| Failure::new("the clients said nothing sensible", said.trim(), NEXT))
    }
}

/// Measures everything, each run one proxy after the other.
pub fn measure(ground: &Ground, options: &Options) -> Result<Vec<Row>, Failure> {
    let mut service = Service::start(ground, "service")?;
    let address = service.address.clone();
    let proxies = Kind::ALL.map(|kind| Proxy::start(ground, kind, &address));
    let proxies = proxies.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut closed = vec![Vec::new(); proxies.len()];
    for run in 0..options.runs {
        for (proxy, seen) in proxies.iter().zip(&mut closed) {
            eprintln!("run {} of {}: {}", run + 1, options.runs, proxy.kind.name());
            seen.push(service.ask(ground, &proxy.address, options.seconds, None, || proxy.cpu())?);
        }
    }
    let slowest = closed.iter().flatten().map(Seen::rate).fold(f64::INFINITY, f64::min);
    let rate = slowest / 2.0;
    let mut open = vec![Vec::new(); proxies.len()];
    let mut direct = Vec::new();
    for _ in 0..options.runs {
        direct.push(service.ask(ground, &address, options.seconds, Some(rate), || 0.0)?);
        for (proxy, seen) in proxies.iter().zip(&mut open) {
            seen.push(service.ask(ground, &proxy.address, options.seconds, Some(rate), || proxy.cpu())?);
        }
    }
    drop((proxies, service));
    let growth = swaps::growth(ground, options.swaps)?;
    Ok(rows(&closed, &open, &direct, rate, growth))
}

fn rows(closed: &[Vec<Seen>], open: &[Vec<Seen>], direct: &[Seen], rate: f64, growth: f64) -> Vec<Row> {
    let values = |seen: &[Seen], of: fn(&Seen) -> f64| seen.iter().map(of).collect::<Vec<f64>>();
    let ratios = |mine: Vec<f64>, other: Vec<f64>| {
        mine.iter().zip(&other).map(|(mine, other)| mine / other).collect::<Vec<_>>()
    };
    let added = |seen: &[Seen]| {
        let pairs = seen.iter().zip(direct);
        pairs.map(|(seen, direct)| (seen.windows_p99_us - direct.windows_p99_us).max(1.0)).collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        let name = |quantity: &str| format!("{}: {quantity}", kind.name());
        rows.push(Row::new(
            name("requests per CPU-second"),
            "1/s",
            &values(&closed[place], Seen::efficiency),
        ));
        rows.push(Row::new(name("requests, 32 clients"), "1/s", &values(&closed[place], Seen::rate)));
        rows.push(Row::new(
            name(&format!("p50 at {rate:.0}/s")),
            "µs",
            &values(&open[place], |seen| seen.p50_us),
        ));
        rows.push(Row::new(name(&format!("p99 added at {rate:.0}/s")), "µs", &added(&open[place])));
        let whole = values(&open[place], |seen| seen.p99_us);
        rows.push(Row::new(name(&format!("p99 at {rate:.0}/s with the machine's stops")), "µs", &whole));
    }
    let direct_p99 = values(direct, |seen| seen.windows_p99_us);
    rows.push(Row::new(format!("no proxy: p99 at {rate:.0}/s"), "µs", &direct_p99));
    let whole = values(direct, |seen| seen.p99_us);
    rows.push(Row::new(format!("no proxy: p99 at {rate:.0}/s with the machine's stops"), "µs", &whole));
    let of = |kind: Kind| Kind::ALL.iter().position(|other| *other == kind).expect("all kinds are in it");
    let (router, haproxy) = (of(Kind::Router), of(Kind::Haproxy));
    let efficiency =
        ratios(values(&closed[router], Seen::efficiency), values(&closed[haproxy], Seen::efficiency));
    let row = Row::new("router / HAProxy: requests per CPU-second (at least)", "times", &efficiency);
    rows.push(row.map(|row| row.at_least(EFFICIENCY_MIN)));
    let row = Row::new(
        "router / HAProxy: p99 added",
        "times",
        &ratios(added(&open[router]), added(&open[haproxy])),
    );
    rows.push(row.map(|row| row.at_most(ADDED_MAX)));
    rows.push(
        Row::new("router: memory grown after the first 100 swaps", "MiB", &[growth])
            .map(|row| row.at_most(GROWTH_MAX_MIB)),
    );
    rows.into_iter().flatten().collect()
}
