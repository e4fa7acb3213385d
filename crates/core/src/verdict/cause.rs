//! Causes: of all events of one client key within a window, the first, whichever version served it.
//!
//! Invariants: which causes are counted never depends on the version that they fell to; memory is bounded, however long it counts.
//! A client that is in trouble asks again and again: its events are one fact, not twenty. Counted for each version on its own, a key
//! that both serve would count once for each, whatever their shares are: one address that carries all requests looks like a share of one half.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// How long a key's further events belong to the first, where each request is drawn for itself.
pub const WINDOW: Duration = Duration::from_secs(10);
/// The most keys that are remembered.
pub const KEYS_MAX: usize = 16_384;
/// The most causes that one reading is worth: more are thinned by their keys.
pub const CAUSES_MAX: usize = 1_024;

/// What a version is drawn for, at random: that many events of one key are one fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// Each request for itself: a key counts again after [`WINDOW`].
    #[default]
    Request,
    /// Each client, who stays with its version: a key counts once in all, as only one draw was made for it.
    Client,
}

/// A client key that an event happened to, and which version served the first of a reading's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The key's hash. It may be the one that the version is drawn by.
    #[serde(rename = "k")]
    pub key: u64,
    /// Whether the canary served it.
    #[serde(rename = "c")]
    pub is_canarys: bool,
}

/// Which keys were counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Causes {
    drawn: Drawn,
    seen: BTreeSet<u64>,
    /// When each was counted, the oldest first.
    order: VecDeque<(Moment, u64)>,
    /// Only keys up to here count: it shrinks as there are too many. Mixed keys, so that it has nothing to do with the draw.
    range: u64,
}

impl Causes {
    /// Begins to count.
    pub fn new(drawn: Drawn) -> Self {
        Self { drawn, seen: BTreeSet::new(), order: VecDeque::new(), range: u64::MAX }
    }

    /// Returns how many new causes fell to the canary and to the baseline.
    pub fn count(&mut self, at: Moment, causes: &[Cause]) -> (u64, u64) {
        self.forget(at);
        let limit = limit(causes).min(self.range);
        let (mut canary, mut baseline) = (0, 0);
        for cause in causes {
            let key = mixed(cause.key);
            if key > limit || !self.seen.insert(key) {
                continue;
            }
            self.order.push_back((at, key));
            *(if cause.is_canarys { &mut canary } else { &mut baseline }) += 1;
        }
        self.shrink();
        (canary, baseline)
    }

    /// Returns how many keys are remembered.
    pub fn remembered(&self) -> usize {
        self.seen.len()
    }

    fn forget(&mut self, at: Moment) {
        while self.drawn == Drawn::Request
            && let Some((counted, key)) = self.order.front().copied()
            && at >= counted + WINDOW
        {
            self.order.pop_front();
            self.seen.remove(&key);
        }
    }

    /// Halves what counts until the rest fits: from now on fewer keys count, by their hash alone.
    fn shrink(&mut self) {
        while self.seen.len() > KEYS_MAX {
            self.range /= 2;
            let range = self.range;
            self.seen.retain(|key| *key <= range);
            self.order.retain(|(_, key)| *key <= range);
        }
    }
}

/// Returns up to which mixed key a reading's causes count: so that not many more than [`CAUSES_MAX`] do.
fn limit(causes: &[Cause]) -> u64 {
    if causes.len() <= CAUSES_MAX {
        return u64::MAX;
    }
    let mut keys: Vec<u64> = causes.iter().map(|cause| mixed(cause.key)).collect();
    *keys.select_nth_unstable(CAUSES_MAX - 1).1
}

/// Mixes a key, so that neighbours are far from each other. Source: the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
fn mixed(key: u64) -> u64 {
    let key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Moment {
        Moment::from_millis(second * 1000)
    }

    fn cause(key: u64, is_canarys: bool) -> Cause {
        Cause { key, is_canarys }
    }

    #[test]
    fn a_key_counts_once_in_ten_seconds_whichever_version_served_it() {
        let mut causes = Causes::new(Drawn::Request);
        assert_eq!(causes.count(at(0), &[cause(7, false), cause(8, true), cause(7, true)]), (1, 1));
        assert_eq!(causes.count(at(9), &[cause(7, true), cause(8, false)]), (0, 0));
        assert_eq!(causes.count(at(10), &[cause(7, true)]), (1, 0));
        assert_eq!(causes.remembered(), 1, "8 was forgotten");
    }

    #[test]
    fn a_client_that_stays_with_its_version_counts_once_in_all() {
        let mut causes = Causes::new(Drawn::Client);
        let counted: u64 = (0..1_000).map(|second| causes.count(at(second), &[cause(7, true)]).0).sum();
        assert_eq!(counted, 1);
    }

    #[test]
    fn memory_is_bounded_and_what_is_left_out_has_nothing_to_do_with_the_version() {
        for drawn in [Drawn::Request, Drawn::Client] {
            let mut causes = Causes::new(drawn);
            let (mut canary, mut all) = (0, 0);
            for second in 0..600 {
                // The version is drawn by the key itself: the lowest tenth are the canary's.
                let key = |number: u64| mixed(second * 1_000_000 + number);
                let batch: Vec<_> =
                    (0..5_000).map(|number| cause(key(number), key(number) < u64::MAX / 10)).collect();
                let (of_canary, of_baseline) = causes.count(at(second), &batch);
                assert!(of_canary + of_baseline <= CAUSES_MAX as u64);
                assert!(causes.remembered() <= KEYS_MAX && causes.order.len() <= KEYS_MAX);
                (canary, all) = (canary + of_canary, all + of_canary + of_baseline);
            }
            let part = canary as f64 / all as f64;
            assert!(all > 10_000 && (0.08..0.12).contains(&part), "{drawn:?}: {canary} of {all}");
        }
    }
}
