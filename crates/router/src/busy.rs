//! How much of a service's traffic its ten busiest clients carry: by a small sample, taken anew each second.
//!
//! Invariant: each worker has its own, with a few keys of each second, so that a request costs a number and perhaps a key.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Over how many whole seconds is told. As long as errors of one client are one fact to a judge: one who came once in it makes one
/// fact at most, and is not busy.
pub const SECONDS: u64 = 10;
/// How many requests of a second are looked at, by each worker.
pub const SAMPLED_MAX: usize = 64;
/// How many clients are the busiest.
const TEN: usize = 10;

/// How much the ten busiest clients carried of the last ten seconds' requests: `of_ten` of `sampled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busiest {
    /// How many requests were looked at.
    pub sampled: u64,
    /// How many of them, as far as a sample tells, came from the ten clients with the most, of those who came twice at least.
    pub of_ten: u64,
}

/// What one worker has seen of a service in the last seconds.
#[derive(Debug, Default)]
pub struct Sample(Mutex<VecDeque<Second>>);

/// What came in one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Second {
    at: u64,
    /// All requests.
    seen: u64,
    /// The clients' keys of the first ones.
    keys: Vec<u64>,
}

impl Busiest {
    /// Adds what another process saw.
    pub fn add(&mut self, other: Busiest) {
        self.sampled += other.sampled;
        self.of_ten += other.of_ten;
    }
}

impl Sample {
    /// Notes a request in this second of the clock. Its client's key is asked for while there are not enough.
    pub fn note(&self, second: u64, key: impl FnOnce() -> u64) {
        let mut seconds = self.seconds();
        if seconds.back().is_none_or(|last| last.at != second) {
            while seconds.len() as u64 > SECONDS {
                seconds.pop_front();
            }
            seconds.push_back(Second { at: second, ..Second::default() });
        }
        let Some(last) = seconds.back_mut() else { return };
        last.seen += 1;
        if last.keys.len() < SAMPLED_MAX {
            last.keys.push(key());
        }
    }

    /// Returns the whole seconds before this one, of the last ten.
    pub fn before(&self, second: u64) -> Vec<Second> {
        let told: Range<u64> = second.saturating_sub(SECONDS)..second;
        self.seconds().iter().filter(|other| told.contains(&other.at)).cloned().collect()
    }

    fn seconds(&self) -> MutexGuard<'_, VecDeque<Second>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings together what workers saw: a key weighs as many requests as it stands for.
pub fn busiest(seconds: &[Second]) -> Busiest {
    let mut clients: HashMap<u64, (u64, u64)> = HashMap::new();
    let (mut sampled, mut all) = (0, 0);
    for Second { seen, keys, .. } in seconds.iter().filter(|second| !second.keys.is_empty()) {
        // In thousandths of a request.
        let weight = seen * 1_000 / keys.len() as u64;
        sampled += keys.len() as u64;
        all += weight * keys.len() as u64;
        for key in keys {
            let (times, carried) = clients.entry(*key).or_default();
            *times += 1;
            *carried += weight;
        }
    }
    let often = clients.into_values().filter(|(times, _)| *times > 1);
    let mut carried: Vec<u64> = often.map(|(_, carried)| carried).collect();
    carried.sort_unstable_by(|one, other| other.cmp(one));
    let of_ten: u64 = carried.iter().take(TEN).sum();
    let part = u128::from(sampled) * u128::from(of_ten) / u128::from(all.max(1));
    Busiest { sampled, of_ten: u64::try_from(part).unwrap_or(sampled) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sample: &Sample, second: u64) -> (u64, u64) {
        let Busiest { sampled, of_ten } = busiest(&sample.before(second));
        (sampled, of_ten)
    }

    #[test]
    fn ten_clients_who_come_again_and_again_are_busy_and_those_who_come_once_never() {
        let sample = Sample::default();
        (0..10).for_each(|second| (0..5).for_each(|client| sample.note(second, || second * 5 + client)));
        assert_eq!(told(&sample, 10), (50, 0), "five requests a second, each of another client");
        let sample = Sample::default();
        (0..10).for_each(|second| (0..40).for_each(|client| sample.note(second, || client % 20)));
        assert_eq!(told(&sample, 10), (400, 200), "ten of twenty carry half");
    }

    #[test]
    fn what_was_not_looked_at_weighs_as_what_was() {
        let (busy, calm) = (Sample::default(), Sample::default());
        (0..6_400).for_each(|_| busy.note(3, || 1));
        (0..64).for_each(|client| calm.note(3, || 100 + client));
        let mut seconds = busy.before(4);
        seconds.extend(calm.before(4));
        assert_eq!(busiest(&seconds), Busiest { sampled: 128, of_ten: 126 }, "99 of 100 requests");
    }

    #[test]
    fn only_the_last_ten_whole_seconds_are_told_and_kept() {
        let sample = Sample::default();
        (0..100).for_each(|second| (0..2).for_each(|_| sample.note(second, || second)));
        assert_eq!(sample.seconds().len() as u64, SECONDS + 1);
        assert_eq!(told(&sample, 99), (20, 20));
        assert_eq!(told(&sample, 105), (10, 10));
        assert_eq!(told(&sample, 200), (0, 0), "nobody came");
    }
}
