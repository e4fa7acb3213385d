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
    renewals: AtomicU64,
    barrier_writes: AtomicU64,
}

/// What was asked of a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Everything but renewals of sessions, which come every 15 s whether somebody deploys or not.
    pub requests: u64,
    /// Renewals of sessions.
    pub renewals: u64,
    /// Writes of a barrier among the requests.
    pub barrier_writes: u64,
}

impl Counted {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Counted> {
        let [requests, renewals, barrier_writes] = Default::default();
        Arc::new(Counted { inner, requests, renewals, barrier_writes })
    }

    /// Returns what was asked, and begins anew.
    pub fn take(&self) -> Asked {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Asked {
            requests: take(&self.requests),
            renewals: take(&self.renewals),
            barrier_writes: take(&self.barrier_writes),
        }
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
        self.renewals.fetch_add(1, Ordering::Relaxed);
        self.inner.renew_session(session).await
    }

    async fn close_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.count().close_session(session).await
    }
}
