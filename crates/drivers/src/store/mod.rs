//! The shared tree where the controller writes assignments and agents write reports.
//!
//! State-based: a reader sees states, never every change. Nothing here promises lock-delay, or expiry faster than twice
//! the session's TTL. Values are at most [`VALUE_BYTES_MAX`], a transaction has at most [`OPERATIONS_MAX`] operations.

mod backoff;
mod config;
pub mod consul;
mod copy;
pub mod etcd;
mod http;
mod join;
mod limits;
pub mod memory;
pub mod policy;
mod transaction;
mod trouble;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use crate::secret::Secret;
pub use backoff::Backoff;
pub use config::{Address, Config, Credentials, Kind, open};
pub use copy::{Copied, CopyError, copy};
pub use http::Handler;
pub use join::join;
pub use limits::{check_key, check_prefix};
pub use transaction::{Transaction, transactions};
pub use trouble::{Trouble, Troubles};
pub use watch::{WATCH_PATIENCE, Watch};

/// The largest value any driver takes, in bytes.
pub use footplate_core::record::VALUE_BYTES_MAX;

/// The most operations (guards and writes together) in one transaction: Consul's limit.
pub const OPERATIONS_MAX: usize = 64;
/// The most bytes of keys and values in one transaction: what fits into Consul's 512 KiB when written as base64.
pub const TRANSACTION_BYTES_MAX: usize = 320 * 1024;

/// A driver's counter of changes; only ever compared for equality with one from the same driver, and passed back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A session's id: whatever the driver calls it (a Consul session, an etcd lease).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub String);

/// A value with its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// When the entry last changed; what [`Guard::Unchanged`] compares.
    pub revision: Revision,
    /// The session that the entry dies with, if any.
    pub session: Option<SessionId>,
}

/// What a reader asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One key. Absent is a state like any other.
    Key(String),
    /// Every key that begins with this text; by convention it ends in `/`.
    Prefix(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Scope::Key(text) | Scope::Prefix(text)) = self;
        f.write_str(text)
    }
}

/// What stood in a scope at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Pass it to [`Store::wait`] to wait for something newer.
    pub revision: Revision,
    /// The entries, by full key below the root.
    pub entries: BTreeMap<String, Entry>,
}

/// What must hold for a transaction to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent(String),
    /// The key exists and is still at this revision.
    Unchanged(String, Revision),
    /// The key exists and lives with this session.
    HeldBy(String, SessionId),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the key for good. A key that lived with a session keeps living with it.
    Put(String, Vec<u8>),
    /// Sets the key for as long as the session lives. Fails the transaction when another session holds it.
    PutEphemeral(String, Vec<u8>, SessionId),
    /// Deletes the key; an absent one is fine.
    Delete(String),
    /// Deletes every key that begins with this text.
    DeletePrefix(String),
}

impl Write {
    /// Returns the key, or the prefix.
    pub fn key(&self) -> &str {
        let (Write::Put(key, _)
        | Write::PutEphemeral(key, _, _)
        | Write::Delete(key)
        | Write::DeletePrefix(key)) = self;
        key
    }

    /// Returns the bytes of key and value, which count for [`TRANSACTION_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        let value = match self {
            Write::Put(_, value) | Write::PutEphemeral(_, value, _) => value.len(),
            Write::Delete(_) | Write::DeletePrefix(_) => 0,
        };
        self.key().len() + value
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Everything was written, durably.
    Yes,
    /// A guard did not hold, or another session holds a key; nothing was written.
    No,
}

/// A store that could not do what it was asked.
///
/// After an error nobody knows whether a transaction was applied: the answer may have been lost. So repeat only what
/// may happen twice, and after a repeat that says [`Applied::No`] read what stands there.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nobody answers, or not in time.
    #[error("cannot reach {driver} at {address}")]
    Unreachable {
        /// `the store` for Consul's API, `etcd`.
        driver: &'static str,
        /// Host and port.
        address: String,
        /// What went wrong on the way.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers, but cannot work now: no leader, overloaded, an answer we cannot read.
    #[error("{driver} at {address} cannot answer now: {answer}")]
    Unavailable {
        /// Which driver.
        driver: &'static str,
        /// Host and port.
        address: String,
        /// What it said, shortened.
        answer: String,
    },
    /// The session is gone, and so are its keys.
    #[error("the session {0:?} is gone")]
    SessionGone(SessionId),
    /// The token or the password is missing, wrong or not enough.
    #[error("{driver} at {address} refuses our credentials: {answer}")]
    Denied {
        /// Which driver.
        driver: &'static str,
        /// Host and port.
        address: String,
        /// What it said, shortened.
        answer: String,
    },
    /// The request itself is wrong: a key, a value or a transaction over a limit.
    #[error("the store cannot take this: {0}")]
    Refused(String),
    /// Somebody on the way to the store could read and change what is sent.
    #[error("{because}")]
    Unprotected {
        /// The address as it was given.
        address: String,
        /// Who could do what.
        because: &'static str,
        /// What to do about it.
        next: &'static str,
    },
    /// The configuration is wrong: an address, a root, credentials, a CA file.
    #[error("cannot use this store: {0}")]
    Misconfigured(String),
}

impl StoreError {
    /// Tells whether the same call may succeed later without anybody changing anything in the request.
    pub fn is_worth_a_retry(&self) -> bool {
        matches!(
            self,
            StoreError::Unreachable { .. } | StoreError::Unavailable { .. } | StoreError::Denied { .. }
        )
    }
}

/// The one contract of all store drivers; `contract` holds it in tests.
#[async_trait]
pub trait Store: Send + Sync {
    /// Says which store this is, for people: `the store at 10.0.0.1:8500`.
    fn describe(&self) -> String;

    /// Reads a scope as it stands now, consistently.
    async fn read(&self, scope: &Scope) -> Result<Snapshot, StoreError>;

    /// Returns the scope when it is newer than `seen`, or `None` when `patience` is over and it is not known to be.
    ///
    /// May return early with the same entries: a caller compares. `Revision(0)` returns at once.
    async fn wait(
        &self,
        scope: &Scope,
        seen: Revision,
        patience: Duration,
    ) -> Result<Option<Snapshot>, StoreError>;

    /// Applies a transaction durably, or nothing of it.
    async fn apply(&self, transaction: &Transaction) -> Result<Applied, StoreError>;

    /// Opens a session that dies when it is not renewed for `ttl` (10 s at least) to twice that. `label` is for people.
    async fn open_session(&self, label: &str, ttl: Duration) -> Result<SessionId, StoreError>;

    /// Renews a session; [`StoreError::SessionGone`] when it is dead.
    async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError>;

    /// Ends a session at once, with its keys. A dead one is fine.
    async fn close_session(&self, session: &SessionId) -> Result<(), StoreError>;
}
