//! The HTTP clients of an agent, made when they are first needed.
//!
//! Invariant: an agent that only talks to its store and fetches over plain HTTP never reads the system's certificate
//! authorities: they would be most of its memory.

use std::path::PathBuf;
use std::sync::OnceLock;

use footplate_drivers::{chain, trust};
use rustls::RootCertStore;

/// One client for plain HTTP and one for TLS; each keeps its connections open.
#[derive(Debug, Default)]
pub struct Clients {
    /// The authority to trust instead of the system's: the one that the store is trusted by.
    ca_file: Option<PathBuf>,
    plain: OnceLock<reqwest::Client>,
    tls: OnceLock<reqwest::Client>,
}

impl Clients {
    /// Makes clients that trust the authority in this file, or the system's.
    pub fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, ..Self::default() }
    }

    /// Returns the client for an address.
    pub fn of(&self, address: &str) -> reqwest::Client {
        let kept = if address.starts_with("https:") { &self.tls } else { &self.plain };
        kept.get_or_init(|| self.begin(address)).clone()
    }

    /// An authority that cannot be read is said, and nobody is trusted: the fetch fails with the reason of TLS.
    fn begin(&self, address: &str) -> reqwest::Client {
        let roots = trust::at(address, self.ca_file.as_deref()).unwrap_or_else(|error| {
            tracing::error!("{}", chain(&error));
            Some(RootCertStore::empty())
        });
        trust::client(roots).build().expect("a client without files of its own can always be built")
    }
}
