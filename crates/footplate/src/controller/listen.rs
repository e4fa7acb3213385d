//! Where the controller's API listens.
//!
//! Invariant: without TLS it listens on loopback only, because who can reach it with a token can run code on every host.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;

use crate::failure::Exit;

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why the API could not begin to listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A public address without TLS.
    #[error("{0} can be reached by other machines, and no certificate is configured")]
    Unprotected(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or the key cannot be used.
    #[error("cannot use the certificate {} with the key {}", .files.certificate.display(), .files.key.display())]
    Tls {
        /// Which files.
        files: TlsFiles,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl ListenError {
    /// Returns the exit code that stands for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unprotected(_) => Exit::Refused,
            Self::Bind { .. } => Exit::Failed,
            Self::Tls { .. } => Exit::Usage,
        }
    }
}

/// A bound address that does not answer yet.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, files: Option<&TlsFiles>) -> Result<Listener, ListenError> {
        if !address.ip().is_loopback() && files.is_none() {
            return Err(ListenError::Unprotected(address));
        }
        let tls = match files {
            None => None,
            Some(files) => {
                let loaded = RustlsConfig::from_pem_file(&files.certificate, &files.key).await;
                Some(loaded.map_err(|source| ListenError::Tls { files: files.clone(), source })?)
            }
        };
        let bound = TcpListener::bind(address).and_then(|socket| {
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        });
        let (socket, address) = bound.map_err(|source| ListenError::Bind { address, source })?;
        Ok(Listener { socket, address, tls })
    }

    /// Returns the address as clients write it: `http://127.0.0.1:7701`.
    pub fn base(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answers requests until `handle` shuts it down.
    pub async fn serve(self, routes: Router, handle: Handle<SocketAddr>) -> std::io::Result<()> {
        let service = routes.into_make_service();
        match self.tls {
            Some(tls) => axum_server::from_tcp_rustls(self.socket, tls)?.handle(handle).serve(service).await,
            None => axum_server::from_tcp(self.socket)?.handle(handle).serve(service).await,
        }
    }
}
