//! The HTTP clients of an agent, made when they are first needed.
//!
//! Invariant: an agent that only talks to its store and fetches over plain HTTP never reads the system's certificate
//! authorities: they would be most of its memory.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use footplate_drivers::chain;
use reqwest::redirect;
use rustls::RootCertStore;

use crate::trust;

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

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
        if address.starts_with("https:") {
            self.tls.get_or_init(|| self.over_tls()).clone()
        } else {
            self.plain.get_or_init(|| trusting(RootCertStore::empty())).clone()
        }
    }

    /// An authority that cannot be read is said, and nobody is trusted: the fetch fails with the reason of TLS.
    fn over_tls(&self) -> reqwest::Client {
        let Some(file) = &self.ca_file else { return finished(builder()) };
        let roots = trust::read(file).unwrap_or_else(|error| {
            tracing::error!("{}", chain(&error));
            RootCertStore::empty()
        });
        trusting(roots)
    }
}

fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().redirect(redirect::Policy::none());
    builder.connect_timeout(CONNECT_DEADLINE)
}

fn finished(builder: reqwest::ClientBuilder) -> reqwest::Client {
    builder.build().expect("a client without files of its own can always be built")
}

fn trusting(roots: RootCertStore) -> reqwest::Client {
    finished(builder().tls_backend_preconfigured(trust::only(roots)))
}
