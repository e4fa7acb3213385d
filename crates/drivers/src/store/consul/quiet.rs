//! Which scopes were empty at which indexes: Consul wakes who waits for an absent key or an empty prefix at every write
//! anywhere, and such a wake-up is no news to somebody who knows that the scope is empty.
//!
//! Invariant: an index lies in a remembered range only if every answer of this client for the scope, from the range's
//! first index to its last, was empty.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::store::Scope;

/// Scopes are few; a client that asks for ever new ones starts to remember anew.
const SCOPES_MAX: usize = 100_000;

/// The first and the last index at which a scope was seen empty.
type Range = (u64, u64);

#[derive(Default)]
pub(super) struct Empties(Mutex<BTreeMap<Scope, Range>>);

impl Empties {
    /// Returns the newest index at which a scope that was empty at `index` still was, or `index` itself.
    pub fn newest(&self, scope: &Scope, index: u64) -> u64 {
        self.lock().get(scope).filter(|range| contains(range, index)).map_or(index, |range| range.1)
    }

    /// Notes an answer; tells whether it is no news to who has seen `seen`: empty then, and empty still.
    pub fn note(&self, scope: &Scope, seen: u64, index: u64, empty: bool) -> bool {
        let mut ranges = self.lock();
        if !empty {
            ranges.remove(scope);
            return false;
        }
        if let Some(range) = ranges.get_mut(scope).filter(|range| contains(range, seen) && range.1 <= index) {
            range.1 = index;
            return true;
        }
        if ranges.len() >= SCOPES_MAX {
            ranges.clear();
        }
        ranges.insert(scope.clone(), (index, index));
        false
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Scope, Range>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

fn contains(range: &Range, index: u64) -> bool {
    range.0 <= index && index <= range.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_saw_it_empty_is_spared() {
        let (empties, scope) = (Empties::default(), Scope::Prefix("a/".to_owned()));
        assert!(!empties.note(&scope, 0, 10, true), "the first answer is news");
        assert!(empties.note(&scope, 10, 12, true));
        assert!(empties.note(&scope, 10, 14, true), "also to who comes late");
        assert_eq!((empties.newest(&scope, 12), empties.newest(&scope, 9)), (14, 9));
        assert!(!empties.note(&scope, 9, 15, true), "who saw another state hears of the delete");
        assert!(!empties.note(&scope, 15, 20, false));
        assert!(!empties.note(&scope, 15, 22, true), "it was there meanwhile, so its absence is news");
        assert!(!empties.note(&scope, 22, 3, true), "a restored server counts from lower");
    }
}
