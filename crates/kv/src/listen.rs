//! Sockets: binding, TLS, limits against slow clients, and an orderly end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Tls};
use crate::failure::Failure;
use crate::slow::Patience;

/// How long running requests may take to finish once the server stops.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a client may take to agree on TLS.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Lets this process open as many files as the system allows it, and returns how many that is.
///
/// Each connection is an open file, and the usual limit at first is 1,024. Programs started afterwards inherit the new
/// limit; that is why a server in a process with other work does not do this by itself.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => most,
        Err(_) => limit.current.unwrap_or(most),
    }
}

/// Opens the configured address.
pub async fn bind(config: &Config) -> Result<TcpListener, Failure> {
    TcpListener::bind(config.listen).await.map_err(|error| {
        Failure::new(
            format!("cannot listen on {}", config.listen),
            error,
            "stop whoever has the address, or choose another one",
        )
    })
}

/// Serves the router until `shutdown` is done.
pub async fn serve(
    config: &Config,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Failure> {
    let trouble = |error: std::io::Error| {
        Failure::new("cannot serve", error, "see the reason; the data is safe, start the server again")
    };
    let handle = Handle::new();
    let ending = tokio::spawn({
        let handle = handle.clone();
        async move {
            shutdown.await;
            stop.cancel();
            handle.graceful_shutdown(Some(END_TIME_MAX));
        }
    });
    let listener = listener.into_std().map_err(trouble)?;
    let service = router.into_make_service();
    let mut server = axum_server::from_tcp(listener).map_err(trouble)?.handle(handle).http1_only();
    let timer = TokioTimer::new();
    server.http_builder().http1().timer(timer).header_read_timeout(config.limits.header_time_max);
    let patience = Patience::new(config.limits);
    let served = match &config.tls {
        None => server.acceptor(patience).serve(service).await,
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(load(tls)?).handshake_timeout(HANDSHAKE_TIME_MAX);
            server.acceptor(acceptor.acceptor(patience)).serve(service).await
        }
    };
    ending.abort();
    served.map_err(trouble)
}

fn load(tls: &Tls) -> Result<RustlsConfig, Failure> {
    let trouble = |error: &dyn std::fmt::Display| {
        Failure::new(
            format!(
                "cannot use the certificate {} with the key {}",
                tls.certificate.display(),
                tls.key.display()
            ),
            error,
            "both must be PEM files that belong together",
        )
    };
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| trouble(&error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| trouble(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| trouble(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    use super::raise_open_files;

    #[test]
    fn afterwards_the_process_may_open_as_many_files_as_the_system_allows() {
        let most = raise_open_files();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), most);
    }
}
