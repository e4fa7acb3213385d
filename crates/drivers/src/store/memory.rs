//! A store in this process's memory, for fast tests: the whole contract, and knobs for bad weather.
//!
//! Sessions expire on tokio's clock, so that a test with a paused clock decides when.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::limits::{check_scope, check_transaction, check_ttl};
use super::{
    Applied, Entry, Guard, Revision, Scope, SessionId, Snapshot, Store, StoreError, Transaction, Write,
};

/// What a memory store answers in place of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// It works.
    Fair,
    /// As if nobody listened.
    Unreachable,
    /// As if there were no leader.
    Unavailable,
    /// As if our token were wrong.
    Denied,
}

/// A store in memory. Share one behind an `Arc`; clones of the `Arc` are its clients.
pub struct Memory {
    tree: Mutex<Tree>,
    /// The revision of the last change, to wake those who wait; also moved by a change of weather.
    changed: watch::Sender<u64>,
}

struct Tree {
    revision: u64,
    entries: BTreeMap<String, Entry>,
    /// When a key that is gone was deleted, so that its absence is news.
    deleted: BTreeMap<String, u64>,
    sessions: BTreeMap<SessionId, Session>,
    sessions_opened: u64,
    weather: Weather,
    requests: u64,
}

struct Session {
    ttl: Duration,
    expires: Instant,
}

impl Default for Memory {
    fn default() -> Memory {
        let tree = Tree {
            // A revision is never 0: that is what a reader passes who has seen nothing.
            revision: 1,
            entries: BTreeMap::new(),
            deleted: BTreeMap::new(),
            sessions: BTreeMap::new(),
            sessions_opened: 0,
            weather: Weather::Fair,
            requests: 0,
        };
        Memory { tree: Mutex::new(tree), changed: watch::Sender::new(1) }
    }
}

impl Memory {
    /// Sets what the store answers from now on; those who wait notice at once.
    pub fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
        self.changed.send_modify(|_| ());
    }

    /// Ends a session as if it had not been renewed.
    pub fn expire(&self, session: &SessionId) {
        let mut tree = self.lock();
        tree.end_session(session);
        self.publish(&tree);
    }

    /// Returns the sessions that live.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.lock().sessions.keys().cloned().collect()
    }

    /// Returns how many calls were made; a wait is one.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("nothing panics while it holds this lock")
    }

    /// Opens the tree for one call: counted, with dead sessions removed, and refused in bad weather.
    fn begin(&self) -> Result<MutexGuard<'_, Tree>, StoreError> {
        let mut tree = self.lock();
        tree.requests += 1;
        tree.refuse_in_bad_weather()?;
        tree.expire_sessions(Instant::now());
        self.publish(&tree);
        Ok(tree)
    }

    fn publish(&self, tree: &Tree) {
        self.changed.send_if_modified(|revision| std::mem::replace(revision, tree.revision) != tree.revision);
    }

    async fn wait_for_news(&self, scope: &Scope, seen: Revision) -> Result<Snapshot, StoreError> {
        let mut changed = self.changed.subscribe();
        drop(self.begin()?);
        loop {
            let next_expiry = {
                let mut tree = self.lock();
                tree.refuse_in_bad_weather()?;
                tree.expire_sessions(Instant::now());
                self.publish(&tree);
                changed.mark_unchanged();
                if seen.0 == 0 || tree.revision < seen.0 || tree.changed_in(scope) > seen.0 {
                    return Ok(tree.snapshot(scope));
                }
                tree.sessions.values().map(|session| session.expires).min()
            };
            let expiry = async {
                match next_expiry {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expiry => (),
                news = changed.changed() => news.expect("the sender lives in self"),
            }
        }
    }
}

impl Tree {
    fn refuse_in_bad_weather(&self) -> Result<(), StoreError> {
        let (driver, address) = ("memory", "here".to_owned());
        let answer = "as the test said".to_owned();
        match self.weather {
            Weather::Fair => Ok(()),
            Weather::Unreachable => Err(StoreError::Unreachable { driver, address, source: answer.into() }),
            Weather::Unavailable => Err(StoreError::Unavailable { driver, address, answer }),
            Weather::Denied => Err(StoreError::Denied { driver, address, answer }),
        }
    }

    fn expire_sessions(&mut self, now: Instant) {
        let dead: Vec<SessionId> =
            self.sessions.iter().filter(|(_, s)| s.expires <= now).map(|(id, _)| id.clone()).collect();
        for session in dead {
            self.end_session(&session);
        }
    }

    fn end_session(&mut self, session: &SessionId) {
        if self.sessions.remove(session).is_none() {
            return;
        }
        let held = self.entries.iter().filter(|(_, entry)| entry.session.as_ref() == Some(session));
        let keys: Vec<String> = held.map(|(key, _)| key.clone()).collect();
        self.revision += 1;
        for key in keys {
            self.remove(&key);
        }
    }

