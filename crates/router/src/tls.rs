//! Certificates from files, read again when they change; the one that a client asks for by name.
//!
//! Invariant: files that do not belong together never come into force; the pair before stays.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use crate::config::Tls;
use crate::failure::Failure;

/// What makes a file the same one as before: place, size and time of its last change.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The certificates in force.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<Tls>,
    keys: ArcSwap<Vec<Arc<CertifiedKey>>>,
    stamps: Mutex<Vec<Stamp>>,
}

impl Certificates {
    /// Reads all pairs.
    ///
    /// # Errors
    /// A file cannot be read, or a certificate and its key do not belong together.
    pub fn open(files: Vec<Tls>) -> Result<Arc<Certificates>, Failure> {
        let stamps = stamps(&files);
        let keys = read(&files)?;
        Ok(Arc::new(Certificates { files, keys: ArcSwap::from_pointee(keys), stamps: Mutex::new(stamps) }))
    }

    /// Reads all pairs again if a file has changed; tells whether they are in force.
    ///
    /// # Errors
    /// As [`Certificates::open`]; the pairs before stay in force, and are not judged again before the next change.
    pub fn refresh(&self) -> Result<bool, Failure> {
        let now = stamps(&self.files);
        let mut before = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == now {
            return Ok(false);
        }
        *before = now;
        self.keys.store(Arc::new(read(&self.files)?));
        Ok(true)
    }

    /// Returns how to speak TLS with them: HTTP/2 or HTTP/1.1, as the client likes.
    pub fn config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder =
            builder.with_safe_default_protocol_versions().expect("the provider has the usual suites");
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.load();
        let name = client.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| keys.iter().find(|key| is_for(key, &name)));
        named.or_else(|| keys.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.end_entity_cert().ok().and_then(|der| EndEntityCert::try_from(der).ok());
    certificate.is_some_and(|certificate| certificate.verify_is_valid_for_subject_name(name).is_ok())
}

fn stamps(files: &[Tls]) -> Vec<Stamp> {
    let stamp = |path: &Path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.ino(), facts.size(), facts.mtime(), facts.mtime_nsec()))
    };
    files.iter().flat_map(|pair| [stamp(&pair.certificate), stamp(&pair.key)]).collect()
}

fn read(files: &[Tls]) -> Result<Vec<Arc<CertifiedKey>>, Failure> {
    files.iter().map(read_pair).collect()
}

fn read_pair(pair: &Tls) -> Result<Arc<CertifiedKey>, Failure> {
    let (certificate, key) = (pair.certificate.display(), pair.key.display());
    let trouble = |error: &dyn std::fmt::Display| {
        let what = format!("cannot use the certificate {certificate} with the key {key}");
        Failure::new(what, error, "both must be PEM files that belong together")
    };
    let chain = CertificateDer::pem_file_iter(&pair.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| trouble(&error))?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| trouble(&error))?;
    let key =
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| trouble(&error))?;
    Ok(Arc::new(key))
}
