//! Who waits for what. A write wakes exactly the readers of its key and of the key's prefixes, whatever their number.
//!
//! Invariant: a waiter registers before it looks at the state, so that no change falls between look and wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::state::{Change, Changes};

/// What a blocked reader looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One key.
    Key(Box<str>),
    /// Every key that begins with this text.
    Prefix(Box<str>),
    /// All sessions.
    Sessions,
}

/// The readers of one scope.
#[derive(Debug, Default)]
struct Group {
    bell: Arc<Notify>,
    waiters: usize,
}

#[derive(Debug, Default)]
struct Groups {
    keys: HashMap<Box<str>, Group>,
    prefixes: HashMap<Box<str>, Group>,
    sessions: Group,
    waiters: usize,
}

/// All blocked readers.
#[derive(Debug)]
pub struct Registry {
    groups: Mutex<Groups>,
    waiters_max: usize,
}

/// A place in the registry; dropping it leaves.
#[derive(Debug)]
pub struct Place<'a> {
    registry: &'a Registry,
    scope: Scope,
    bell: Arc<Notify>,
}

impl Place<'_> {
    /// Returns what rings when the scope may have changed. Enable its future before looking at the state.
    pub fn bell(&self) -> &Notify {
        &self.bell
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.registry.leave(&self.scope);
    }
}

impl Registry {
    /// Takes the most readers that may be blocked at once.
    pub fn new(waiters_max: usize) -> Self {
        Registry { groups: Mutex::default(), waiters_max }
    }

    /// Registers a reader, or `None` when too many are blocked already.
    pub fn join(&self, scope: Scope) -> Option<Place<'_>> {
        let mut groups = self.lock();
        if groups.waiters >= self.waiters_max {
            return None;
        }
        groups.waiters += 1;
        let group = match &scope {
            Scope::Key(key) => groups.keys.entry(key.clone()).or_default(),
            Scope::Prefix(prefix) => groups.prefixes.entry(prefix.clone()).or_default(),
            Scope::Sessions => &mut groups.sessions,
        };
        group.waiters += 1;
        let bell = group.bell.clone();
        Some(Place { registry: self, scope, bell })
    }

    /// Counts the blocked readers.
    pub fn waiters(&self) -> usize {
        self.lock().waiters
    }

    /// Wakes everybody whom these changes may concern, each once.
    pub fn wake(&self, changes: &[Changes]) {
        let mut bells: HashMap<*const Notify, Arc<Notify>> = HashMap::new();
        let groups = self.lock();
        for change in changes.iter().flat_map(|changes| &changes.list) {
            let key = match change {
                Change::Set(entry) => &entry.key,
                Change::Removed(key) => key,
                Change::SessionOpened(_) | Change::SessionEnded(_) => {
                    ring_later(&mut bells, Some(&groups.sessions));
                    continue;
                }
                Change::Jumped => return ring_all(groups),
                _ => continue,
            };
            ring_later(&mut bells, groups.keys.get(key.as_ref()));
            let ends = (0..=key.len()).filter(|end| key.is_char_boundary(*end));
            ends.for_each(|end| ring_later(&mut bells, groups.prefixes.get(&key[..end])));
        }
        drop(groups);
        bells.values().for_each(|bell| bell.notify_waiters());
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        ring_all(self.lock());
    }

    fn leave(&self, scope: &Scope) {
        let mut groups = self.lock();
        groups.waiters -= 1;
        match scope {
            Scope::Key(key) => leave(&mut groups.keys, key),
            Scope::Prefix(prefix) => leave(&mut groups.prefixes, prefix),
            Scope::Sessions => groups.sessions.waiters -= 1,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Groups> {
        // Every change under the lock is complete before anything could panic.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leave(groups: &mut HashMap<Box<str>, Group>, name: &str) {
    if let Some(group) = groups.get_mut(name) {
        group.waiters -= 1;
        if group.waiters == 0 {
            groups.remove(name);
        }
    }
}

fn ring_later(bells: &mut HashMap<*const Notify, Arc<Notify>>, group: Option<&Group>) {
    if let Some(group) = group.filter(|group| group.waiters > 0) {
        bells.entry(Arc::as_ptr(&group.bell)).or_insert_with(|| group.bell.clone());
    }
}

fn ring_all(groups: std::sync::MutexGuard<'_, Groups>) {
    let all = groups.keys.values().chain(groups.prefixes.values()).chain([&groups.sessions]);
    let bells: Vec<Arc<Notify>> = all.map(|group| group.bell.clone()).collect();
    drop(groups);
    bells.iter().for_each(|bell| bell.notify_waiters());
}
