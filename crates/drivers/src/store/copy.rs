//! Moving a site from one store to another: everything that is not bound to a session.
//!
//! Invariants: a destination with anything in the way is refused before the first write; nothing is overwritten; the end is
//! verified by reading both sides again.

use std::collections::BTreeMap;

use super::{
    Applied, Entry, Guard, Scope, Store, StoreError, Transaction, Write, check_prefix, transactions,
};

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// How many keys.
    pub keys: usize,
    /// How many bytes of values.
    pub bytes: usize,
    /// How many keys were left out because they live with a session: who holds them announces itself again.
    pub left_out: usize,
}

/// A copy that did not happen, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One side did not answer, or not well.
    #[error("cannot copy from {from} to {to}")]
    Store {
        /// The source, for people.
        from: String,
        /// The destination, for people.
        to: String,
        /// What went wrong.
        #[source]
        source: StoreError,
    },
    /// The destination has keys there already. Nothing was written.
    #[error("cannot copy to {to}: {keys} keys are there already, such as `{example}`")]
    NotEmpty {
        /// The destination, for people.
        to: String,
        /// How many.
        keys: usize,
        /// One of them.
        example: String,
    },
    /// Somebody wrote into the destination meanwhile. What was copied so far stays there.
    #[error("cannot finish the copy to {to}: somebody wrote `{key}` or a key beside it meanwhile")]
    Disturbed {
        /// The destination, for people.
        to: String,
        /// The first key of the transaction that was refused.
        key: String,
    },
    /// The two sides differ at the end: somebody wrote into one of them meanwhile.
    #[error("the copy in {to} differs from {from} at {keys} keys, such as `{example}`")]
    Different {
        /// The source, for people.
        from: String,
        /// The destination, for people.
        to: String,
        /// How many keys differ.
        keys: usize,
        /// One of them.
        example: String,
    },
}

/// Copies every key below `prefix` (empty for all) from one store to another, and verifies it.
///
/// Stop all writers first; a writer that was forgotten shows up as [`CopyError::Different`].
pub async fn copy(from: &dyn Store, to: &dyn Store, prefix: &str) -> Result<Copied, CopyError> {
    let failed = |source| CopyError::Store { from: from.describe(), to: to.describe(), source };
    check_prefix(prefix).map_err(failed)?;
    let scope = Scope::Prefix(prefix.to_owned());
    let there = to.read(&scope).await.map_err(failed)?.entries;
    if let Some(example) = there.keys().next().cloned() {
        return Err(CopyError::NotEmpty { to: to.describe(), keys: there.len(), example });
    }
    let entries = from.read(&scope).await.map_err(failed)?.entries;
    let (wanted, left_out) = without_sessions(entries);
    for transaction in transactions(&[], wanted.iter().map(only_where_nothing_is)) {
        if to.apply(&transaction).await.map_err(failed)? == Applied::No {
            let key = transaction.writes.first().map(|write| write.key().to_owned());
            return Err(CopyError::Disturbed { to: to.describe(), key: key.unwrap_or_default() });
        }
    }
    verify(from, to, &scope).await?;
    let bytes = wanted.values().map(Vec::len).sum();
    Ok(Copied { keys: wanted.len(), bytes, left_out })
}

async fn verify(from: &dyn Store, to: &dyn Store, scope: &Scope) -> Result<(), CopyError> {
    let failed = |source| CopyError::Store { from: from.describe(), to: to.describe(), source };
    let (wanted, _) = without_sessions(from.read(scope).await.map_err(failed)?.entries);
    let (found, _) = without_sessions(to.read(scope).await.map_err(failed)?.entries);
    let all: std::collections::BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let differing: Vec<&String> = all.into_iter().filter(|key| wanted.get(*key) != found.get(*key)).collect();
    match differing.first() {
        None => Ok(()),
        Some(example) => Err(CopyError::Different {
            from: from.describe(),
            to: to.describe(),
            keys: differing.len(),
            example: (*example).clone(),
        }),
    }
}

fn without_sessions(entries: BTreeMap<String, Entry>) -> (BTreeMap<String, Vec<u8>>, usize) {
    let all = entries.len();
    let stay = entries.into_iter().filter(|(_, entry)| entry.session.is_none());
    let stay: BTreeMap<_, _> = stay.map(|(key, entry)| (key, entry.value)).collect();
    let left_out = all - stay.len();
    (stay, left_out)
}

fn only_where_nothing_is((key, value): (&String, &Vec<u8>)) -> Transaction {
    Transaction {
        guards: vec![Guard::Absent(key.clone())],
        writes: vec![Write::Put(key.clone(), value.clone())],
    }
}
