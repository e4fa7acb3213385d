//! `cargo xtask bench fleet`: versions staged on every host and switched everywhere at once, with real processes.
//!
//! Runs of one site share their agents; each run deploys a version that no host has seen. Times come from the files on
//! the hosts. The targets belong to the rows at 100 and 200 agents on the embedded store and Consul.

mod barrier;
mod depro;
mod in_process;
mod observation;
mod originals;
mod rows;
mod site;
mod work;

use super::floor;
use super::report::Row;
use super::server::Kind;
use crate::failure::Failure;
use crate::program;
use crate::workspace::Workspace;
use barrier::Watch;
use observation::{Deployment, Host};
use site::Site;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
pub use work::Work;

/// Which keys the agents follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// Our own, with a controller.
    Footplate,
    /// The original's.
    Depro,
}

/// The program that is measured, and the ground on which its sites stand.
///
/// The ground is removed at the end and not site by site: ext4 gives no file the place of one that was deleted within the
/// last minutes, and looks at each of them before it makes a file. Thousands of them would slow the next site down.
pub struct Subject {
    binary: PathBuf,
    ground: tempfile::TempDir,
}

impl Subject {
    /// Returns a program on a ground of its own, in the folder for temporary files.
    pub fn new(binary: PathBuf) -> Result<Subject, Failure> {
        let ground = tempfile::Builder::new().prefix("footplate-bench-").tempdir();
        let ground = ground
            .map_err(|error| Failure::new("cannot make a folder for the sites", error, "check TMPDIR"))?;
        Ok(Subject { binary, ground })
    }

    /// Makes a folder for one more site.
    fn place(&self) -> Result<PathBuf, Failure> {
        let place = tempfile::tempdir_in(self.ground.path());
        let place = place
            .map_err(|error| Failure::new("cannot make a folder for a site", error, "check the disk"))?;
        Ok(place.keep())
    }
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    pub kinds: Vec<Kind>,
    pub agents: Vec<usize>,
    pub works: Vec<Work>,
    /// The works whose requests are counted.
    pub counted: Vec<Work>,
    /// Runs of one kind of work on one site; slow ones are run half as often.
    pub runs: usize,
    pub idle: Duration,
    pub layouts: Vec<Layout>,
    /// How many agents run in one process, over sockets and not; none of them when 0.
    pub in_process: [usize; 2],
    pub seed: u64,
}

/// Runs the matrix and returns its rows.
pub fn measure(workspace: &Workspace, subject: &Subject, options: &Options) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for kind in &options.kinds {
        for agents in &options.agents {
            eprintln!("{} × {agents}: {} runs of each kind of work", kind.name(), options.runs);
            if options.layouts.contains(&Layout::Footplate) {
                rows.extend(times(subject, *kind, *agents, options)?);
                rows.extend(requests(subject, *kind, *agents, options)?);
            }
            // The original's tree lives in Consul's API only.
            if options.layouts.contains(&Layout::Depro) && *kind != Kind::Etcd {
                rows.extend(depro::measure(subject, *kind, *agents, options)?);
            }
        }
    }
    for (agents, sockets) in
        options.in_process.into_iter().zip([true, false]).filter(|(agents, _)| *agents > 0)
    {
        rows.extend(in_process::measure(workspace, agents, sockets, options.runs)?);
    }
    Ok(rows)
}

/// Measures the times of one site whose agents talk to the store directly.
fn times(subject: &Subject, kind: Kind, agents: usize, options: &Options) -> Result<Vec<Row>, Failure> {
    let site = Site::open(subject, kind, agents, false)?;
    let mut rows = Vec::new();
    for work in &options.works {
        let runs = if work.is_slow() { options.runs.div_ceil(2) } else { options.runs };
        // The first version comes to hosts that have nothing; it is no switch from one release to another.
        deploy(&site, *work, 0, options.seed)?;
        let (mut deployments, mut floors) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            deployments.push(deploy(&site, *work, run, options.seed)?);
            // Right behind, so that whatever else this machine does weighs on both.
            floors.push(floor_of(&site.scratch(&format!("floor-{run}")), *work, agents)?);
        }
        let place = rows::Place { kind, agents, work: *work, is_depro: false };
        rows.extend(rows::of_deployments(&place, &deployments));
        rows.extend(rows::of_floor(&place, &deployments, &floors));
        rows.extend(rows::of_cleanup(&place, clean(&site, *work, runs)?));
    }
    Ok(rows)
}

