//! Routers: told where requests go, asked what is still in flight and what they counted.
//!
//! Invariants: a router that was told nothing new is not disturbed; what it follows is what it says, not what it was told.
//! A driver holds no policy: who takes which part is decided in `core::traffic`.

mod builtin;
pub mod haproxy;
pub mod template;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use footplate_core::name::TargetName;
use footplate_core::traffic::Pool;
use footplate_core::traffic::counts::{Busiest, Counts, FailedRequest};

pub use builtin::Builtin;
pub use haproxy::Haproxy;
pub use template::Template;

use crate::disk::DiskError;
use crate::shell::ShellError;

/// A router on this host.
#[async_trait]
pub trait Router: Send + Sync {
    /// Names it, for people: `the router in /var/lib/footplate/router`.
    fn describe(&self) -> String;

    /// Makes it route by these pools and no others. Telling it the same again is fine.
    async fn follow(&self, pools: &[Pool]) -> Result<(), RouterError>;

    /// Says which of the pools' endpoints have requests in flight, as [`EndpointName`], in everything it consists of.
    /// `None` while a part of it (an older process that finishes its requests) has yet to follow what it was told last.
    async fn in_flight(&self) -> Result<Option<BTreeSet<EndpointName>>, RouterError>;

    /// Says everything that it counted since its line began, in everything it consists of: every attempt, before anything is
    /// tried again. Within a line the counts of a release only grow, also while it is out of the pools for a while, until it
    /// is forgotten. `None` when such a router counts nothing: that is not known, and never zero.
    async fn counts(&self) -> Result<Option<Counts>, RouterError> {
        Ok(self.facts(&After::default()).await?.map(|facts| facts.counts))
    }

    /// Says what a judge needs: the counts as [`Router::counts`] says them, which attempts failed by their release's fault after those that
    /// are known, and how much the busiest clients carry. `None` when such a router counts nothing.
    async fn facts(&self, after: &After) -> Result<Option<Facts>, RouterError>;
}

/// Which failed requests are known already: those up to this number of this line, none of any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// The line of router processes.
    pub line: String,
    /// The number of the last one that is known.
    pub number: u64,
}

/// What a router says for a judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What it counted since its line began.
    pub counts: Counts,
    /// What failed, by number.
    pub failed: Vec<FailedRequest>,
    /// How much the busiest clients of each target carry; nothing of a target where that is not known.
    pub busiest: BTreeMap<TargetName, Busiest>,
}

/// An endpoint as a router names it: `TARGET` and `HOST/RELEASE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointName {
    /// The process group: `production.shop.web`.
    pub service: String,
    /// The endpoint: `web-1/1.2`.
    pub endpoint: String,
}

/// A router that could not be told or asked.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// It does not answer.
    #[error("{router} does not answer")]
    Silent {
        /// Which.
        router: String,
        /// What happened to the question.
        #[source]
        source: io::Error,
    },
    /// It refused what it was told, or said what we do not understand.
    #[error("{router} refused: {said}")]
    Refused {
        /// Which.
        router: String,
        /// What it said.
        said: String,
    },
    /// A file for it cannot be read or written.
    #[error(transparent)]
    File(#[from] DiskError),
    /// A program that checks for it or loads it cannot be run.
    #[error(transparent)]
    Program(#[from] ShellError),
}

impl RouterError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            RouterError::File(error) => error.next(),
            RouterError::Program(error) => error.next(),
            RouterError::Silent { .. } => "see that it runs; it is told again by itself".to_owned(),
            RouterError::Refused { .. } => "mend what it says; it is told again by itself".to_owned(),
        }
    }
}

/// Which router runs on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Footplate's own, by its folder.
    Builtin(PathBuf),
    /// HAProxy.
    Haproxy(haproxy::Settings),
    /// A program that routes by a file of its own.
    Template(template::Settings),
}

/// Opens the driver of a router. It need not run yet.
pub fn open(config: &Config) -> Arc<dyn Router> {
    match config {
        Config::Builtin(folder) => Arc::new(Builtin::new(folder)),
        Config::Haproxy(settings) => Arc::new(Haproxy::new(settings.clone())),
        Config::Template(settings) => Arc::new(Template::new(settings.clone())),
    }
}
