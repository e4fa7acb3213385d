//! The same measurement in the original's layout: `footplate depro agent` and `footplate depro deploy` on its own tree.

use super::barrier::Watch;
use super::observation::{Deployment, Host};
use super::rows::{self, Place};
use super::work::{PREPARE, SHELL};
use super::{Options, SETTLE, Subject, Work, write_delays};
use crate::bench::process::{Process, poll};
use crate::bench::proxy::Proxy;
use crate::bench::report::Row;
use crate::bench::server::{Kind, Server, request};
use crate::failure::Failure;
use crate::program;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// A store and agents that follow one deployment each; no controller.
struct Site {
    kind: Kind,
    server: Server,
    proxy: Option<Proxy>,
    agents: Vec<Process>,
    place: PathBuf,
    binary: PathBuf,
}

const PREFIX: &str = "bench/versions";

/// Measures no-op and slow scripts, each on a site of its own, and the requests through a counting proxy.
pub fn measure(subject: &Subject, kind: Kind, agents: usize, options: &Options) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for work in [Work::Scripts, Work::SlowScripts] {
        let place = Place { kind, agents, work, is_depro: true };
        let site = Site::open(subject, kind, agents, work, false)?;
        site.deploy(work, 0, options.seed)?;
        let runs = if work.is_slow() { options.runs.div_ceil(2) } else { options.runs };
        let deployments: Result<Vec<Deployment>, Failure> =
            (1..=runs).map(|run| site.deploy(work, run, options.seed)).collect();
        rows.extend(rows::of_deployments(&place, &deployments?));
        rows.extend(rows::of_cleanup(&place, Some(site.clean()?)));
        drop(site);
        rows.extend(requests(subject, &place, options)?);
    }
    Ok(rows)
}

fn requests(subject: &Subject, place: &Place, options: &Options) -> Result<Option<Row>, Failure> {
    let site = Site::open(subject, place.kind, place.agents, place.work, true)?;
    let proxy = site.proxy.as_ref().expect("the site was asked to count");
    site.deploy(place.work, 0, options.seed)?;
    let mut counts = Vec::new();
    for run in 1..=2 {
        std::thread::sleep(SETTLE);
        drop(proxy.take());
        site.deploy(place.work, run, options.seed)?;
        std::thread::sleep(SETTLE);
        counts.push(proxy.take().len() as f64 / place.agents as f64);
    }
    Ok(rows::of_requests(place, &counts))
}

impl Site {
    fn open(
        subject: &Subject,
        kind: Kind,
        agents: usize,
        work: Work,
        counted: bool,
    ) -> Result<Site, Failure> {
        let failure = |error: std::io::Error| {
            Failure::new("cannot set up the site", error, "check TMPDIR and the disk")
        };
        let (binary, place) = (&subject.binary, subject.place()?);
        let server = Server::start(kind, binary, &place.join("store"))?;
        let proxy = if counted { Some(Proxy::open(server.address).map_err(failure)?) } else { None };
        let address = proxy.as_ref().map_or(server.address, Proxy::address);
        let mut site = Site { kind, server, proxy, agents: Vec::new(), place, binary: binary.into() };
        for number in 0..agents {
            let folder = site.host(number);
            fs::create_dir_all(folder.join("app")).map_err(failure)?;
            let file = folder.join("agent.json");
            fs::write(&file, configuration(number, &folder, address, work).to_string()).map_err(failure)?;
            let mut command = Command::new(binary);
            command.args(["depro", "agent", "-config-file"]).arg(&file);
            site.agents.push(Process::start(command, &folder.join("log"))?);
        }
        fs::write(site.place.join("deploy.json"), "{\"wait\": \"120s\"}").map_err(failure)?;
        Ok(site)
    }

    fn host(&self, number: usize) -> PathBuf {
        self.place.join("hosts").join(number.to_string())
    }

    /// Deploys a version and reads what happened from the hosts' folders.
    fn deploy(&self, work: Work, run: usize, seed: u64) -> Result<Deployment, Failure> {
        let version = (run + 1).to_string();
        if work.is_slow() {
            write_delays((0..self.agents.len()).map(|number| self.host(number)), seed + run as u64)?;
        }
        let watch = Watch::begin(self.kind, self.server.address, &format!("{PREFIX}/current"));
        let start = SystemTime::now();
        let mut command = Command::new(&self.binary);
        command.args(["depro", "deploy", "-server", &self.server.address.to_string(), "-prefix", PREFIX]);
        command
            .args(["-nodes", &self.agents.len().to_string(), "-config"])
            .arg(self.place.join("deploy.json"));
        program::read(command.arg(&version), "see the agents' logs")?;
        let read = |number| {
            let folder = self.host(number).join("app");
            let mark = folder.join(if work.is_slow() { format!("ready-{version}") } else { version.clone() });
            Host::read(&mark, &folder.join("link"), &version)
        };
        // The original's command does not wait for the activations.
        let hosts = poll("all hosts to activate", Duration::from_secs(60), || {
            let hosts: Result<Vec<Host>, std::io::Error> = (0..self.agents.len()).map(read).collect();
            let hosts = hosts
                .map_err(|error| Failure::new("cannot read a host's folder", error, "check the disk"))?;
            Ok(hosts.iter().all(|host| host.activated.is_some()).then_some(hosts))
        })?;
        Ok(Deployment::of(start, watch.and_then(Watch::changed_at), &hosts))
    }

    /// Deletes the first version's tree; returns the time until the last host's folder is gone.
    fn clean(&self) -> Result<Duration, Failure> {
        let start = Instant::now();
        request(self.server.address, "DELETE", &format!("/v1/kv/{PREFIX}/1/?recurse"), "")
            .map_err(|error| Failure::new("cannot delete the version", error, "see the store's log"))?;
        poll("the hosts to clean", Duration::from_secs(60), || {
            Ok((0..self.agents.len())
                .all(|number| !self.host(number).join("app/1").exists())
                .then(|| start.elapsed()))
        })
    }
}

/// The configuration of one agent as the original writes it. A host's folder holds `delay`, `app/VERSION` and `app/link`.
fn configuration(number: usize, folder: &Path, server: SocketAddr, work: Work) -> serde_json::Value {
    let slowly = "sleep $(cat ../../delay) && touch ../ready-$VERSION";
    serde_json::json!({
        "name": format!("host-{number:05}"),
        "server": server.to_string(),
        "wait": "60s",
        "deployments": [{
            "id": "bench",
            "path": folder.join("app"),
            "prefix": PREFIX,
            "shell": SHELL,
            "deploy": [if work.is_slow() { slowly } else { PREPARE }],
            "rollout": ["ln -sfn $VERSION ../link"],
        }],
    })
}
