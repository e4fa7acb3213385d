//! The JSON of etcd's gateway, as far as the store needs it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// Writes bytes as the gateway wants them.
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Returns the fields that name every key that begins with `prefix`: up to the prefix with its last byte raised by one.
///
/// The empty prefix is written as etcd's "from the first key on". No key of ours ends in the byte 255.
pub(super) fn range_of(prefix: &str) -> Value {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => return json!({ "key": base64([0]), "range_end": base64([0]) }),
    }
    json!({ "key": base64(prefix), "range_end": base64(end) })
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub cluster_id: Number,
    #[serde(default)]
    pub revision: Number,
}

/// A 64-bit number, written as a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Number(pub u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<'a> {
            Text(&'a str),
            Number(u64),
        }
        match Written::deserialize(deserializer)? {
            // Cluster ids fill all 64 bits; nothing of ours is negative.
            Written::Text(text) => text.parse().map(Number).map_err(serde::de::Error::custom),
            Written::Number(number) => Ok(Number(number)),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "from_base64")]
    pub key: Vec<u8>,
    #[serde(default, deserialize_with = "from_base64")]
    pub value: Vec<u8>,
    #[serde(default)]
    pub mod_revision: Number,
    #[serde(default)]
    pub lease: Number,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RangeAnswer {
    #[serde(default)]
    pub header: Header,
    #[serde(default)]
    pub kvs: Vec<KeyValue>,
    #[serde(default)]
    pub more: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct TransactionAnswer {
    #[serde(default)]
    pub succeeded: bool,
    #[serde(default)]
    pub responses: Vec<OperationAnswer>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OperationAnswer {
    #[serde(default)]
    pub response_range: Option<RangeAnswer>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeaseAnswer {
    #[serde(rename = "ID", default)]
    pub id: Number,
    /// Left out, hence 0, when the lease is dead.
    #[serde(rename = "TTL", default)]
    pub ttl: Number,
}

#[derive(Debug, Deserialize)]
pub(super) struct LoginAnswer {
    pub token: String,
}

/// One object of a streamed answer.
#[derive(Debug, Deserialize)]
pub(super) struct Streamed<T> {
    pub result: Option<T>,
    #[serde(default)]
    pub error: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchAnswer {
    #[serde(default)]
    pub header: Header,
    #[serde(default)]
    pub created: bool,
    #[serde(default)]
    pub canceled: bool,
    #[serde(default)]
    pub cancel_reason: String,
    #[serde(default)]
    pub compact_revision: Number,
    #[serde(default)]
    pub events: Vec<Change>,
}

/// One change of one key, as a watch tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    #[serde(rename = "type", default)]
    pub kind: ChangeKind,
    /// What stands there now; of a deleted key only its name and the revision of its end.
    #[serde(rename = "kv")]
    pub pair: KeyValue,
}

/// What happened to a key. The gateway leaves out a put, as it does every zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ChangeKind {
    #[default]
    Put,
    Delete,
}

/// What etcd says when it refuses (`code` is gRPC's).
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorAnswer {
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub code: u32,
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)
}
