//! Where the controller's API listens.
//!
//! Invariants: without TLS it listens on loopback only, because who can reach it with a token can run code on every host.
//! Connections are bounded, and none stays that is slow with a request's headers, with TLS or with taking an answer.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use footplate_kv::Limits;
use footplate_kv::slow::Patience;
use hyper_util::rt::TokioTimer;

use crate::failure::Exit;

/// How long a client may take to agree on TLS.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

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
    limits: Limits,
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
                let loaded = loaded.map_err(|source| ListenError::Tls { files: files.clone(), source })?;
                // The limits are those of HTTP/1, so nothing else is offered.
                let mut config = loaded.get_inner().as_ref().clone();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some(RustlsConfig::from_config(Arc::new(config)))
            }
        };
        let bound = TcpListener::bind(address).and_then(|socket| {
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        });
        let (socket, address) = bound.map_err(|source| ListenError::Bind { address, source })?;
        Ok(Listener { socket, address, tls, limits: Limits::default() })
    }

    /// Returns the address as clients write it: `http://127.0.0.1:7701`.
    pub fn base(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answers requests until `handle` shuts it down.
    pub async fn serve(self, routes: Router, handle: Handle<SocketAddr>) -> std::io::Result<()> {
        let service = routes.into_make_service();
        let mut server = axum_server::from_tcp(self.socket)?.handle(handle).http1_only();
        let timer = TokioTimer::new();
        server.http_builder().http1().timer(timer).header_read_timeout(self.limits.header_time_max);
        let patience = Patience::new(self.limits);
        match self.tls {
            None => server.acceptor(patience).serve(service).await,
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE_TIME_MAX);
                server.acceptor(acceptor.acceptor(patience)).serve(service).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Serves with these limits, and returns where.
    async fn serve(limits: Limits) -> (SocketAddr, Handle<SocketAddr>) {
        let mut listener = Listener::bind(([127, 0, 0, 1], 0).into(), None).await.unwrap();
        listener.limits = limits;
        let (address, handle) = (listener.address, Handle::new());
        let routes = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(listener.serve(routes, handle.clone()));
        (address, handle)
    }

    /// Reads until the server closes the connection.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        // A reset is an end as well.
        drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("it is closed"));
        String::from_utf8_lossy(&text).into_owned()
    }

    #[tokio::test]
    async fn a_client_that_is_slow_with_its_headers_is_cut() {
        let limits = Limits { header_time_max: Duration::from_millis(50), ..Limits::default() };
        let (address, handle) = serve(limits).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        assert!(!rest(&mut slow).await.contains("here"));
        handle.shutdown();
    }

    #[tokio::test]
    async fn connections_are_bounded_and_a_place_becomes_free_again() {
        let (address, handle) = serve(Limits { connections_max: 1, ..Limits::default() }).await;
        let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(ask).await.unwrap();
        let mut begun = [0; 12];
        first.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200");
        let mut second = TcpStream::connect(address).await.unwrap();
        // It may be closed before the question is written.
        drop(second.write_all(ask).await);
        assert_eq!(rest(&mut second).await, "");
        drop(first);
        let again = async {
            loop {
                let mut third = TcpStream::connect(address).await.unwrap();
                let asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                drop(third.write_all(asked).await);
                if rest(&mut third).await.ends_with("here") {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, again).await.expect("a place is free again");
        handle.shutdown();
    }
}
