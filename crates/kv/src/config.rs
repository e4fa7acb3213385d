//! What a server is told, and the rule about where it may listen.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;

/// A server's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its files lie: the database, the lock, the root token.
    pub data_dir: PathBuf,
    /// The address it listens on.
    pub listen: SocketAddr,
    /// The certificate it shows, if it speaks TLS.
    pub tls: Option<Tls>,
    /// Whether requests need a token.
    pub tokens: bool,
    /// What clients may take.
    pub limits: Limits,
}

/// A certificate and its key, in PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, with the chain below it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Reads that are blocked at once.
    pub waiters_max: usize,
    /// Connections at once.
    pub connections_max: usize,
    /// How long a client may take for a request's headers.
    pub header_time_max: Duration,
    /// How long a client may take for a request's body.
    pub body_time_max: Duration,
    /// How long a connection may stay without taking what is written to it.
    pub write_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            waiters_max: 100_000,
            connections_max: 16_384,
            // Connections that clients keep open between requests end after this time too.
            header_time_max: Duration::from_secs(70),
            body_time_max: Duration::from_secs(30),
            write_time_max: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Returns the settings of a server for this machine alone: loopback, Consul's port, no TLS, no tokens.
    pub fn loopback(data_dir: impl Into<PathBuf>) -> Self {
        Config {
            data_dir: data_dir.into(),
            listen: (Ipv4Addr::LOCALHOST, 8500).into(),
            tls: None,
            tokens: false,
            limits: Limits::default(),
        }
    }

    /// Checks that whoever can reach the address must prove who they are: who writes here runs code on every host.
    ///
    /// # Errors
    /// The address is not loopback, and TLS or tokens are missing.
    pub fn check(&self) -> Result<(), Failure> {
        if self.listen.ip().is_loopback() || (self.tls.is_some() && self.tokens) {
            return Ok(());
        }
        let missing = match (self.tls.is_some(), self.tokens) {
            (false, false) => "TLS and tokens",
            (false, true) => "TLS",
            _ => "tokens",
        };
        Err(Failure::new(
            format!("cannot listen on {}", self.listen),
            format!(
                "other machines reach this address, and {missing} are off: whoever writes here runs code on every host"
            ),
            "give a certificate and its key and turn tokens on, or listen on 127.0.0.1",
        ))
    }
}
