//! Footplate's hands: one folder per family of drivers, each a trait, a contract and an `open`.
//!
//! Invariants: a family never imports another, and none holds policy: it reports facts and does as told.
//! What families share stands beside them: `shell` starts processes, `archive` packs and unpacks, `disk` makes durable,
//! `cause` tells why, `secret` keeps silent, `trust` begins HTTP clients, `http` talks to one server.

pub mod archive;
pub mod artifact;
pub mod build;
mod cause;
pub mod discovery;
pub mod disk;
pub mod failpoint;
pub mod health;
mod http;
pub mod kpi;
pub mod ledger;
pub mod service;
pub mod router;
pub mod shell;
pub mod source;
mod secret;
pub mod store;
pub mod trust;
pub mod workload;

pub use cause::{causes, chain};
pub use secret::{Secret, SecretError};

/// Runs what may block (files, mostly) on a thread where it stalls nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}
