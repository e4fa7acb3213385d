//! Whom an HTTP client of ours trusts: the system's authorities, those of one PEM file, or nobody.
//!
//! Invariants: a file that was named is used alone and whole; the system's authorities are never added to it, and never
//! read without need: they would be most of an idle agent's memory. No client follows a redirect or uses a proxy of the
//! environment: what it shows is for whom it was told, alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Why a file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the authority in {}", .file.display())]
pub struct TrustError {
    file: PathBuf,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Reads the authorities of a PEM file; one at least must be there.
pub fn read(file: &Path) -> Result<RootCertStore, TrustError> {
    let roots = || {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err("it holds no certificate".into());
        }
        Ok(roots)
    };
    roots().map_err(|source| TrustError { file: file.to_owned(), source })
}

/// Returns whom to trust at `address`: nobody for plain HTTP, the authorities of the file, or (`None`) the system's.
pub fn at(address: &str, ca_file: Option<&Path>) -> Result<Option<RootCertStore>, TrustError> {
    match (address.starts_with("https:"), ca_file) {
        (false, _) => Ok(Some(RootCertStore::empty())),
        (true, Some(file)) => read(file).map(Some),
        (true, None) => Ok(None),
    }
}

/// Begins an HTTP client that trusts these authorities and no other, or (`None`) the system's.
pub fn client(roots: Option<RootCertStore>) -> ClientBuilder {
    let builder =
        Client::builder().no_proxy().redirect(redirect::Policy::none()).connect_timeout(CONNECT_WITHIN);
    match roots {
        Some(roots) => builder.tls_backend_preconfigured(only(roots)),
        None => {
            // Fails when the process has chosen a provider already, which is then the one to use.
            rustls::crypto::ring::default_provider().install_default().ok();
            builder
        }
    }
}

fn only(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring speaks the default versions");
    builder.with_root_certificates(roots).with_no_client_auth()
}
