//! A scope of the store, always as new as the network allows.
//!
//! Invariants: an outage delays news and loses no state; a state is told once, and only when its entries differ from the
//! state told before; whatever the server answers, it is asked at most a few times a second without news.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::patient::Patient;
use super::{Revision, Scope, Snapshot};

/// How long one request may wait for news, for who has no other wish. Also the longest that a connection which died
/// without a word goes unnoticed.
pub const WATCH_PATIENCE: Duration = Duration::from_secs(60);

/// The first pause after an answer without news, doubled each time in a row; nothing for the ordinary early wake-up.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Consul wakes who waits for an absent key at *every* write anywhere: this is what such a waiter may cost.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Follows a scope in a task of its own, which ends when this is dropped.
pub struct Watch {
    latest: watch::Receiver<Option<Arc<Snapshot>>>,
    task: AbortHandle,
}

impl Watch {
    /// Begins to follow `scope`; each request waits for news for `patience`, such as [`WATCH_PATIENCE`].
    ///
    /// Costs one request at first and one for each piece of news (on etcd two), plus one each time the patience is over.
    pub fn start(patient: Arc<Patient>, scope: Scope, patience: Duration) -> Watch {
        let (sender, latest) = watch::channel(None);
        let task = tokio::spawn(follow(patient, scope, patience, sender)).abort_handle();
        Watch { latest, task }
    }

    /// Waits for the first state, then for each newer one; skips those that were overtaken. Safe to cancel.
    pub async fn next(&mut self) -> Arc<Snapshot> {
        loop {
            self.latest.changed().await.expect("the task lives as long as this");
            if let Some(snapshot) = &*self.latest.borrow_and_update() {
                return Arc::clone(snapshot);
            }
        }
    }

    /// Returns the newest state, or `None` before the first.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        self.latest.borrow().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    patient: Arc<Patient>,
    scope: Scope,
    patience: Duration,
    sender: watch::Sender<Option<Arc<Snapshot>>>,
) {
    let mut seen = Revision(0);
    let mut waiting = patient.begin(&format!("watch {scope}"));
    let mut pause = Backoff::new(PAUSE_FIRST, PAUSE_MAX, 0);
    loop {
        let asked = Instant::now();
        let answer = match patient.store().wait(&scope, seen, patience).await {
            Ok(answer) => answer,
            Err(error) => {
                sleep(waiting.after(&error)).await;
                // Who comes back may be a restored server that counts from lower: ask it for all it has.
                seen = Revision(0);
                continue;
            }
        };
        waiting.over();
        let waited_it_out = answer.is_none() && asked.elapsed() >= patience / 2;
        let mut is_news = false;
        if let Some(snapshot) = answer {
            // Also when it is lower than before: a restored server counts from there.
            seen = snapshot.revision;
            is_news = sender.send_if_modified(|latest| renew(latest, snapshot));
        }
        if is_news || waited_it_out {
            pause.reset();
        } else {
            sleep(pause.step()).await;
        }
    }
}

/// Keeps the snapshot; tells whether its entries are news.
fn renew(latest: &mut Option<Arc<Snapshot>>, snapshot: Snapshot) -> bool {
    let same = latest.as_ref().is_some_and(|before| before.entries == snapshot.entries);
    if !same {
        *latest = Some(Arc::new(snapshot));
    }
    !same
}
