//! A scope of the store, always as new as the network allows.
//!
//! Invariants: an outage delays news and loses no state; a state is told once, and only when its entries differ from the
//! state told before; whatever the server answers, it is asked at most a few times a second without news.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::trouble::{Trouble, Troubles};
use super::{Revision, Scope, Snapshot, Store};

/// How long one request may wait for news, for who has no other wish. Also the longest that a connection which died
/// without a word goes unnoticed.
pub const WATCH_PATIENCE: Duration = Duration::from_secs(60);

/// The first pause after an answer without news, doubled each time in a row; nothing for the ordinary early wake-up.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Consul wakes who waits for an absent key at *every* write anywhere: this is what such a waiter may cost.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Follows a scope, one question at a time, and asks nothing while nobody waits for the next state.
pub struct Watch {
    store: Arc<dyn Store>,
    scope: Scope,
    patience: Duration,
    seen: Revision,
    latest: Option<Arc<Snapshot>>,
    trouble: Trouble,
    pause: Backoff,
}

impl Watch {
    /// Prepares to follow `scope`; each request waits for news for `patience`, such as [`WATCH_PATIENCE`]. `doing`
    /// completes "cannot …" for people: `read this host's orders`.
    pub fn new(
        store: Arc<dyn Store>,
        scope: Scope,
        patience: Duration,
        troubles: &Troubles,
        doing: impl Into<String>,
    ) -> Watch {
        let (trouble, pause) = (troubles.of(doing), Backoff::new(PAUSE_FIRST, PAUSE_MAX, 0));
        Watch { store, scope, patience, seen: Revision(0), latest: None, trouble, pause }
    }

    /// Waits for the first state, then for each newer one; skips those that were overtaken.
    ///
    /// Costs one request for each piece of news (on etcd two), plus one each time the patience is over. Who cancels it
    /// loses nothing but the question under way.
    pub async fn next(&mut self) -> Arc<Snapshot> {
        loop {
            let asked = Instant::now();
            let answer = match self.store.wait(&self.scope, self.seen, self.patience).await {
                Ok(answer) => answer,
                Err(error) => {
                    // Who comes back may be a restored server that counts from lower: ask it for all it has.
                    self.seen = Revision(0);
                    sleep(self.trouble.failed(&error)).await;
                    continue;
                }
            };
            self.trouble.is_over();
            let waited_it_out = answer.is_none() && asked.elapsed() >= self.patience / 2;
            if let Some(news) = answer.and_then(|snapshot| self.news(snapshot)) {
                self.pause.reset();
                return news;
            }
            if waited_it_out {
                self.pause.reset();
            } else {
                sleep(self.pause.step()).await;
            }
        }
    }

    /// Keeps the snapshot and returns it when its entries are news.
    fn news(&mut self, snapshot: Snapshot) -> Option<Arc<Snapshot>> {
        // Also when it is lower than before: a restored server counts from there.
        self.seen = snapshot.revision;
        if self.latest.as_ref().is_some_and(|before| before.entries == snapshot.entries) {
            return None;
        }
        self.latest = Some(Arc::new(snapshot));
        self.latest.clone()
    }
}
