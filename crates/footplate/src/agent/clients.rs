//! The HTTP clients of an agent, made when they are first needed.
//!
//! Invariant: an agent that only talks to its store and fetches over plain HTTP never reads the system's certificate
//! authorities: they would be most of its memory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::redirect;
use rustls::{ClientConfig, RootCertStore};

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// One client for plain HTTP and one for TLS; each keeps its connections open.
#[derive(Debug, Default)]
pub struct Clients {
    plain: OnceLock<reqwest::Client>,
    tls: OnceLock<reqwest::Client>,
}

impl Clients {
    /// Returns the client for an address.
    pub fn of(&self, address: &str) -> reqwest::Client {
        if address.starts_with("https:") {
            self.tls.get_or_init(|| finished(builder())).clone()
        } else {
            self.plain
                .get_or_init(|| finished(builder().tls_backend_preconfigured(trusting_nobody())))
                .clone()
        }
    }
}

fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().redirect(redirect::Policy::none());
    builder.connect_timeout(CONNECT_DEADLINE)
}

fn finished(builder: reqwest::ClientBuilder) -> reqwest::Client {
    builder.build().expect("a client without files of its own can always be built")
}

fn trusting_nobody() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring speaks the default versions");
    builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}
