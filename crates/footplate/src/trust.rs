//! Whom an https client of ours trusts: the authorities of one PEM file, or nobody.
//!
//! Invariant: a file that was named is used alone and whole; the system's authorities are never added to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

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

/// Returns the TLS of a client that trusts these authorities and no other.
pub fn only(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring speaks the default versions");
    builder.with_root_certificates(roots).with_no_client_auth()
}
