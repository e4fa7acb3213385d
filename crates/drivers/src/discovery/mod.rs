//! Catalogs in which programs that are none of ours look services up.
//!
//! Invariants: an instance is entered whole, in one request; entering it again and removing what is absent are fine; what
//! stands in a catalog takes requests only while whoever entered it lives. No policy: who may take requests is decided elsewhere.

pub mod consul;
mod naming;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::name::{HostName, ReleaseId, TargetName};

use crate::http::HttpError;
pub use naming::{NAME_DEFAULT, is_template, service_name};

/// One release of a process group, on the catalog's host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceName {
    /// The process group.
    pub target: TargetName,
    /// The release that it runs.
    pub release: ReleaseId,
}

impl fmt::Display for InstanceName {
    /// Writes `production.shop.web:1.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.target, self.release)
    }
}

/// What a catalog says of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it takes requests.
    pub standing: Standing,
}

/// Whether an instance takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does, so many relative to the others: 1 to 65,535.
    Serving(u16),
    /// It does not.
    Out(Reason),
}

/// Why an instance takes no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is up and has yet to be let in.
    Standby,
    /// It finishes those that it has.
    Draining,
    /// It does not pass its health checks.
    Unready,
    /// Its release's share of the traffic is nothing.
    NoShare,
}

impl Reason {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Standby => "standby",
            Reason::Draining => "draining",
            Reason::Unready => "unready",
            Reason::NoShare => "no-share",
        }
    }
}

/// Whether the catalog knows whoever entered something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It does, and counts from now on again.
    Yes,
    /// It has forgotten, and all that was entered.
    Forgotten,
}

/// What stands in a catalog in a host's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The instances by the catalog's own ids; without a name where that cannot be read.
    pub instances: BTreeMap<String, Option<InstanceName>>,
    /// Whether the host's agent is announced.
    pub is_announced: bool,
}

/// A catalog, as one host's agent writes it.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Names it, for people: `Consul at 127.0.0.1:8500`.
    fn describe(&self) -> String;

    /// Returns the catalog's id of an instance.
    fn id(&self, name: &InstanceName) -> String;

    /// Lists what stands there in this host's name, whoever entered it.
    async fn list(&self) -> Result<Listed, DiscoveryError>;

    /// Says that this host's agent lives; must come before the first instance is entered.
    async fn announce(&self) -> Result<(), DiscoveryError>;

    /// Says that it still does. Without it all of the host's instances take no requests after the time to live.
    async fn renew(&self) -> Result<Renewed, DiscoveryError>;

    /// Takes the announcement back; there must be no instance any more.
    async fn withdraw(&self) -> Result<(), DiscoveryError>;

    /// Enters an instance, or changes what is said of it.
    async fn enter(&self, name: &InstanceName, instance: &Instance) -> Result<(), DiscoveryError>;

    /// Removes what has this id.
    async fn remove(&self, id: &str) -> Result<(), DiscoveryError>;
}

/// A catalog that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Nobody answers, or not in time.
    #[error("cannot reach {catalog} at {address}")]
    Unreachable {
        /// `Consul`.
        catalog: &'static str,
        /// Host and port.
        address: String,
        /// What went wrong on the way.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers, but cannot work now.
    #[error("{catalog} at {address} cannot answer now: {answer}")]
    Unavailable {
        /// Which.
        catalog: &'static str,
        /// Host and port.
        address: String,
        /// What it said, shortened.
        answer: String,
    },
    /// The token is missing, wrong, or may not write this.
    #[error("{catalog} at {address} refuses our token: {answer}")]
    Denied {
        /// Which.
        catalog: &'static str,
        /// Host and port.
        address: String,
        /// What it said, shortened.
        answer: String,
    },
    /// What is configured cannot be used: an address, a CA file.
    #[error("cannot use this catalog: {0}")]
    Misconfigured(String),
}

impl DiscoveryError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> &'static str {
        match self {
            DiscoveryError::Unreachable { .. } | DiscoveryError::Unavailable { .. } => {
                "see that the Consul agent of this host runs; services and rollouts go on without it, and we keep trying"
            }
            DiscoveryError::Denied { .. } => {
                "give the token the right to write these services (`footplate store policy consul --role agent --services NAME`); \
                 services and rollouts go on without it, and we keep trying"
            }
            DiscoveryError::Misconfigured(_) => {
                "correct `[discovery]` in agent.toml, and start the agent again"
            }
        }
    }
}

impl From<HttpError> for DiscoveryError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable { driver: catalog, address, source } => {
                DiscoveryError::Unreachable { catalog, address, source }
            }
            HttpError::Unavailable { driver: catalog, address, answer } => {
                DiscoveryError::Unavailable { catalog, address, answer }
            }
            HttpError::Denied { driver: catalog, address, answer } => {
                DiscoveryError::Denied { catalog, address, answer }
            }
        }
    }
}

/// Which catalog a host's services stand in, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The catalog.
    pub consul: consul::Settings,
    /// How long instances go on taking requests when their agent does not say that it lives.
    pub ttl: Duration,
    /// How long an instance that takes no requests any more stays up, so that whoever looked it up before is answered.
    pub drain: Duration,
}

/// Opens the catalog for one host; nothing is sent yet.
///
/// # Errors
/// [`DiscoveryError::Misconfigured`] when the CA file cannot be read.
pub fn open(config: &Config, host: &HostName) -> Result<Arc<dyn Catalog>, DiscoveryError> {
    Ok(Arc::new(consul::Consul::open(config.consul.clone(), config.ttl, host)?))
}
