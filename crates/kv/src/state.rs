//! The whole state of the store, as a value: entries, tombstones, sessions and tokens, and the counters above them.
//!
//! It changes only by [`State::absorb`], so that memory, disk and a reader's copy are folds of the same changes.
//! Invariants: the index never falls; the index of a prefix never falls, also when its tombstones are reaped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::entry::{Entry, Session};
use crate::token::Token;

/// Above this many tombstones the older half is reaped. Far more than anybody deletes while one read blocks.
pub const TOMBSTONES_MAX: usize = 100_000;

/// One step from a state to the next. Rows of the database are made of the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The entry stands under its key.
    Set(Arc<Entry>),
    /// The key is gone.
    Removed(Arc<str>),
    /// A key was deleted here.
    Buried(Arc<str>),
    /// The tombstones up to this index are forgotten.
    Reaped(u64),
    /// A session lives.
    SessionOpened(Arc<Session>),
    /// A session is over.
    SessionEnded(String),
    /// A token is valid.
    TokenSet(Arc<Token>),
    /// A token is revoked.
    TokenRevoked(String),
    /// The index was moved on without a write: everything that was read before is old.
    Jumped,
}

/// The changes of one command, all under one index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The index they happen at. Without changes it means nothing.
    pub index: u64,
    /// In order.
    pub list: Vec<Change>,
}

/// The counters of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The index of the last change of any kind.
    pub index: u64,
    /// The index of the last change of an entry.
    pub keys: u64,
    /// The index of the last change of a session.
    pub sessions: u64,
    /// No prefix shows an index below this: the newest reaped tombstone, or the last restore.
    pub floor: u64,
}

/// The indexes of what a reader looks at.
///
/// They differ where there is nothing: shown is the store's own index, as in Consul, but a reader that has seen that
/// one is not bothered by changes elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexes {
    /// What the reader is told, and waits from. At least 1.
    pub shown: u64,
    /// When it last changed, as far as is known: a reader that waits from an older index is answered at once.
    pub changed: u64,
}

/// Everything the store knows.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The counters.
    pub counters: Counters,
    entries: BTreeMap<Arc<str>, Arc<Entry>>,
    tombstones: BTreeMap<Arc<str>, u64>,
    sessions: BTreeMap<String, Arc<Session>>,
    tokens: BTreeMap<String, Arc<Token>>,
    held: BTreeMap<String, BTreeSet<Arc<str>>>,
}

