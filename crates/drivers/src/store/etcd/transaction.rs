//! A transaction of ours as etcd's compares and operations.
//!
//! Two things etcd has no word for: a put keeps the session that the key lives with, and nobody else holds a key that is
//! wanted for a session. For both, the compares name the lease last seen on each key that is put (none at first); when it
//! turns out to be another, the else-branch tells which, and the caller asks again with that.
//!
//! No nested transactions: many an etcd applies them without asking what the user may write (GHSA-rfx7-8w68-q57q).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::wire::{TransactionAnswer, base64, range_of};
use crate::store::{Guard, SessionId, Transaction, Write};

/// The lease last seen on each key that a transaction puts; 0 for none.
pub(super) type Leases = BTreeMap<String, u64>;

/// Returns the keys that a transaction puts, as if they lived with no session.
pub(super) fn free(transaction: &Transaction) -> Leases {
    let put = transaction.writes.iter().filter_map(|write| match write {
        Write::Put(key, _) | Write::PutEphemeral(key, _, _) => Some((key.clone(), 0)),
        Write::Delete(_) | Write::DeletePrefix(_) => None,
    });
    put.collect()
}

/// Returns the request, on the condition that the keys live with sessions as `leases` says.
pub(super) fn request(root: &str, transaction: &Transaction, leases: &Leases) -> Value {
    let guards = transaction.guards.iter().map(|guard| compare(root, guard));
    let held = leases.iter().map(|(key, lease)| lease_is(&format!("{root}{key}"), *lease));
    let looks = leases
        .keys()
        .map(|key| json!({ "request_range": { "key": base64(format!("{root}{key}")), "keys_only": true } }));
    json!({
        "compare": guards.chain(held).collect::<Vec<_>>(),
        "success": transaction.writes.iter().map(|write| operation(root, write, leases)).collect::<Vec<_>>(),
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
            // No lease has this number, so a session that is none of etcd's holds nothing.
            let lease = lease.parse().ok().filter(|lease| *lease != 0).unwrap_or(u64::MAX >> 1);
            lease_is(&format!("{root}{key}"), lease)
        }
    }
}

fn lease_is(key: &str, lease: u64) -> Value {
    json!({ "key": base64(key), "target": "LEASE", "result": "EQUAL", "lease": lease.to_string() })
}

fn operation(root: &str, write: &Write, leases: &Leases) -> Value {
    match write {
        Write::Put(key, value) => {
            let keeps = leases.get(key).is_some_and(|lease| *lease != 0);
            let key = base64(format!("{root}{key}"));
            json!({ "request_put": { "key": key, "value": base64(value), "ignore_lease": keeps } })
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
