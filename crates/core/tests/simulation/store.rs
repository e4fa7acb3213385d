//! The simulated store: typed values under the real keys, sessions that expire late, guarded transactions, backups.

use std::collections::BTreeMap;

use footplate_core::fleet::{Current, HostState, Presence};
use footplate_core::gate::Gate;
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::record::{Key, Writer};
use footplate_core::release::Release;
use footplate_core::rollout::Rollout;
use footplate_core::target::{Assignment, Report};
use footplate_core::traffic::{Route, RouterReport, Traffic};

/// A session's number.
pub type Session = u64;

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Assignment(Assignment),
    Barrier(Generation),
    Presence(Presence),
    Report(Report),
    Current(Box<Current>),
    Rollout(Box<Rollout>),
    Gate(Box<Gate>),
    HostState(HostState),
    Release(Box<Release>),
    Route(Route),
    Traffic(Traffic),
    Router(RouterReport),
    Lease,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub value: Value,
    pub revision: u64,
    pub session: Option<Session>,
}

#[derive(Clone, Debug)]
pub enum Guard {
    Absent(Key),
    /// `None`: still absent.
    Unchanged(Key, Option<u64>),
    HeldBy(Key, Session),
}

#[derive(Clone, Debug)]
pub struct Write {
    pub key: Key,
    /// `None` deletes.
    pub value: Option<Value>,
    pub session: Option<Session>,
}

impl Write {
    pub fn put(key: Key, value: Value) -> Self {
        Self { key, value: Some(value), session: None }
    }

    pub fn delete(key: Key) -> Self {
        Self { key, value: None, session: None }
    }
}

/// Who wrote: a controller by its session, an agent, or a person with a store's own tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    Controller(Session),
    Agent(Writer),
    Person,
}

#[derive(Clone, Debug, Default)]
pub struct Store {
    pub entries: BTreeMap<Key, Entry>,
    pub revision: u64,
    sessions: BTreeMap<Session, Moment>,
    opened: u64,
}

impl Store {
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub fn revision_of(&self, key: &Key) -> Option<u64> {
        self.entries.get(key).map(|entry| entry.revision)
    }

    pub fn apply(&mut self, guards: &[Guard], writes: &[Write]) -> bool {
        if !guards.iter().all(|guard| self.holds(guard)) {
            return false;
        }
        self.revision += 1;
        for write in writes {
            match &write.value {
                Some(value) => {
                    let kept = self.entries.get(&write.key).and_then(|entry| entry.session);
                    let session = write.session.or(kept);
                    let entry = Entry { value: value.clone(), revision: self.revision, session };
                    self.entries.insert(write.key.clone(), entry);
                }
                None => {
                    self.entries.remove(&write.key);
                }
            }
        }
        true
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Absent(key) => !self.entries.contains_key(key),
            Guard::Unchanged(key, revision) => self.revision_of(key) == *revision,
            Guard::HeldBy(key, session) => {
                self.entries.get(key).is_some_and(|entry| entry.session == Some(*session))
            }
        }
    }

    pub fn open_session(&mut self, dies_at: Moment) -> Session {
        self.opened += 1;
        self.sessions.insert(self.opened, dies_at);
        self.opened
    }

    /// Tells whether the session still lives; if so it lives until `dies_at`.
    pub fn renew_session(&mut self, session: Session, dies_at: Moment) -> bool {
        match self.sessions.get_mut(&session) {
            Some(end) => {
                *end = dies_at;
                true
            }
            None => false,
        }
    }

    /// Ends the sessions whose time is over, with their keys.
    pub fn expire(&mut self, now: Moment) {
        let dead: Vec<Session> =
            self.sessions.iter().filter(|(_, end)| **end <= now).map(|(session, _)| *session).collect();
        dead.into_iter().for_each(|session| self.end_session(session));
    }

    /// Ends a session, with its keys.
    pub fn end_session(&mut self, session: Session) {
        self.sessions.remove(&session);
        self.entries.retain(|_, entry| entry.session != Some(session));
        self.revision += 1;
    }

    /// Returns a copy as a backup holds it: without sessions and what lives with them.
    pub fn backup(&self) -> Store {
        let mut copy = self.clone();
        copy.sessions.clear();
        copy.entries.retain(|_, entry| entry.session.is_none());
        copy
    }

    /// Puts a backup in place. Indexes and session numbers go on, as a fresh server's would not be compared anyway.
    pub fn restore(&mut self, backup: Store) {
        let (revision, opened) = (self.revision, self.opened);
        *self = backup;
        self.opened = opened;
        self.revision = revision + 1;
        for entry in self.entries.values_mut() {
            entry.revision = self.revision;
        }
    }
}
