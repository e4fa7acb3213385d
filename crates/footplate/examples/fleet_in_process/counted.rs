//! A store that counts what is asked of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use footplate_drivers::store::{
    Applied, Revision, Scope, SessionId, Snapshot, Store, StoreError, Transaction, Write,
};

/// Passes everything on. Each call of a [`Store`] is one request on Consul's API.
pub struct Counted {
    inner: Arc<dyn Store>,
    requests: AtomicU64,
    barrier_writes: AtomicU64,
}

impl Counted {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Counted> {
        Arc::new(Counted { inner, requests: AtomicU64::new(0), barrier_writes: AtomicU64::new(0) })
    }

    /// Returns how many requests and how many writes of a barrier there were, and begins anew.
    pub fn take(&self) -> (u64, u64) {
        (self.requests.swap(0, Ordering::Relaxed), self.barrier_writes.swap(0, Ordering::Relaxed))
    }

    fn count(&self) -> &dyn Store {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.as_ref()
    }
}

#[async_trait]
impl Store for Counted {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn read(&self, scope: &Scope) -> Result<Snapshot, StoreError> {
        self.count().read(scope).await
    }

    async fn wait(
        &self,
        scope: &Scope,
        seen: Revision,
        patience: Duration,
    ) -> Result<Option<Snapshot>, StoreError> {
        self.count().wait(scope, seen, patience).await
    }

    async fn apply(&self, transaction: &Transaction) -> Result<Applied, StoreError> {
        let barriers = transaction
            .writes
            .iter()
            .filter(|write| matches!(write, Write::Put(key, _) if key.starts_with("barriers/")));
        self.barrier_writes.fetch_add(barriers.count() as u64, Ordering::Relaxed);
        self.count().apply(transaction).await
    }

    async fn open_session(&self, label: &str, ttl: Duration) -> Result<SessionId, StoreError> {
        self.count().open_session(label, ttl).await
    }

    async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.count().renew_session(session).await
    }

    async fn close_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.count().close_session(session).await
    }
}
