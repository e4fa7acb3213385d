//! What the store holds: entries and sessions, with the three indexes of each entry.
//!
//! An entry never changes in place; a change makes a new one under a higher index. Readers share them by `Arc`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A key and what stands under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The full key. Never empty.
    pub key: Arc<str>,
    /// The bytes.
    pub value: Bytes,
    /// A number that the client keeps with the value.
    pub flags: u64,
    /// The session that holds the lock, if any.
    pub session: Option<String>,
    /// How often the key was locked afresh. A plain put sets it back to 0, as in Consul: never fence on it.
    pub lock_index: u64,
    /// The index of the write that created the key.
    pub create_index: u64,
    /// The index of the last write that changed it: what `cas` compares.
    pub modify_index: u64,
}

impl Entry {
    /// Tells whether both hold the same, whatever the indexes of their writing: such a write changes nothing.
    pub fn holds_the_same(&self, other: &Entry) -> bool {
        self.value == other.value
            && self.flags == other.flags
            && self.session == other.session
            && self.lock_index == other.lock_index
    }
}

/// What happens to the keys of a session that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// The keys stay and lose their holder.
    Release,
    /// The keys are deleted.
    Delete,
}

/// A client's promise to be alive, to which keys can be bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// A UUID.
    pub id: String,
    /// For people.
    pub name: String,
    /// The node it was created for; only shown.
    pub node: String,
    /// Nanoseconds for which its keys refuse a lock after it was invalidated. Counted as 60 s where it is longer.
    pub lock_delay: i64,
    /// What becomes of its keys.
    pub behavior: Behavior,
    /// The time to live as the client wrote it; empty for a session that never expires.
    pub ttl: String,
    /// The parsed time to live; `None` for a session that never expires.
    pub ttl_parsed: Option<Duration>,
    /// The health checks it named; only shown, nothing here checks health.
    pub node_checks: Vec<String>,
    /// The token that opened it, where tokens are on: only it and a root token may renew or end it.
    #[serde(default)]
    pub owner: Option<String>,
    /// The index of its creation.
    pub create_index: u64,
}
