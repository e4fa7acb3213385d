//! A store that is waited for: the same calls, tried again for ever with back-off while another try may help.
//!
//! Invariants: it says once (one warning) that it begins to wait and once that it is over, however many calls wait; it never
//! spins and never gives up by itself. What no repetition can mend is returned at once.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::{Applied, Scope, SessionId, Snapshot, Store, StoreError, Transaction};
use crate::chain;

const DELAY_FIRST: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(15);

/// A store with the patience of a long-running role. One for each process, shared by all that it does.
pub struct Patient {
    store: Arc<dyn Store>,
    seed: AtomicU64,
    troubles: Mutex<BTreeMap<u64, Trouble>>,
}

/// What a role waits for, for `status` and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it was about to do: `watch hosts/web-1/`.
    pub what: String,
    /// Why it could not, with every cause.
    pub because: String,
    /// Since when.
    pub since: Instant,
}

impl Patient {
    /// Takes a store and a seed that scatters the tries; any number, best a different one in each process.
    pub fn new(store: Arc<dyn Store>, seed: u64) -> Arc<Patient> {
        Arc::new(Patient { store, seed: AtomicU64::new(seed), troubles: Mutex::default() })
    }

    /// Returns the store itself, for calls that shall fail at once.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns what is waited for the longest, or `None` when all is well.
    pub fn trouble(&self) -> Option<Trouble> {
        self.lock().values().min_by_key(|trouble| trouble.since).cloned()
    }

    /// Reads a scope; see [`Store::read`].
    pub async fn read(&self, scope: &Scope) -> Result<Snapshot, StoreError> {
        self.retry(&format!("read {scope}"), || self.store.read(scope)).await
    }

    /// Applies a transaction; see [`Store::apply`].
    ///
    /// When an answer was lost on the way, the repetition finds its own work done and says [`Applied::No`] if a guard
    /// forbids that: then read what stands there.
    pub async fn apply(&self, transaction: &Transaction) -> Result<Applied, StoreError> {
        self.retry("write", || self.store.apply(transaction)).await
    }

    /// Opens a session; see [`Store::open_session`]. One whose answer was lost dies by itself.
    pub async fn open_session(&self, label: &str, ttl: Duration) -> Result<SessionId, StoreError> {
        self.retry("open a session", || self.store.open_session(label, ttl)).await
    }

    /// Repeats `attempt` until it succeeds or fails for good. `what` ends the sentence "cannot …".
    pub async fn retry<T, F, A>(&self, what: &str, mut attempt: F) -> Result<T, StoreError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, StoreError>>,
    {
        let mut waiting = self.begin(what);
        loop {
            match attempt().await {
                Err(error) if error.is_worth_a_retry() => sleep(waiting.after(&error)).await,
                outcome => {
                    waiting.over();
                    return outcome;
                }
            }
        }
    }

    /// Begins something that may have to wait.
    pub(super) fn begin(&self, what: &str) -> Waiting<'_> {
        let id = self.seed.fetch_add(1, Ordering::Relaxed);
        let backoff = Backoff::new(DELAY_FIRST, DELAY_MAX, id);
        Waiting { patient: self, what: what.to_owned(), id, backoff, said: None }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Trouble>> {
        self.troubles.lock().expect("nothing panics while it holds this lock")
    }
}

/// One activity's tries: how long until the next, and what has been said about it.
pub(super) struct Waiting<'a> {
    patient: &'a Patient,
    what: String,
    id: u64,
    backoff: Backoff,
    said: Option<Discriminant<StoreError>>,
}

impl Waiting<'_> {
    /// Notes a failure and returns how long to wait. Speaks when the trouble is the first of all, or of a new kind.
    pub fn after(&mut self, error: &StoreError) -> Duration {
        let because = chain(error);
        let kind = discriminant(error);
        if self.said != Some(kind) {
            let known = self.note(&because);
            let (what, store) = (&self.what, self.patient.store.describe());
            if known && self.said.is_none() {
                tracing::debug!(%because, "cannot {what} either");
            } else {
                tracing::warn!(%store, %because, "cannot {what}; trying again until it works");
            }
            self.said = Some(kind);
        }
        self.backoff.step()
    }

    /// Notes a success. Speaks when it was the last of the troubles.
    pub fn over(&mut self) {
        self.backoff.reset();
        if self.said.take().is_none() {
            return;
        }
        let mut troubles = self.patient.lock();
        if let Some(trouble) = troubles.remove(&self.id).filter(|_| troubles.is_empty()) {
            let (store, waited) = (self.patient.store.describe(), trouble.since.elapsed());
            tracing::warn!(%store, seconds = waited.as_secs(), "the store works again");
        }
    }

    /// Enters the trouble; tells whether others were in trouble already.
    fn note(&self, because: &str) -> bool {
        let mut troubles = self.patient.lock();
        let known = troubles.keys().any(|id| *id != self.id);
        let since = troubles.get(&self.id).map_or_else(Instant::now, |trouble| trouble.since);
        troubles.insert(self.id, Trouble { what: self.what.clone(), because: because.to_owned(), since });
        known
    }
}

impl Drop for Waiting<'_> {
    /// Whoever is no longer interested waits for nothing.
    fn drop(&mut self) {
        self.patient.lock().remove(&self.id);
    }
}
