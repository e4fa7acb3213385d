//! A store that remembers which prefixes were read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use footplate_drivers::store::memory::Memory;
use footplate_drivers::store::{
    Applied, Revision, Scope, SessionId, Snapshot, Store, StoreError, Transaction,
};

/// Passes everything on.
pub struct Recorded {
    inner: Arc<Memory>,
    prefixes: Mutex<Vec<String>>,
}

impl Recorded {
    pub fn new(inner: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self { inner, prefixes: Mutex::default() })
    }

    /// Lists the prefixes that were read since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.prefixes.lock().unwrap())
    }

    fn note(&self, scope: &Scope) {
        if let Scope::Prefix(prefix) = scope {
            self.prefixes.lock().unwrap().push(prefix.clone());
        }
    }
}

#[async_trait]
impl Store for Recorded {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn read(&self, scope: &Scope) -> Result<Snapshot, StoreError> {
        self.note(scope);
        self.inner.read(scope).await
    }

    async fn wait(
        &self,
        scope: &Scope,
        seen: Revision,
        patience: Duration,
    ) -> Result<Option<Snapshot>, StoreError> {
        self.note(scope);
        self.inner.wait(scope, seen, patience).await
    }

    async fn apply(&self, transaction: &Transaction) -> Result<Applied, StoreError> {
        self.inner.apply(transaction).await
    }

    async fn open_session(&self, label: &str, ttl: Duration) -> Result<SessionId, StoreError> {
        self.inner.open_session(label, ttl).await
    }

    async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.inner.renew_session(session).await
    }

    async fn close_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.inner.close_session(session).await
    }
}
