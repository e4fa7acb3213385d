//! The embedded store's server, reached over a socket or by calling its router.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::http::{Request, Response};
use footplate_drivers::store::consul::Consul;
use footplate_drivers::store::{Config, Handler, Store};
use footplate_kv::{Config as ServerConfig, Server};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Failure;

/// Starts the server and returns a maker of stores that reach it: one for each agent over sockets, so that each has
/// connections of its own.
pub async fn start(
    data: &Path,
    sockets: bool,
    stop: &CancellationToken,
) -> Result<impl Fn() -> Result<Arc<dyn Store>, Failure> + use<>, Failure> {
    let mut config = ServerConfig::loopback(data);
    config.listen.set_port(0);
    let server = Arc::new(Server::open(config).await?);
    let router = server.router();
    let address = if sockets {
        let listener = server.bind().await?;
        let address = listener.local_addr()?;
        tokio::spawn(serve(server, listener, stop.clone()));
        address.to_string()
    } else {
        // Never connected to: the router answers.
        std::mem::forget(server);
        "127.0.0.1:1".to_owned()
    };
    let config = Config::new(&format!("http://{address}"))?;
    Ok(move || {
        let store = Consul::open(&config)?;
        let store = if sockets { store } else { store.answered_by(handler(router.clone())) };
        Ok(Arc::new(store) as Arc<dyn Store>)
    })
}

async fn serve(server: Arc<Server>, listener: tokio::net::TcpListener, stop: CancellationToken) {
    if let Err(failure) = server.serve(listener, async move { stop.cancelled().await }).await {
        eprintln!("the store has ended: {failure}");
    }
}

/// Returns what answers a client's requests by calling the router.
fn handler(router: Router) -> Handler {
    Arc::new(move |request| {
        let router = router.clone();
        Box::pin(async move {
            let request: Request<reqwest::Body> = request.try_into().expect("the client has built it");
            let answer = router
                .oneshot(request.map(axum::body::Body::new))
                .await
                .expect("a router answers everything");
            let (head, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body in memory can be read");
            Response::from_parts(head, body).into()
        })
    })
}
