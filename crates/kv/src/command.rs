//! What can be asked of the machine, and what it answers. Plain data: ids and times come from outside.

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Entry, Session};
use crate::token::Token;

/// What a write puts under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The full key.
    pub key: Arc<str>,
    /// The bytes.
    pub value: Bytes,
    /// The client's number.
    pub flags: u64,
}

/// One step of a transaction, or one request on a key. The names are those of Consul's transaction API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts a value.
    Set(Content),
    /// Puts a value if the key is at this index (0: absent).
    Cas(Content, u64),
    /// Puts a value and binds the key to a session.
    Lock(Content, String),
    /// Puts a value and frees the key from its session.
    Unlock(Content, String),
    /// Reads a key that must exist.
    Get(String),
    /// Reads everything below a prefix.
    GetTree(String),
    /// Demands that a key is at this index.
    CheckIndex(String, u64),
    /// Demands that a key is held by this session.
    CheckSession(String, String),
    /// Demands that a key does not exist.
    CheckNotExists(String),
    /// Deletes a key.
    Delete(String),
    /// Deletes everything below a prefix.
    DeleteTree(String),
    /// Deletes a key if it is at this index.
    DeleteCas(String, u64),
    /// A verb that does not exist, with its key: fails the transaction.
    Unknown(String, String),
}

impl Operation {
    /// Returns the key or prefix it is about.
    pub fn key(&self) -> &str {
        match self {
            Operation::Set(content)
            | Operation::Cas(content, _)
            | Operation::Lock(content, _)
            | Operation::Unlock(content, _) => &content.key,
            Operation::Get(key)
            | Operation::GetTree(key)
            | Operation::CheckIndex(key, _)
            | Operation::CheckSession(key, _)
            | Operation::CheckNotExists(key)
            | Operation::Delete(key)
            | Operation::DeleteTree(key)
            | Operation::DeleteCas(key, _)
            | Operation::Unknown(_, key) => key,
        }
    }

    /// Tells whether it can change something.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Operation::Set(_)
                | Operation::Cas(..)
                | Operation::Lock(..)
                | Operation::Unlock(..)
                | Operation::Delete(_)
                | Operation::DeleteTree(_)
                | Operation::DeleteCas(..)
        )
    }

    /// Tells whether it is about a whole prefix.
    pub fn is_about_a_tree(&self) -> bool {
        matches!(self, Operation::GetTree(_) | Operation::DeleteTree(_))
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A write to one key or prefix.
    Write(Operation),
    /// All operations, or none.
    Transact(Vec<Operation>),
    /// Opens a session; its index is set here.
    OpenSession(Session),
    /// Starts a session's time to live afresh.
    RenewSession(String),
    /// Ends a session, if it lives.
    EndSession(String),
    /// Ends every session whose time is over.
    ExpireSessions,
    /// Makes a token valid.
    SetToken(Token),
    /// Makes a token invalid.
    RevokeToken(String),
    /// Uses up one use of a join token and makes the new token valid.
    Join {
        /// The join token's id.
        join: String,
        /// The token it is exchanged for.
        token: Token,
    },
    /// Puts these entries, as from a backup, and moves the index far ahead.
    Restore(Vec<Content>),
}

/// A read result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The entry as it stands after the operation.
    pub entry: Arc<Entry>,
    /// Whether the value is shown; writes and checks show only the rest.
    pub with_value: bool,
}

/// An operation that could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its place in the transaction.
    pub place: usize,
    /// Why, in Consul's words.
    pub why: String,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Done, or not because a condition did not hold.
    Applied(bool),
    /// The transaction was applied.
    Transacted(Vec<Found>),
    /// The transaction was not applied.
    Conflicted(Vec<Failed>),
    /// The session that was renewed.
    Session(Arc<Session>),
    /// No such session.
    NoSession,
    /// The command cannot be carried out.
    Refused(String),
}
