//! HAProxy, from Debian's 2.6 on: told over its master socket, by the generated configuration only where its structure
//! changes. docs/reference/routers.md is for whoever runs it.
//!
//! Invariants: the files in the driver's folder say where requests go before HAProxy is told, so that one that starts
//! again by itself does as was told last; a configuration that HAProxy's own check refuses is never put in place, and what
//! the one in place has room for is followed all the same; only what the processes say of themselves counts as followed.

mod change;
mod configuration;
mod extension;
mod files;
mod layout;
mod log;
mod line;
mod master;
mod program;
mod reach;
mod settings;
mod structure;
mod worker;

use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use async_trait::async_trait;
use footplate_core::traffic::Pool;
use tokio::sync::Mutex;

use super::{After, EndpointName, Facts, Router, RouterError};
use change::{Change, is_at};
use configuration::backend;
use files::{Files, Memory};
use layout::{Layout, State};
use log::Log;
use master::Master;
pub use settings::Settings;
use worker::Worker;

/// HAProxy.
pub struct Haproxy {
    settings: Settings,
    master: Master,
    files: Files,
    standing: Mutex<Standing>,
}

/// What the driver knows.
#[derive(Default)]
struct Standing {
    /// What it remembers, once that was read.
    memory: Option<Memory>,
    /// What it counts, once it began to.
    log: Option<Log>,
    /// What was refused last.
    refusal: Option<Refusal>,
    /// What was last said about refused files of the administrator.
    complaint: Option<String>,
}

/// A structure that HAProxy does not take.
struct Refusal {
    structure: String,
    since: Instant,
    said: String,
}

impl Haproxy {
    /// Makes the driver. Nothing is read or asked yet.
    pub fn new(settings: Settings) -> Self {
        let master = Master { socket: settings.master.clone() };
        let files = Files::new(&settings);
        Self { settings, master, files, standing: Mutex::default() }
    }

    async fn memory<'a>(&self, standing: &'a mut Standing) -> Result<&'a Memory, RouterError> {
        if standing.memory.is_none() {
            standing.memory = Some(self.files.remember().await?);
        }
        Ok(standing.memory.as_ref().expect("it was just read"))
    }

    async fn log<'a>(&self, standing: &'a mut Standing) -> Result<&'a Log, RouterError> {
        if standing.log.is_none() {
            let port = self.memory(standing).await?.log_port;
            let opened = Log::open(port).await;
            let cannot = |error| self.refused(format!("its log has nowhere to go: {error}"));
            standing.log = Some(opened.map_err(cannot)?);
        }
        Ok(standing.log.as_ref().expect("it was just opened"))
    }

    fn silent(&self, source: io::Error) -> RouterError {
        RouterError::Silent { router: self.describe(), source }
    }

    fn refused(&self, said: impl Into<String>) -> RouterError {
        RouterError::Refused { router: self.describe(), said: said.into() }
    }

    async fn look(&self, process: u32) -> Result<Option<Worker>, RouterError> {
        let shares = self.settings.shares_file();
        Worker::look(&self.master, process, &shares).await.map_err(|error| self.silent(error))
    }

    /// Returns the process that takes connections and all older ones, as they are now.
    async fn workers(&self) -> Result<(Worker, Vec<Worker>), RouterError> {
        let processes = self.master.processes().await.map_err(|error| self.silent(error))?;
        let current = match processes.current {
            Some(process) => self.look(process).await?,
            None => None,
        };
        let current = current.ok_or_else(|| self.refused("no process of it takes connections now"))?;
        let mut old = Vec::new();
        for process in processes.old {
            old.extend(self.look(process).await?);
        }
        Ok((current, old))
    }

    /// Tells every process what it lacks, and looks whether it follows.
    async fn tell(&self, layout: &Layout) -> Result<(), RouterError> {
        let (current, old) = self.workers().await?;
        let shares = self.settings.shares_file();
        let change = Change::of_current(layout, &current, &shares).map_err(|said| self.refused(said))?;
        let mut said = self.order(current.process, &change.bring).await?;
        for worker in &old {
            let change = Change::of_old(layout, worker, &shares);
            self.order(worker.process, &change.share).await?;
        }
        said += &self.order(current.process, &change.share).await?;
        said += &self.order(current.process, &change.take).await?;
        if change.is_nothing() {
            return Ok(());
        }
        let (now, _) = self.workers().await?;
        let left = Change::of_current(layout, &now, &shares).map_err(|said| self.refused(said))?;
        match left.is_nothing() {
            true => Ok(()),
            false => Err(self.refused(format!("it was told and does not follow; it said: {}", said.trim()))),
        }
    }

    async fn order(&self, process: u32, commands: &[String]) -> Result<String, RouterError> {
        self.master.tell(process, commands).await.map_err(|error| self.silent(error))
    }
}

#[async_trait]
impl Router for Haproxy {
    fn describe(&self) -> String {
        format!("the HAProxy at {}", self.settings.master.display())
    }

    async fn follow(&self, pools: &[Pool]) -> Result<(), RouterError> {
        let mut standing = self.standing.lock().await;
        let mut layout = self.memory(&mut standing).await?.layout.clone();
        layout.place(pools).map_err(|said| self.refused(said))?;
        let log = self.log(&mut standing).await?;
        log.follow(&layout);
        let port = log.port;
        let layout = self.settle(&mut standing, layout, port).await?;
        self.tell(&layout).await
    }

    /// An older process goes on with the servers that it knew: where it may still choose one that leaves, that one is busy.
    async fn in_flight(&self) -> Result<Option<BTreeSet<EndpointName>>, RouterError> {
        let standing = self.standing.lock().await;
        let Some(memory) = &standing.memory else { return Ok(None) };
        let (current, old) = self.workers().await?;
        let mut busy = BTreeSet::new();
        for (pool, tracks) in &memory.layout.pools {
            for ((track, place), release, slot) in tracks.places() {
                let name = (backend(pool, track), place.to_string());
                let server = |worker: &Worker| worker.servers.get(&name).copied();
                let serves = |worker: &Worker| server(worker).is_some_and(|server| server.in_flight > 0);
                let may_serve = |worker: &Worker| {
                    let leaves = slot.state != State::Serving && worker.draws(pool, track);
                    leaves && server(worker).is_some_and(|server| is_at(slot, &server))
                };
                if serves(&current) || old.iter().any(|worker| serves(worker) || may_serve(worker)) {
                    let endpoint = format!("{}/{release}", slot.host);
                    busy.insert(EndpointName { service: pool.clone(), endpoint });
                }
            }
        }
        Ok(Some(busy))
    }

    async fn facts(&self, after: &After) -> Result<Option<Facts>, RouterError> {
        let mut standing = self.standing.lock().await;
        let (mut facts, dropped) = self.log(&mut standing).await?.facts(after).await;
        if dropped > 0 {
            tracing::warn!(dropped, "{}: lines of its log came faster than they were read", self.describe());
        }
        let layout = &self.memory(&mut standing).await?.layout;
        let (current, old) = self.workers().await?;
        for (pool, tracks) in &layout.pools {
            let Ok(target) = pool.parse() else { continue };
            let releases = facts.counts.targets.entry(target).or_default();
            for ((track, place), release, _) in tracks.places() {
                let name = (backend(pool, track), place.to_string());
                let servers = old.iter().chain([&current]).filter_map(|worker| worker.servers.get(&name));
                releases.entry(release.clone()).or_default().in_flight +=
                    servers.map(|server| server.in_flight).sum::<u64>();
            }
        }
        Ok(Some(facts))
    }
}
