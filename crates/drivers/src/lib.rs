//! Footplate's hands: one folder per family of drivers, each a trait, a contract and an `open`.
//!
//! Invariants: a family never imports another, and none holds policy: it reports facts and does as told.
//! What families share stands beside them: `shell` starts processes, `archive` packs and unpacks, `disk` makes durable.

pub mod archive;
pub mod artifact;
pub mod build;
pub mod disk;
pub mod failpoint;
pub mod ledger;
pub mod shell;
pub mod source;
pub mod store;
pub mod workload;

/// Returns an error and its causes in one line: `cannot write x: no space left`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

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