    fn snapshot(&self, scope: &Scope) -> Snapshot {
        let entries = self.entries.iter().filter(|(key, _)| contains(scope, key));
        Snapshot {
            revision: Revision(self.revision),
            entries: entries.map(|(key, entry)| (key.clone(), entry.clone())).collect(),
        }
    }

    fn changed_in(&self, scope: &Scope) -> u64 {
        let set = self.entries.iter().map(|(key, entry)| (key, entry.revision.0));
        let deleted = self.deleted.iter().map(|(key, revision)| (key, *revision));
        set.chain(deleted)
            .filter(|(key, _)| contains(scope, key))
            .map(|(_, revision)| revision)
            .max()
            .unwrap_or(0)
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Absent(key) => !self.entries.contains_key(key),
            Guard::Unchanged(key, revision) => {
                self.entries.get(key).is_some_and(|entry| entry.revision == *revision)
            }
            Guard::HeldBy(key, session) => {
                self.entries.get(key).is_some_and(|entry| entry.session.as_ref() == Some(session))
            }
        }
    }

    fn may_write(&self, write: &Write) -> Result<bool, StoreError> {
        let Write::PutEphemeral(key, _, session) = write else { return Ok(true) };
        if !self.sessions.contains_key(session) {
            return Err(StoreError::SessionGone(session.clone()));
        }
        let holder = self.entries.get(key).and_then(|entry| entry.session.as_ref());
        Ok(holder.is_none_or(|holder| holder == session))
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Put(key, value) => {
                let session = self.entries.get(key).and_then(|entry| entry.session.clone());
                self.put(key, value, session);
            }
            Write::PutEphemeral(key, value, session) => self.put(key, value, Some(session.clone())),
            Write::Delete(key) => self.remove(key),
            Write::DeletePrefix(prefix) => {
                let keys: Vec<String> =
                    self.entries.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
                for key in keys {
                    self.remove(&key);
                }
            }
        }
    }

    /// The same value again is no change, as in Consul.
    fn put(&mut self, key: &str, value: &[u8], session: Option<SessionId>) {
        let same = |entry: &Entry| entry.value == value && entry.session == session;
        if !self.entries.get(key).is_some_and(same) {
            let entry = Entry { value: value.to_vec(), revision: Revision(self.revision), session };
            self.entries.insert(key.to_owned(), entry);
            self.deleted.remove(key);
        }
    }

    fn remove(&mut self, key: &str) {
        if self.entries.remove(key).is_some() {
            self.deleted.insert(key.to_owned(), self.revision);
        }
    }
}

fn contains(scope: &Scope, key: &str) -> bool {
    match scope {
        Scope::Key(wanted) => key == wanted,
        Scope::Prefix(prefix) => key.starts_with(prefix),
    }
}

#[async_trait]
impl Store for Memory {
    fn describe(&self) -> String {
        "a store in memory".to_owned()
    }

    async fn read(&self, scope: &Scope) -> Result<Snapshot, StoreError> {
        check_scope(scope)?;
        Ok(self.begin()?.snapshot(scope))
    }

    async fn wait(
        &self,
        scope: &Scope,
        seen: Revision,
        patience: Duration,
    ) -> Result<Option<Snapshot>, StoreError> {
        check_scope(scope)?;
        timeout(patience, self.wait_for_news(scope, seen)).await.ok().transpose()
    }

    async fn apply(&self, transaction: &Transaction) -> Result<Applied, StoreError> {
        check_transaction(transaction)?;
        let mut tree = self.begin()?;
        let mut free = true;
        for write in &transaction.writes {
            free &= tree.may_write(write)?;
        }
        if !free || !transaction.guards.iter().all(|guard| tree.holds(guard)) {
            return Ok(Applied::No);
        }
        tree.revision += 1;
        for write in &transaction.writes {
            tree.write(write);
        }
        self.publish(&tree);
        Ok(Applied::Yes)
    }

    async fn open_session(&self, label: &str, ttl: Duration) -> Result<SessionId, StoreError> {
        check_ttl(ttl)?;
        let mut tree = self.begin()?;
        tree.sessions_opened += 1;
        let session = SessionId(format!("{label}-{}", tree.sessions_opened));
        tree.sessions.insert(session.clone(), Session { ttl, expires: Instant::now() + ttl });
        Ok(session)
    }

    async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError> {
        let mut tree = self.begin()?;
        let found = tree.sessions.get_mut(session).ok_or_else(|| StoreError::SessionGone(session.clone()))?;
        found.expires = Instant::now() + found.ttl;
        Ok(())
    }

    async fn close_session(&self, session: &SessionId) -> Result<(), StoreError> {
        let mut tree = self.begin()?;
        tree.end_session(session);
        self.publish(&tree);
        Ok(())
    }
}
