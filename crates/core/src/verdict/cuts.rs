//! Frozen times: the baseline's p50, p90 and p99 from before the canary got traffic. Slower than one of them is an event.
//!
//! Invariants: they never change while a release is judged; each is a time that the histogram tells apart from the next, so that
//! "above it" is an exact count. A cut is right wherever it lies, as both versions are held against it at the same time: it decides
//! only how much can be seen.

use serde::{Deserialize, Serialize};

use super::reading::{Side, Split};
use crate::traffic::Share;
use crate::traffic::counts::Histogram;

/// The KPIs of how long answers take, in the order of [`Cuts::splits`].
pub const NAMES: [&str; 3] = ["latency.p50", "latency.p90", "latency.p99"];
/// The parts of the baseline's answers that were not slower, in millionths.
const PARTS: [u32; 3] = [500_000, 900_000, 990_000];
/// How many of the baseline's answers must have been slower than a cut.
const SLOWER_MIN: u64 = 5;

/// Times in microseconds; nothing where the baseline had too few answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cuts([Option<u64>; 3]);

impl Cuts {
    /// Freezes the times of what the baseline answered before the canary got traffic (30 s of it, as a rule).
    pub fn freeze(baseline: &Histogram) -> Self {
        let cut = |part| {
            let time = baseline.quantile(Share::from_millionths(part))?;
            let microseconds = u64::try_from(time.as_micros()).ok()?;
            (baseline.above(microseconds) >= SLOWER_MIN).then_some(microseconds)
        };
        Self(PARTS.map(cut))
    }

    /// Returns the times in microseconds, in the order of [`NAMES`].
    pub fn times(&self) -> [Option<u64>; 3] {
        self.0
    }

    /// Tells whether every time is frozen.
    pub fn are_complete(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// Returns these with the times of others where none is frozen yet. It must be done before the answers are counted that they are held
    /// against.
    #[must_use]
    pub fn completed(self, later: Cuts) -> Cuts {
        let [p50, p90, p99] = self.0;
        let [later_p50, later_p90, later_p99] = later.0;
        Cuts([p50.or(later_p50), p90.or(later_p90), p99.or(later_p99)])
    }

    /// Returns how many answers of each version were slower than each cut; nothing for a cut that could not be made.
    pub fn splits(&self, canary: &Histogram, baseline: &Histogram) -> [Option<Split>; 3] {
        let side = |times: &Histogram, cut| Side { of: times.len(), events: times.above(cut) };
        let split = |cut| Split {
            canary: side(canary, cut),
            baseline: side(baseline, cut),
            causes: None,
            busiest: None,
        };
        self.0.map(|cut| cut.map(split))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slower_than_a_frozen_time_is_counted_exactly_on_both_versions() {
        let before: Histogram = (1..=1000).map(|time| (time * 10, 1)).collect();
        let cuts = Cuts::freeze(&before);
        assert_eq!(cuts.times(), [Some(5_000), Some(9_000), Some(9_900)]);
        let canary: Histogram = [(5_000, 3), (5_001, 2), (9_901, 1)].into_iter().collect();
        let [p50, p90, p99] = cuts.splits(&canary, &before).map(|split| split.expect("there is a cut"));
        assert_eq!((p50.canary, p50.baseline), (Side { of: 6, events: 3 }, Side { of: 1000, events: 500 }));
        assert_eq!(
            (p90.canary.events, p90.baseline.events, p99.canary.events, p99.baseline.events),
            (1, 100, 1, 10)
        );
    }

    #[test]
    fn of_few_answers_no_cut_is_made_that_hardly_any_exceeds() {
        let few: Histogram = (1..=100).map(|time| (time, 1)).collect();
        assert_eq!(Cuts::freeze(&few).times(), [Some(50), Some(90), None]);
        assert_eq!(Cuts::freeze(&Histogram::default()), Cuts::default());
    }
}
