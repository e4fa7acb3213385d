//! How long answers took: times in whole microseconds, each with how many took it.
//!
//! Invariant: no time stands here that no answer took.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::traffic::Share;

/// Times and how often each was taken, sparse. Written as `[time, number, time, number, …]`, times in microseconds and rising.
///
/// A router may give neighbouring times as one (the built-in one is exact up to 2,047 µs, and within a thousandth above): it
/// always gives the same time for the same neighbours, so that sums and differences stay exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// Counts so many answers that took this many microseconds.
    pub fn record(&mut self, microseconds: u64, number: u64) {
        if number > 0 {
            *self.0.entry(microseconds).or_default() += number;
        }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Histogram) {
        other.0.iter().for_each(|(microseconds, number)| self.record(*microseconds, *number));
    }

    /// Returns what was counted after `earlier`; nothing when that holds what this one does not.
    pub fn since(&self, earlier: &Histogram) -> Option<Histogram> {
        let mut rest = self.0.clone();
        for (microseconds, number) in &earlier.0 {
            let left = rest.remove(microseconds)?.checked_sub(*number)?;
            (left > 0).then(|| rest.insert(*microseconds, left));
        }
        Some(Histogram(rest))
    }

    /// Returns the number of answers.
    pub fn len(&self) -> u64 {
        self.0.values().sum()
    }

    /// Tells whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the times and their numbers, in microseconds and rising.
    pub fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(microseconds, number)| (*microseconds, *number))
    }

    /// Returns the time within which this part of the answers came: the smallest counted time that at least so many did
    /// not exceed (the nearest rank). Nothing without answers.
    pub fn quantile(&self, part: Share) -> Option<Duration> {
        let rank = u128::from(self.len()) * u128::from(part.millionths());
        let rank = rank.div_ceil(u128::from(Share::ALL.millionths())).max(1);
        let mut sum = 0;
        let reaches = |(microseconds, number): (u64, u64)| {
            sum += u128::from(number);
            (sum >= rank).then_some(Duration::from_micros(microseconds))
        };
        self.pairs().find_map(reaches)
    }

    /// Returns how many answers took longer than this.
    pub fn above(&self, microseconds: u64) -> u64 {
        let after = (std::ops::Bound::Excluded(microseconds), std::ops::Bound::Unbounded);
        self.0.range(after).map(|(_, number)| number).sum()
    }
}

impl FromIterator<(u64, u64)> for Histogram {
    /// Takes microseconds and numbers, in any order.
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(pairs: I) -> Self {
        let mut histogram = Self::default();
        pairs.into_iter().for_each(|(microseconds, number)| histogram.record(microseconds, number));
        histogram
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.pairs().flat_map(|(microseconds, number)| [microseconds, number]))
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let flat = Vec::<u64>::deserialize(deserializer)?;
        if flat.len() % 2 != 0 {
            return Err(serde::de::Error::custom("a time has no number; expected [time, number, …]"));
        }
        Ok(flat.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_nearest_rank_of_what_was_counted() {
        let histogram: Histogram = (1..=100).map(|time| (time * 10, 1)).collect();
        let percent = |percent: u32| Share::from_millionths(percent * 10_000);
        for (part, expected) in [(0, 10), (1, 10), (50, 500), (99, 990), (100, 1000)] {
            assert_eq!(histogram.quantile(percent(part)), Some(Duration::from_micros(expected)), "p{part}");
        }
        assert_eq!(Histogram::default().quantile(percent(50)), None);
        let skewed: Histogram = [(5, 98), (7_000, 2)].into_iter().collect();
        assert_eq!(skewed.quantile(percent(98)), Some(Duration::from_micros(5)));
        assert_eq!(skewed.quantile(percent(99)), Some(Duration::from_micros(7_000)));
        assert_eq!((skewed.above(5), skewed.above(4), skewed.above(7_000)), (2, 100, 0));
    }

    #[test]
    fn a_time_without_a_number_is_refused() {
        assert!(serde_json::from_str::<Histogram>("[4,1,5]").is_err());
        assert_eq!(serde_json::from_str::<Histogram>("[4,0]").unwrap(), Histogram::default());
    }
}
