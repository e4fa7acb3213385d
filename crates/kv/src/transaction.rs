//! Transactions: every operation sees the ones before it; all failures are listed; one failure drops everything.

use crate::command::{Failed, Found, Operation};
use crate::draft::Draft;

/// The most operations in one transaction.
pub const OPERATIONS_MAX: usize = 64;

/// Carries out all operations on the draft. The caller drops the draft when this fails.
///
/// # Errors
/// Every operation that failed, in order.
pub fn run(draft: &mut Draft<'_>, operations: &[Operation]) -> Result<Vec<Found>, Vec<Failed>> {
    let mut found = Vec::new();
    let mut failed = Vec::new();
    for (place, operation) in operations.iter().enumerate() {
        match step(draft, operation) {
            Ok(results) => found.extend(results),
            Err(why) => failed.push(Failed { place, why }),
        }
    }
    if failed.is_empty() { Ok(found) } else { Err(failed) }
}

/// Finds the operations that fail before anything is looked at: no key, or a lock that is still delayed.
pub fn check(operations: &[Operation], is_delayed: impl Fn(&str) -> bool) -> Vec<Failed> {
    let problem = |operation: &Operation| match operation {
        Operation::DeleteTree(_) => None,
        _ if operation.key().is_empty() => Some("Must provide key".to_owned()),
        Operation::Lock(content, _) if is_delayed(&content.key) => {
            Some(format!("failed to lock key {:?} due to lock delay", &*content.key))
        }
        _ => None,
    };
    let places = operations.iter().enumerate();
    places.filter_map(|(place, operation)| Some(Failed { place, why: problem(operation)? })).collect()
}

fn step(draft: &mut Draft<'_>, operation: &Operation) -> Result<Vec<Found>, String> {
    match operation {
        Operation::Set(content) => Ok(told(draft.set(content.clone()))),
        Operation::Cas(content, index) => {
            let stale = || format!("failed to set key {:?}, index is stale", &*content.key);
            draft.set_if(content.clone(), *index).map(told).ok_or_else(stale)
        }
        Operation::Lock(content, session) => {
            let held = || format!("failed to lock key {:?}, lock is already held", &*content.key);
            draft.lock(content.clone(), session)?.map(told).ok_or_else(held)
        }
        Operation::Unlock(content, session) => {
            let not_ours = || {
                let key = &*content.key;
                format!("failed to unlock key {key:?}, lock isn't held, or is held by another session")
            };
            draft.unlock(content.clone(), session)?.map(told).ok_or_else(not_ours)
        }
        Operation::Delete(key) => {
            draft.remove(key);
            Ok(Vec::new())
        }
        Operation::DeleteTree(prefix) => {
            draft.remove_tree(prefix);
            Ok(Vec::new())
        }
        Operation::DeleteCas(key, index) if draft.remove_if(key, *index) => Ok(Vec::new()),
        Operation::DeleteCas(key, _) => Err(format!("failed to delete key {key:?}, index is stale")),
        reading => read(draft, reading),
    }
}

fn read(draft: &Draft<'_>, operation: &Operation) -> Result<Vec<Found>, String> {
    match operation {
        Operation::GetTree(prefix) => {
            Ok(draft.tree(prefix).into_iter().map(|entry| Found { entry, with_value: true }).collect())
        }
        Operation::Get(key) => {
            let entry = draft.entry(key).ok_or_else(|| format!("key {key:?} doesn't exist"))?;
            Ok(vec![Found { entry: entry.clone(), with_value: true }])
        }
        Operation::CheckIndex(key, index) => {
            let entry = draft
                .entry(key)
                .ok_or_else(|| format!("failed to check index, key {key:?} doesn't exist"))?;
            let current = entry.modify_index;
            let stale =
                || format!("failed index check for key {key:?}, current modify index {current} != {index}");
            (current == *index).then(|| told(entry.clone())).ok_or_else(stale)
        }
        Operation::CheckSession(key, session) => {
            let entry = draft
                .entry(key)
                .ok_or_else(|| format!("failed to check session, key {key:?} doesn't exist"))?;
            let current = entry.session.as_deref().unwrap_or_default();
            let other = || {
                format!("failed session check for key {key:?}, current session {current:?} != {session:?}")
            };
            (current == session).then(|| told(entry.clone())).ok_or_else(other)
        }
        Operation::CheckNotExists(key) if draft.entry(key).is_some() => Err(format!("key {key:?} exists")),
        Operation::CheckNotExists(_) => Ok(Vec::new()),
        Operation::Unknown(verb, _) => Err(format!("unknown KV verb {verb:?}")),
        write => Err(format!("{write:?} is not a read")),
    }
}

fn told(entry: std::sync::Arc<crate::entry::Entry>) -> Vec<Found> {
    vec![Found { entry, with_value: false }]
}