impl State {
    /// Returns the entry under `key`.
    pub fn entry(&self, key: &str) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    /// Lists the entries whose keys begin with `prefix`, in the order of their bytes.
    pub fn tree<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.entries
            .range::<str, _>(from(prefix))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|e| e.1)
    }

    /// Returns the indexes of one key.
    pub fn key_indexes(&self, key: &str) -> Indexes {
        match self.entry(key) {
            Some(entry) => Indexes { shown: entry.modify_index, changed: entry.modify_index },
            None => self.nothing(self.tombstones.get(key).copied()),
        }
    }

    /// Returns the indexes of a prefix: those of its newest entry or tombstone.
    pub fn prefix_indexes(&self, prefix: &str) -> Indexes {
        let newest = if prefix.is_empty() {
            return Indexes { shown: self.counters.keys.max(1), changed: self.counters.keys };
        } else {
            self.tree(prefix).map(|entry| entry.modify_index).max()
        };
        let graves = self.tombstones.range::<str, _>(from(prefix));
        let buried = graves.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, index)| *index).max();
        match newest.max(buried.filter(|_| newest.is_some())) {
            Some(index) => {
                let index = index.max(self.counters.floor);
                Indexes { shown: index, changed: index }
            }
            None => self.nothing(buried),
        }
    }

    /// Returns the indexes of the sessions.
    pub fn session_indexes(&self) -> Indexes {
        let index = self.counters.sessions.max(1);
        Indexes { shown: index, changed: index }
    }

    fn nothing(&self, buried: Option<u64>) -> Indexes {
        let changed = buried.unwrap_or_default().max(self.counters.floor);
        Indexes { shown: self.counters.keys.max(1), changed }
    }

    /// Returns the session with this id.
    pub fn session(&self, id: &str) -> Option<&Arc<Session>> {
        self.sessions.get(id)
    }

    /// Lists all sessions by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.values()
    }

    /// Lists the keys that a session holds.
    pub fn held_by(&self, session: &str) -> impl Iterator<Item = &Arc<str>> {
        self.held.get(session).into_iter().flatten()
    }

    /// Returns the token with this id.
    pub fn token(&self, id: &str) -> Option<&Arc<Token>> {
        self.tokens.get(id)
    }

    /// Lists all tokens by id.
    pub fn tokens(&self) -> impl Iterator<Item = &Arc<Token>> {
        self.tokens.values()
    }

    /// Lists the tombstones with their indexes.
    pub fn tombstones(&self) -> &BTreeMap<Arc<str>, u64> {
        &self.tombstones
    }

    /// Counts the entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the index up to which tombstones are to be reaped, once there are too many.
    pub fn overfull_graveyard(&self) -> Option<u64> {
        (self.tombstones.len() > TOMBSTONES_MAX).then(|| {
            let mut indexes: Vec<u64> = self.tombstones.values().copied().collect();
            let middle = indexes.len() / 2;
            *indexes.select_nth_unstable(middle).1
        })
    }

    /// Goes on to the state after `changes`.
    pub fn absorb(&mut self, changes: &Changes) {
        for change in &changes.list {
            self.absorb_one(change, changes.index);
        }
    }

    fn absorb_one(&mut self, change: &Change, index: u64) {
        self.counters.index = self.counters.index.max(index);
        match change {
            Change::Set(entry) => self.set(entry, index),
            Change::Removed(key) => self.remove(key, index),
            Change::Buried(key) => {
                self.tombstones.insert(key.clone(), index);
            }
            Change::Reaped(up_to) => {
                self.tombstones.retain(|_, buried| *buried > *up_to);
                self.counters.floor = self.counters.floor.max(*up_to);
            }
            Change::SessionOpened(session) => {
                self.sessions.insert(session.id.clone(), session.clone());
                self.counters.sessions = index;
            }
            Change::SessionEnded(id) => {
                self.sessions.remove(id);
                self.counters.sessions = index;
            }
            Change::TokenSet(token) => {
                self.tokens.insert(token.id.clone(), token.clone());
            }
            Change::TokenRevoked(id) => {
                self.tokens.remove(id);
            }
            Change::Jumped => {
                self.counters = Counters { index, keys: index, sessions: index, floor: index };
            }
        }
    }

    fn set(&mut self, entry: &Arc<Entry>, index: u64) {
        self.counters.keys = self.counters.keys.max(index);
        // A living key's own index is newer than its tombstone's.
        self.tombstones.remove(&entry.key);
        let before = self.entries.insert(entry.key.clone(), entry.clone());
        self.let_go(before.as_deref());
        if let Some(session) = &entry.session {
            self.held.entry(session.clone()).or_default().insert(entry.key.clone());
        }
    }

    fn remove(&mut self, key: &Arc<str>, index: u64) {
        self.counters.keys = self.counters.keys.max(index);
        let before = self.entries.remove(key);
        self.let_go(before.as_deref());
    }

    fn let_go(&mut self, before: Option<&Entry>) {
        let Some((entry, session)) = before.and_then(|entry| Some((entry, entry.session.as_ref()?))) else {
            return;
        };
        if let Some(keys) = self.held.get_mut(session) {
            keys.remove(&entry.key);
            if keys.is_empty() {
                self.held.remove(session);
            }
        }
    }
}

fn from(prefix: &str) -> (Bound<&str>, Bound<&str>) {
    (Bound::Included(prefix), Bound::Unbounded)
}
