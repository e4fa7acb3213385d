//! A transaction of ours as etcd's compares and operations.
//!
//! Two things etcd has no word for. *A put keeps the session*: a nested transaction puts with `ignore_lease` where the key
//! exists, and plainly where not. *Nobody else holds the key*: the compare names the lease last seen on it (none at
//! first); when it turns out to be another, the else-branch tells which, and the caller asks again with that.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::wire::{TransactionAnswer, base64, range_of};
use crate::store::{Guard, SessionId, Transaction, Write};

/// The lease last seen on each key that a transaction wants for a session; 0 for none.
pub(super) type Leases = BTreeMap<String, u64>;

/// Returns the keys that a transaction wants for a session, as if nobody held them.
pub(super) fn free(transaction: &Transaction) -> Leases {
    let wanted = transaction.writes.iter().filter_map(|write| match write {
        Write::PutEphemeral(key, _, _) => Some((key.clone(), 0)),
        _ => None,
    });
    wanted.collect()
}

/// Returns the request, on the condition that the wanted keys are held as `leases` says.
pub(super) fn request(root: &str, transaction: &Transaction, leases: &Leases) -> Value {
    let guards = transaction.guards.iter().map(|guard| compare(root, guard));
    let held = leases.iter().map(|(key, lease)| lease_is(&format!("{root}{key}"), *lease));
    let looks =
        leases.keys().map(|key| json!({ "request_range": { "key": base64(format!("{root}{key}")) } }));
    json!({
        "compare": guards.chain(held).collect::<Vec<_>>(),
        "success": transaction.writes.iter().map(|write| operation(root, write)).collect::<Vec<_>>(),
        "failure": looks.collect::<Vec<_>>(),
    })
}

/// Returns the leases that the else-branch saw.
pub(super) fn seen(leases: &Leases, answer: &TransactionAnswer) -> Leases {
    let lease_in = |at: usize| {
        let range = answer.responses.get(at).and_then(|response| response.response_range.as_ref());
        range.and_then(|range| range.kvs.first()).map_or(0, |pair| pair.lease.0)
    };
    leases.keys().enumerate().map(|(at, key)| (key.clone(), lease_in(at))).collect()
}

/// Tells whether a wanted key is held by a session other than the one that wants it.
pub(super) fn held_by_others(transaction: &Transaction, leases: &Leases) -> bool {
    transaction.writes.iter().any(|write| match write {
        Write::PutEphemeral(key, _, session) => {
            let lease = leases.get(key).copied().unwrap_or(0);
            lease != 0 && session.0 != lease.to_string()
        }
        _ => false,
    })
}

fn compare(root: &str, guard: &Guard) -> Value {
    match guard {
        Guard::Absent(key) => {
            json!({ "key": base64(format!("{root}{key}")), "target": "CREATE", "result": "EQUAL", "create_revision": "0" })
        }
        Guard::Unchanged(key, revision) => {
            json!({ "key": base64(format!("{root}{key}")), "target": "MOD", "result": "EQUAL", "mod_revision": revision.0.to_string() })
        }
        Guard::HeldBy(key, SessionId(lease)) => {
            // No lease has the number 0, so this never holds for a key that nobody holds.
            let lease = lease.parse().ok().filter(|lease| *lease != 0).unwrap_or(u64::MAX >> 1);
            lease_is(&format!("{root}{key}"), lease)
        }
    }
}

fn lease_is(key: &str, lease: u64) -> Value {
    json!({ "key": base64(key), "target": "LEASE", "result": "EQUAL", "lease": lease.to_string() })
}

fn operation(root: &str, write: &Write) -> Value {
    match write {
        Write::Put(key, value) => {
            let (key, value) = (base64(format!("{root}{key}")), base64(value));
            let put = |ignore: bool| json!([{ "request_put": { "key": key, "value": value, "ignore_lease": ignore } }]);
            let exists =
                json!([{ "key": key, "target": "CREATE", "result": "GREATER", "create_revision": "0" }]);
            json!({ "request_txn": { "compare": exists, "success": put(true), "failure": put(false) } })
        }
        Write::PutEphemeral(key, value, SessionId(lease)) => {
            json!({ "request_put": { "key": base64(format!("{root}{key}")), "value": base64(value), "lease": lease } })
        }
        Write::Delete(key) => json!({ "request_delete_range": { "key": base64(format!("{root}{key}")) } }),
        Write::DeletePrefix(prefix) => {
            json!({ "request_delete_range": range_of(&format!("{root}{prefix}")) })
        }
    }
}
