//! The JSON of Consul's HTTP API (v1, as Consul 1.8 speaks it), and what is asked for in it.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::store::SessionId;

/// A key with what Consul knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pair {
    /// The whole key.
    pub key: String,
    /// The bytes; empty where Consul writes `null`.
    #[serde(default, deserialize_with = "from_base64")]
    pub value: Vec<u8>,
    /// A number the writer left with it.
    #[serde(default)]
    pub flags: u64,
    /// The session that holds it, or empty.
    #[serde(default)]
    pub session: String,
    /// The index of its last change.
    pub modify_index: u64,
    /// The index of its birth.
    #[serde(default)]
    pub create_index: u64,
}

impl Pair {
    /// Returns the session that holds the key, if any.
    pub fn holder(&self) -> Option<SessionId> {
        (!self.session.is_empty()).then(|| SessionId(self.session.clone()))
    }
}

/// When a put happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// In any case. A held key stays held.
    Always,
    /// When the key is still at this index; 0 means: when it does not exist.
    Cas(u64),
    /// When nobody else holds the key; it is then held by this session.
    Acquire(SessionId),
    /// When this session holds the key; it then does no more.
    Release(SessionId),
}

/// What a delete removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The one key.
    Key,
    /// The one key, if it is still at this index.
    Cas(u64),
    /// Every key that begins with this text: end it in `/`, or `1` takes `10` with it.
    Recurse,
}

/// What happens to a session's keys when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// They vanish.
    Delete,
    /// They stay, held by nobody.
    Release,
}

/// A session to create. Node checks are never asked for: a hiccup of gossip must not drop a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// For people.
    pub name: String,
    /// How long it lives without renewal, at least 10 s; Consul may take twice as long to notice.
    pub ttl: Duration,
    /// How long a key of a *lost* session refuses a new holder.
    pub lock_delay: Duration,
    /// What happens to its keys.
    pub behavior: Behavior,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SessionBody<'a> {
    name: &'a str,
    #[serde(rename = "TTL")]
    ttl: String,
    lock_delay: String,
    behavior: Behavior,
    // Both spellings, old and new, must be empty.
    checks: [&'static str; 0],
    node_checks: [&'static str; 0],
}

impl<'a> From<&'a SessionRequest> for SessionBody<'a> {
    fn from(request: &'a SessionRequest) -> Self {
        SessionBody {
            name: &request.name,
            ttl: go_duration(request.ttl),
            lock_delay: go_duration(request.lock_delay),
            behavior: request.behavior,
            checks: [],
            node_checks: [],
        }
    }
}

/// Writes a duration as Go's `time.ParseDuration` reads it: whole seconds as `30s`, else milliseconds.
pub(super) fn go_duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis().max(1))
    }
}

#[derive(Deserialize)]
pub(super) struct SessionCreated {
    #[serde(rename = "ID")]
    pub id: String,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Operation {
    verb: &'static str,
    pub(super) key: String,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "to_base64")]
    value: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u64,
    #[serde(skip_serializing_if = "is_zero")]
    index: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) session: String,
}

impl Operation {
    /// Sets a key; a held one stays held.
    pub fn set(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Operation {
        Operation { value: Some(value.into()), ..Operation::new("set", key) }
    }

    /// Sets a key and holds it with a session; fails when another session holds it.
    pub fn lock(key: impl Into<String>, value: impl Into<Vec<u8>>, session: &SessionId) -> Operation {
        Operation { session: session.0.clone(), ..Operation { verb: "lock", ..Operation::set(key, value) } }
    }

    /// Deletes a key, or nothing.
    pub fn delete(key: impl Into<String>) -> Operation {
        Operation::new("delete", key)
    }

    /// Deletes every key that begins with this text.
    pub fn delete_tree(prefix: impl Into<String>) -> Operation {
        Operation::new("delete-tree", prefix)
    }

    /// Demands that a key is still at this index.
    pub fn check_index(key: impl Into<String>, index: u64) -> Operation {
        Operation { index, ..Operation::new("check-index", key) }
    }

    /// Demands that a key exists, whatever it holds.
    pub fn check_exists(key: impl Into<String>) -> Operation {
        Operation::new("get", key)
    }

    /// Demands that a key does not exist.
    pub fn check_not_exists(key: impl Into<String>) -> Operation {
        Operation::new("check-not-exists", key)
    }

    /// Demands that a session holds a key.
    pub fn check_session(key: impl Into<String>, session: &SessionId) -> Operation {
        Operation { session: session.0.clone(), ..Operation::new("check-session", key) }
    }

    /// Returns the same operation with this number left beside the value.
    #[must_use]
    pub fn with_flags(self, flags: u64) -> Operation {
        Operation { flags, ..self }
    }

    fn new(verb: &'static str, key: impl Into<String>) -> Operation {
        Operation { verb, key: key.into(), value: None, flags: 0, index: 0, session: String::new() }
    }
}

#[derive(Serialize)]
pub(super) struct TransactionItem<'a> {
    #[serde(rename = "KV")]
    pub kv: &'a Operation,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TransactionAnswer {
    #[serde(default)]
    pub errors: Option<Vec<Failure>>,
}

/// Why one operation of a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failure {
    /// Which operation, from 0.
    pub op_index: usize,
    /// What the server said.
    pub what: String,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// All of it happened.
    Applied,
    /// None of it happened, because of these.
    Conflict(Vec<Failure>),
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)
}

fn to_base64<S: Serializer>(value: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(value.as_deref().unwrap_or_default()))
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(number: &u64) -> bool {
    *number == 0
}
