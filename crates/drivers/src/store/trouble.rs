//! Bearing a store that does not answer: try again for ever, with growing pauses, and say so once.
//!
//! Invariants: however many loops of a role wait, an outage is told in one warning (and one more for each thing that
//! somebody can do about it), and its end in one line; a loop that gave up waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::StoreError;
use super::backoff::Backoff;
use crate::cause::chain;

const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// Short enough that a session of 30 s outlives an outage of 20 s.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The troubles of one role with its store. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<Register>>);

#[derive(Debug, Default)]
struct Register {
    /// How many loops have been registered.
    loops: u64,
    /// What the loops that are in trouble cannot do, and why.
    struck: BTreeMap<u64, String>,
    /// What people were advised in this outage.
    told: BTreeSet<&'static str>,
}

/// One loop's trouble with the store: none, or so many failed tries in a row.
#[derive(Debug)]
pub struct Trouble {
    doing: String,
    id: u64,
    tries: u32,
    pauses: Backoff,
    all: Troubles,
}

impl Troubles {
    /// Returns a loop's own, without trouble as yet. `doing` completes "cannot …": `read this host's orders`.
    pub fn of(&self, doing: impl Into<String>) -> Trouble {
        let mut register = self.lock();
        register.loops += 1;
        let id = register.loops;
        // Chance only scatters the tries of a fleet; nothing is decided by it.
        let pauses = Backoff::new(PAUSE_FIRST, PAUSE_MAX, RandomState::new().hash_one(id));
        Trouble { doing: doing.into(), id, tries: 0, pauses, all: self.clone() }
    }

    /// Returns what the first loop in trouble cannot do, and why; nothing when all is well.
    pub fn first(&self) -> Option<String> {
        self.lock().struck.values().next().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    /// Notes a failed try, tells people unless they know, and returns how long to wait before the next.
    pub fn failed(&mut self, error: &StoreError) -> Duration {
        self.tries = self.tries.saturating_add(1);
        let (doing, because, next) = (&self.doing, chain(error), advice(error));
        let mut register = self.all.lock();
        register.struck.insert(self.id, format!("cannot {doing}: {because}"));
        if register.told.insert(next) {
            tracing::warn!("cannot {doing}\n  because: {because}\n  next: {next}");
        } else {
            tracing::debug!(tries = self.tries, "cannot {doing} either: {because}");
        }
        drop(register);
        self.pauses.step()
    }

    /// Notes that it worked, and tells people when that was the last of the troubles.
    pub fn is_over(&mut self) {
        if std::mem::take(&mut self.tries) > 0 && self.forget() {
            tracing::info!("the store answers again");
        }
        self.pauses.reset();
    }

    /// Tells whether the last try failed.
    pub fn is_there(&self) -> bool {
        self.tries > 0
    }

    /// Forgets this loop's trouble; tells whether it was the last one.
    fn forget(&self) -> bool {
        let mut register = self.all.lock();
        let was_last = register.struck.remove(&self.id).is_some() && register.struck.is_empty();
        if was_last {
            register.told.clear();
        }
        was_last
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        self.forget();
    }
}

fn advice(error: &StoreError) -> &'static str {
    match error {
        StoreError::Denied { .. } => {
            "check the token and what it may do; what runs goes on, and we keep trying"
        }
        StoreError::Refused(_) => "this is a fault in footplate; please report it",
        StoreError::Unprotected { next, .. } => next,
        StoreError::Misconfigured(_) => "correct what is said about the store, and start again",
        StoreError::Unreachable { .. } | StoreError::Unavailable { .. } | StoreError::SessionGone(_) => {
            "nothing; what runs goes on, and we keep trying"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_have_a_bound_and_begin_anew() {
        let error = StoreError::Refused("no".to_owned());
        let mut trouble = Troubles::default().of("do it");
        let pauses: Vec<Duration> = (0..20).map(|_| trouble.failed(&error)).collect();
        assert!((PAUSE_FIRST / 2..=PAUSE_FIRST).contains(&pauses[0]), "{pauses:?}");
        assert!((PAUSE_MAX / 2..=PAUSE_MAX).contains(&pauses[19]), "{pauses:?}");
        trouble.is_over();
        assert!(trouble.failed(&error) <= PAUSE_FIRST);
    }

    #[test]
    fn trouble_is_over_when_the_last_loop_has_none() {
        let error = StoreError::Refused("no".to_owned());
        let troubles = Troubles::default();
        let (mut one, mut other) = (troubles.of("read"), troubles.of("write"));
        one.failed(&error);
        other.failed(&error);
        one.is_over();
        assert_eq!(troubles.first().as_deref(), Some("cannot write: the store cannot take this: no"));
        assert!(other.is_there() && !one.is_there());
        drop(other);
        assert_eq!(troubles.first(), None, "who is gone waits for nothing");
    }
}