/// Measures requests of a deployment and at rest on a site whose agents talk to the store through a counting proxy.
fn requests(subject: &Subject, kind: Kind, agents: usize, options: &Options) -> Result<Vec<Row>, Failure> {
    let site = Site::open(subject, kind, agents, true)?;
    let proxy = site.proxy.as_ref().expect("the site was asked to count");
    let mut rows = Vec::new();
    for work in &options.counted {
        deploy(&site, *work, 0, options.seed)?;
        let mut counts = Vec::new();
        for run in 1..=2 {
            std::thread::sleep(SETTLE);
            drop(proxy.take());
            deploy(&site, *work, run, options.seed)?;
            std::thread::sleep(SETTLE);
            counts.push(proxy.take().len() as f64 / agents as f64);
        }
        rows.extend(rows::of_requests(&rows::Place { kind, agents, work: *work, is_depro: false }, &counts));
    }
    drop(proxy.take());
    let start = Instant::now();
    std::thread::sleep(options.idle);
    let requests = proxy.take().len() as f64 / agents as f64 / start.elapsed().as_secs_f64();
    rows.extend(rows::of_rest(kind, &site.agents, options.counted.len(), requests));
    Ok(rows)
}

/// How long after a deployment its last requests may still come.
const SETTLE: Duration = Duration::from_secs(1);

/// Deploys one version everywhere and reads what happened from the hosts' folders.
fn deploy(site: &Site, work: Work, run: usize, seed: u64) -> Result<Deployment, Failure> {
    let version = (run + 1).to_string();
    site.push(work, &version)?;
    if work.is_slow() {
        write_delays((0..site.agents.len()).map(|number| site.host(number)), seed + run as u64)?;
    }
    let watch = Watch::begin(
        site.kind,
        site.server.address,
        &format!("footplate/barriers/production.{}", work.app()),
    );
    let start = SystemTime::now();
    let subject = format!("{}@{version}", work.app());
    program::read(&mut site.command(&["deploy", &subject]), "see the agents' logs")?;
    let barrier = watch.and_then(Watch::changed_at);
    let read = |number| {
        let target = site.target(number, work.app());
        Host::read(&target.join(format!("versions/.{version}.complete")), &target.join("live"), &version)
    };
    let hosts: Result<Vec<Host>, std::io::Error> = (0..site.agents.len()).map(read).collect();
    let hosts =
        hosts.map_err(|error| Failure::new("cannot read a host's folder", error, "check the disk"))?;
    Ok(Deployment::of(start, barrier, &hosts))
}

/// Gives each host a time between 0 and 2 s for its slow script, in the file `delay` of its folder.
fn write_delays(hosts: impl Iterator<Item = PathBuf>, seed: u64) -> Result<(), Failure> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for host in hosts {
        state = next_random(state);
        let seconds = (state >> 11) as f64 / (1u64 << 53) as f64 * 2.0;
        std::fs::write(host.join("delay"), format!("{seconds:.3}"))
            .map_err(|error| Failure::new("cannot write a host's delay", error, "check the disk"))?;
    }
    Ok(())
}

/// The next number of Marsaglia's xorshift generator ("Xorshift RNGs", 2003, triple 13, 7, 17).
fn next_random(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}

/// Measures what the machine needs for the same scripts or renames alone, in folders below `place`.
fn floor_of(place: &Path, work: Work, agents: usize) -> Result<Duration, Failure> {
    let place = place.join(work.app());
    let time = match work {
        Work::Scripts => floor::scripts(&place, agents, work::SHELL, work::PREPARE, "ln -sfn $VERSION link"),
        _ => floor::renames(&place, agents),
    };
    time.map_err(|error| Failure::new("cannot measure the floor", error, "check that bash is installed"))
}

/// Measures the floor alone.
pub fn measure_floor(options: &Options) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for agents in &options.agents {
        for work in [Work::Scripts, Work::Directories] {
            let place = tempfile::tempdir();
            let place = place.map_err(|error| Failure::new("cannot make a folder", error, "check TMPDIR"))?;
            let times: Result<Vec<Duration>, Failure> = (0..options.runs)
                .map(|run| floor_of(&place.path().join(run.to_string()), work, *agents))
                .collect();
            let seconds: Vec<f64> = times?.iter().map(Duration::as_secs_f64).collect();
            rows.extend(Row::new(format!("floor × {agents} {}", work.app()), "s", &seconds));
        }
    }
    Ok(rows)
}

/// Removes the release before the last two, which stay whatever happens; returns the time until the last host's folder
/// is gone. Nothing when there is no such release.
fn clean(site: &Site, work: Work, runs: usize) -> Result<Option<Duration>, Failure> {
    let release = runs.saturating_sub(1).to_string();
    let is_gone = |number: usize| !site.target(number, work.app()).join("versions").join(&release).exists();
    if (0..site.agents.len()).any(is_gone) {
        return Ok(None);
    }
    let start = Instant::now();
    program::read(&mut site.command(&["clean", work.app(), "--release", &release]), "see the agents' logs")?;
    super::process::poll("the hosts to clean", Duration::from_secs(60), || {
        Ok((0..site.agents.len()).all(is_gone).then_some(Some(start.elapsed())))
    })
}
