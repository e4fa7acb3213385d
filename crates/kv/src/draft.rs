//! What one command would change: an overlay over the state that becomes a list of changes, or is dropped.
//!
//! The semantics of each verb are those of Consul 1.8.7, whose answers the differential suite compares.
//! A write that changes nothing moves no index.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::command::Content;
use crate::entry::{Behavior, Entry, Session};
use crate::state::{Change, Changes, State};

/// A command's view of the state, with its own changes on top.
pub struct Draft<'a> {
    base: &'a State,
    index: u64,
    entries: BTreeMap<Arc<str>, Option<Arc<Entry>>>,
    others: Vec<Change>,
}

impl<'a> Draft<'a> {
    /// Starts from `base`; all changes will carry the next index.
    pub fn new(base: &'a State) -> Self {
        Draft { base, index: base.counters.index.max(1) + 1, entries: BTreeMap::new(), others: Vec::new() }
    }

    /// Returns the changes, in an order in which they can be absorbed.
    pub fn into_changes(self) -> Changes {
        let entries = self.entries.into_iter().map(|(key, entry)| match entry {
            Some(entry) => Change::Set(entry),
            None => Change::Removed(key),
        });
        let list = self.others.into_iter().chain(entries).collect();
        Changes { index: self.index, list }
    }

    /// Returns the index that the changes carry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Moves the index of all changes on. Comes before any of them.
    pub fn jump(&mut self, by: u64) {
        self.index += by;
    }

    /// Adds a change that is not about an entry.
    pub fn note(&mut self, change: Change) {
        self.others.push(change);
    }

    /// Returns the entry under `key`.
    pub fn entry(&self, key: &str) -> Option<&Arc<Entry>> {
        match self.entries.get(key) {
            Some(own) => own.as_ref(),
            None => self.base.entry(key),
        }
    }

    /// Lists the entries whose keys begin with `prefix`.
    pub fn tree(&self, prefix: &str) -> Vec<Arc<Entry>> {
        let mut merged: BTreeMap<&str, Option<&Arc<Entry>>> =
            self.base.tree(prefix).map(|entry| (&*entry.key, Some(entry))).collect();
        for (key, entry) in self.entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            merged.insert(key, entry.as_ref());
        }
        merged.into_values().flatten().cloned().collect()
    }

    /// Puts a value; the key keeps its holder and loses its lock index.
    pub fn set(&mut self, content: Content) -> Arc<Entry> {
        let session = self.entry(&content.key).and_then(|entry| entry.session.clone());
        self.store(content, session, 0)
    }

    /// Puts a value if the key is at `index`, or absent where `index` is 0.
    pub fn set_if(&mut self, content: Content, index: u64) -> Option<Arc<Entry>> {
        let current = self.entry(&content.key).map_or(0, |entry| entry.modify_index);
        (current == index).then(|| self.set(content))
    }

    /// Puts a value and binds the key to the session, unless another one holds it.
    ///
    /// # Errors
    /// The session is missing, malformed or dead.
    pub fn lock(&mut self, content: Content, session: &str) -> Result<Option<Arc<Entry>>, String> {
        self.check_session_lives(session)?;
        let before = self.entry(&content.key);
        let lock_index = match before.map(|entry| (entry.session.as_deref(), entry.lock_index)) {
            None => 1,
            Some((None, lock_index)) => lock_index + 1,
            Some((Some(holder), lock_index)) if holder == session => lock_index,
            Some(_) => return Ok(None),
        };
        Ok(Some(self.store(content, Some(session.to_owned()), lock_index)))
    }

    /// Puts a value and frees the key, if the session holds it.
    ///
    /// # Errors
    /// The session is missing.
    pub fn unlock(&mut self, content: Content, session: &str) -> Result<Option<Arc<Entry>>, String> {
        if session.is_empty() {
            return Err("missing session".into());
        }
        let Some(before) = self.entry(&content.key).filter(|entry| entry.session.as_deref() == Some(session))
        else {
            return Ok(None);
        };
        let lock_index = before.lock_index;
        Ok(Some(self.store(content, None, lock_index)))
    }

    /// Deletes a key; an absent one is fine.
    pub fn remove(&mut self, key: &str) {
        if let Some(key) = self.entry(key).map(|entry| entry.key.clone()) {
            self.others.push(Change::Buried(key.clone()));
            self.entries.insert(key, None);
        }
    }

    /// Deletes a key if it is at `index`; an absent one counts as deleted.
    pub fn remove_if(&mut self, key: &str, index: u64) -> bool {
        match self.entry(key).map(|entry| entry.modify_index) {
            None => true,
            Some(current) if current == index => {
                self.remove(key);
                true
            }
            Some(_) => false,
        }
    }

    /// Deletes everything below a prefix. Each key leaves its own tombstone: one for the whole prefix would be
    /// overlooked by readers of longer prefixes that hold older tombstones.
    pub fn remove_tree(&mut self, prefix: &str) {
        for entry in self.tree(prefix) {
            self.remove(&entry.key);
        }
    }

    /// Ends a session and releases or deletes its keys. Returns those keys.
    pub fn end_session(&mut self, session: &Session) -> Vec<Arc<str>> {
        let keys: Vec<Arc<str>> = self.base.held_by(&session.id).cloned().collect();
        for key in &keys {
            match session.behavior {
                Behavior::Release => self.release(key),
                Behavior::Delete => self.remove(key),
            }
        }
        self.others.push(Change::SessionEnded(session.id.clone()));
        keys
    }

    fn release(&mut self, key: &str) {
        if let Some(before) = self.entry(key).cloned() {
            let content =
                Content { key: before.key.clone(), value: before.value.clone(), flags: before.flags };
            self.store(content, None, before.lock_index);
        }
    }

    fn check_session_lives(&self, session: &str) -> Result<(), String> {
        if session.is_empty() {
            return Err("missing session".into());
        }
        check_session_id(session)?;
        match self.base.session(session) {
            Some(_) => Ok(()),
            None => Err(format!("invalid session {session:?}")),
        }
    }

    fn store(&mut self, content: Content, session: Option<String>, lock_index: u64) -> Arc<Entry> {
        let before = self.entry(&content.key);
        let entry = Entry {
            key: before.map_or(content.key, |entry| entry.key.clone()),
            value: content.value,
            flags: content.flags,
            session,
            lock_index,
            create_index: before.map_or(self.index, |entry| entry.create_index),
            modify_index: self.index,
        };
        if let Some(same) = before.filter(|before| before.holds_the_same(&entry)) {
            return same.clone();
        }
        let entry = Arc::new(entry);
        self.entries.insert(entry.key.clone(), Some(entry.clone()));
        entry
    }
}

/// Checks that a session's id has the length of a UUID, in Consul's words.
///
/// # Errors
/// It has not.
pub fn check_session_id(id: &str) -> Result<(), String> {
    if id.len() == 36 {
        return Ok(());
    }
    Err("failed session lookup: index error: UUID must be 36 characters".into())
}
