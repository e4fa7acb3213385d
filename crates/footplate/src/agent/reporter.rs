//! Writes reports that differ from what the store holds: all targets of the agent in one transaction.
//!
//! Invariants: a report is written only by an agent that holds its host's name (each transaction is guarded by it);
//! the newest report of a target wins, older ones that were never written are skipped; nobody waits for the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use footplate_drivers::failpoint;
use footplate_drivers::store::{Applied, Guard, SessionId, Store, StoreError, Troubles, Write, transactions};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::presence::Membership;

/// How long a refused transaction waits for news of the membership before it is tried again.
const DOUBT_PATIENCE: Duration = Duration::from_secs(5);

/// Reports by store key.
pub type Reports = BTreeMap<String, Vec<u8>>;

/// Where workers leave their reports.
pub struct Reporter {
    books: Mutex<Books>,
    changed: Notify,
    written: watch::Sender<u64>,
    /// How many workers have yet to report what they found when the agent began.
    awaited: watch::Sender<usize>,
}

#[derive(Default)]
struct Books {
    /// What should stand in the store.
    wanted: Reports,
    /// What stands there, as far as this agent knows.
    held: Reports,
}

impl Reporter {
    /// Makes an empty one that awaits the first reports of so many workers.
    pub fn new(awaited: usize) -> Self {
        Self {
            books: Mutex::default(),
            changed: Notify::new(),
            written: watch::Sender::new(0),
            awaited: watch::Sender::new(awaited),
        }
    }

    /// Leaves a report to be written as soon as may be.
    pub fn publish(&self, key: &str, report: Vec<u8>) {
        let before = self.books().wanted.insert(key.to_owned(), report.clone());
        if before.as_ref() != Some(&report) {
            self.changed.notify_one();
        }
    }

    /// Returns what was last left under this key.
    pub fn published(&self, key: &str) -> Option<Vec<u8>> {
        self.books().wanted.get(key).cloned()
    }

    /// Notes that one of the awaited workers has reported, or can not.
    pub fn first_report_is_in(&self) {
        self.awaited.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Waits until all awaited workers have reported, or `patience` is over.
    pub async fn first_reports(&self, patience: Duration) {
        let mut awaited = self.awaited.subscribe();
        let all = awaited.wait_for(|count| *count == 0);
        if timeout(patience, all).await.is_err() {
            tracing::debug!("the host is announced before all its targets were looked at");
        }
    }

    /// Waits until something was written, or `patience` is over. For a report that the next one would hide.
    pub async fn flush(&self, patience: Duration) {
        let mut written = self.written.subscribe();
        if timeout(patience, written.wait_for(|_| self.missing().is_empty())).await.is_err() {
            tracing::debug!("a report was not written in time; the next one covers it");
        }
    }

    /// Returns the writes that make the store hold what is wanted and nothing else, given what it holds.
    pub fn settle_accounts(&self, held: &Reports) -> Vec<Write> {
        let books = self.books();
        let stale = held.keys().filter(|key| !books.wanted.contains_key(*key)).cloned().map(Write::Delete);
        stale.chain(missing(&books.wanted, held)).collect()
    }

    /// Notes that these writes were applied to a store that held `held`.
    pub fn note_settled(&self, held: Reports, writes: Vec<Write>) {
        self.books().held = held;
        self.note_written(writes);
    }

    fn note_written(&self, writes: Vec<Write>) {
        let mut books = self.books();
        for write in writes {
            match write {
                Write::Put(key, report) => drop(books.held.insert(key, report)),
                Write::Delete(key) => drop(books.held.remove(&key)),
                Write::PutEphemeral(..) | Write::DeletePrefix(_) => (),
            }
        }
        drop(books);
        self.written.send_modify(|count| *count += 1);
    }

    fn missing(&self) -> Vec<Write> {
        let books = self.books();
        missing(&books.wanted, &books.held).collect()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing<'a>(wanted: &'a Reports, held: &'a Reports) -> impl Iterator<Item = Write> + 'a {
    let missing = wanted.iter().filter(|(key, report)| held.get(*key) != Some(report));
    missing.map(|(key, report)| Write::Put(key.clone(), report.clone()))
}

/// The loop that writes.
pub struct Writer {
    /// Where to.
    pub store: Arc<dyn Store>,
    /// What is said when it does not answer.
    pub troubles: Troubles,
    /// From where.
    pub reporter: Arc<Reporter>,
    /// Whether it may.
    pub membership: watch::Receiver<Membership>,
    /// Where to tell that the name is not held after all.
    pub doubt: Arc<Notify>,
    /// `agents/<host>/alive`: the guard.
    pub alive: String,
}

impl Writer {
    /// Writes for as long as the name is held, and begins anew with each session. Ends only by being dropped.
    pub async fn run(mut self) {
        loop {
            let membership = self.membership.borrow_and_update().clone();
            match membership {
                Membership::Held(session) => self.write_for(&session).await,
                Membership::Seeking | Membership::Taken => {
                    if self.membership.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn write_for(&mut self, session: &SessionId) {
        let mut trouble = self.troubles.of("write this host's reports");
        while self.still_held(session) {
            match self.write_once(session).await {
                Ok(Applied::Yes) => trouble.is_over(),
                Ok(Applied::No) => self.doubt().await,
                Err(error) => tokio::time::sleep(trouble.failed(&error)).await,
            }
        }
    }

    fn still_held(&self, session: &SessionId) -> bool {
        matches!(&*self.membership.borrow(), Membership::Held(held) if held == session)
    }

    /// Writes what is missing; waits when nothing is.
    async fn write_once(&mut self, session: &SessionId) -> Result<Applied, StoreError> {
        let guard = Guard::HeldBy(self.alive.clone(), session.clone());
        let Some(transaction) = transactions(&[guard], self.reporter.missing()).into_iter().next() else {
            tokio::select! {
                () = self.reporter.changed.notified() => (),
                Ok(()) = self.membership.changed() => (),
            }
            return Ok(Applied::Yes);
        };
        let applied = self.store.apply(&transaction).await?;
        failpoint!("agent.report_written");
        if applied == Applied::Yes {
            self.reporter.note_written(transaction.writes);
        }
        Ok(applied)
    }

    async fn doubt(&mut self) {
        self.doubt.notify_one();
        if timeout(DOUBT_PATIENCE, self.membership.changed()).await.is_err() {
            tracing::debug!("the name seems to be held, yet a report was refused; it is tried again");
        }
    }
}
