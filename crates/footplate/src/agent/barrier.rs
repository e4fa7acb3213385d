//! Watching an app's barrier: only between prepared and activated, so that other apps' switches wake nobody.
//!
//! Invariant: what is returned was read after the watch began, never remembered.

use std::sync::Arc;
use std::time::Duration;

use footplate_core::generation::Generation;
use footplate_core::name::AppPath;
use footplate_core::record::{Barrier, Key, Stored};
use footplate_drivers::store::{self, Scope, Snapshot, Store, Troubles};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A barrier being watched until it reaches a generation; the watching ends when this is dropped.
pub struct Watch {
    awaited: Generation,
    reached: watch::Receiver<Option<Generation>>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Begins to watch the barrier of `path` until it reaches `awaited`.
    pub fn begin(
        store: Arc<dyn Store>,
        troubles: &Troubles,
        path: &AppPath,
        awaited: Generation,
        patience: Duration,
    ) -> Self {
        let (tell, reached) = watch::channel(None);
        let scope = Scope::Key(Key::Barrier(path.clone()).to_string());
        let mut barrier = store::Watch::new(store, scope, patience, troubles, "watch the barrier");
        let task = tokio::spawn(async move {
            while tell.borrow().is_none_or(|reached| reached < awaited) {
                let snapshot = barrier.next().await;
                tell.send_replace(generation(&snapshot));
            }
        });
        Self { awaited, reached, task }
    }

    /// Tells whether this watch is for this generation.
    pub fn awaits(&self, awaited: Generation) -> bool {
        self.awaited == awaited
    }

    /// Returns the barrier once it has reached what this watch is for. May be called again after being cancelled.
    pub async fn opened(&mut self) -> Generation {
        let awaited = self.awaited;
        let open = |reached: &Option<Generation>| reached.is_some_and(|reached| reached >= awaited);
        let reached = self.reached.wait_for(open).await.map(|reached| *reached);
        match reached {
            Ok(reached) => reached.expect("an open barrier has a generation"),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Reads the barrier of `path` once, trying until the store answers.
pub async fn read(store: &dyn Store, troubles: &Troubles, path: &AppPath) -> Option<Generation> {
    let scope = Scope::Key(Key::Barrier(path.clone()).to_string());
    let mut trouble = troubles.of("read the barrier");
    loop {
        match store.read(&scope).await {
            Ok(snapshot) => {
                trouble.is_over();
                return generation(&snapshot);
            }
            Err(error) => tokio::time::sleep(trouble.failed(&error)).await,
        }
    }
}

/// A barrier that cannot be read is a closed one: nothing is activated that nobody opened for us.
fn generation(snapshot: &Snapshot) -> Option<Generation> {
    let (key, entry) = snapshot.entries.first_key_value()?;
    let because = match serde_json::from_slice(&entry.value) {
        Ok(Stored::Known(Barrier { generation })) => return Some(generation),
        Ok(Stored::Newer(format)) => format!("a newer footplate wrote it, in format {format}"),
        Err(error) => error.to_string(),
    };
    tracing::error!("cannot read the barrier `{key}`\n  because: {because}\n  next: upgrade this agent");
    None
}
