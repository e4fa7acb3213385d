//! The embedded store of `footplate up`: served on loopback, and used by the roles as any other store.
//!
//! Invariant: it demands its root token, which only this user may read: every user of a machine reaches its loopback,
//! and who writes the store runs code on every host.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use footplate_drivers::store::{self, Credentials, Secret, Store};
use footplate_kv::{Config, ROOT_TOKEN_FILE, Server};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::failure::{Exit, Failure};

/// A store that lives as long as this process.
pub struct OwnStore {
    server: Arc<Server>,
    serving: JoinHandle<()>,
    stop: CancellationToken,
    store: Arc<dyn Store>,
}

impl OwnStore {
    /// Opens the store in `folder` on a free loopback port.
    pub async fn open(folder: &Path) -> Result<Self, Failure> {
        let what = "cannot start the store";
        let failed = |error: &footplate_kv::Failure| {
            Failure::new(Exit::Failed, what)
                .because_of(&error.what)
                .because_of(&error.because)
                .next(&error.next)
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { listen, tokens: true, ..Config::loopback(folder) };
        let server = Arc::new(Server::open(config).await.map_err(|error| failed(&error))?);
        let listener = server.bind().await.map_err(|error| failed(&error))?;
        let address =
            listener.local_addr().map_err(|error| Failure::new(Exit::Failed, what).because(&error))?;
        let stop = CancellationToken::new();
        let serving = {
            let (server, stop) = (server.clone(), stop.clone());
            tokio::spawn(async move {
                if let Err(error) = server.serve(listener, stop.cancelled_owned()).await {
                    tracing::error!(%error, "the store has failed");
                }
            })
        };
        let token = std::fs::read_to_string(folder.join(ROOT_TOKEN_FILE))
            .map_err(|error| Failure::new(Exit::Failed, what).because(&error))?;
        let opened = store::Config::new(&format!("http://{address}")).and_then(|mut config| {
            config.credentials = Credentials::Token(Secret::new(token.trim()));
            store::open(&config)
        });
        let store = opened.map_err(|error| Failure::new(Exit::Failed, what).because(&error))?;
        Ok(Self { server, serving, stop, store })
    }

    /// Returns the way to it.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Stops serving and closes its files.
    pub async fn close(self) {
        self.stop.cancel();
        if let Err(error) = self.serving.await {
            tracing::warn!(%error, "the store's server ended badly");
        }
        match Arc::into_inner(self.server) {
            Some(server) => server.close().await,
            None => tracing::warn!("the store is still in use; what it acknowledged is on the disk"),
        }
    }
}
