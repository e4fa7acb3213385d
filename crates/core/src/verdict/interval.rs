//! How many times as often something happens on the canary, as an interval for people.
//!
//! Invariants: it holds the truth with the stated probability however often anybody looks (a confidence sequence), and one of a
//! higher level holds every one of a lower level.
//! Source: Ramdas, Grünwald, Vovk & Shafer, *Game-theoretic statistics and safe anytime-valid inference*, Statistical Science 38(4),
//! 2023: all values that a test with e-values does not reject.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, ln, ln_sum};
use super::share::canarys;

/// An interval for the ratio of how often something happens on the canary and on the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// At least so many times as often; 0 when nothing is known.
    pub low: f64,
    /// At most so many times; nothing when there is no bound.
    pub high: Option<f64>,
}

/// Events of both versions by the share that was in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares(BTreeMap<u32, (u64, u64)>);

/// The ratios that are looked at: from a hundredth to a hundred, 60 for each tenfold.
const STEPS: i32 = 120;
const PER_TENFOLD: f64 = 60.0;
/// What else the ratio may be, as multiples of the one that is looked at, and their inverses.
const MULTIPLES: [f64; 7] = [1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 20.0];

impl Shares {
    /// Counts events. Shares are kept to three digits, so that their number is bounded where they are measured.
    pub fn count(&mut self, share: f64, canary: u64, baseline: u64) {
        if share > 0.0 && share < 1.0 && canary + baseline > 0 {
            let (of_canary, of_baseline) = self.0.entry(rounded(share)).or_default();
            *of_canary += canary;
            *of_baseline += baseline;
        }
    }

    /// Returns the interval that misses the truth with probability `error` at most; nothing before anything was counted.
    pub fn interval(&self, error: f64) -> Option<Interval> {
        if self.0.is_empty() {
            return None;
        }
        let enough = Evidence::enough_for(error);
        let is_possible = |step: &i32| self.against(ratio(*step)) < enough;
        let low = (-STEPS..=STEPS).find(is_possible);
        let high = (-STEPS..=STEPS).rev().find(is_possible);
        let (low, high) = match (low, high) {
            (Some(low), Some(high)) => (low - 1, high + 1),
            // All of them are rejected: the truth lies beyond, on the side of the most likely one, or between two of them.
            _ if self.ratio() > ratio(STEPS) => (STEPS, STEPS + 1),
            _ if self.ratio() < ratio(-STEPS) => (-STEPS - 1, -STEPS),
            _ => return Some(Interval { low: self.ratio(), high: Some(self.ratio()) }),
        };
        let low = if low < -STEPS { 0.0 } else { ratio(low) };
        Some(Interval { low, high: (high <= STEPS).then(|| ratio(high)) })
    }

    /// Returns the evidence that the ratio is not this one, but larger or smaller.
    fn against(&self, null: f64) -> Evidence {
        let factor = |multiple: f64| {
            let of_share = |(share, (canary, baseline)): (&u32, &(u64, u64))| {
                let share = f64::from(*share) / MILLION;
                let (q, of_null) = (canarys(null * multiple, share), canarys(null, share));
                *canary as f64 * ln(q / of_null) + *baseline as f64 * ln((1.0 - q) / (1.0 - of_null))
            };
            self.0.iter().map(of_share).sum::<f64>()
        };
        let wealth: Vec<f64> =
            MULTIPLES.iter().flat_map(|multiple| [factor(*multiple), factor(1.0 / multiple)]).collect();
        Evidence::from_ln(ln_sum(wealth.iter().copied()) - ln(wealth.len() as f64))
    }

    /// Returns about how many times as often it happened: the canary's events by those it would have had as the baseline.
    fn ratio(&self) -> f64 {
        let odds = |share: &u32| f64::from(*share) / (MILLION - f64::from(*share));
        let canary: f64 = self.0.values().map(|(canary, _)| *canary as f64).sum();
        let expected: f64 = self.0.iter().map(|(share, (_, baseline))| odds(share) * *baseline as f64).sum();
        if expected > 0.0 { canary / expected } else { f64::INFINITY }
    }
}

const MILLION: f64 = 1_000_000.0;

fn ratio(step: i32) -> f64 {
    libm::pow(10.0, f64::from(step) / PER_TENFOLD)
}

/// Returns millionths with at most three digits that are not zero, between one and all but one.
fn rounded(share: f64) -> u32 {
    let millionths = libm::round(share * MILLION).clamp(1.0, MILLION - 1.0) as u32;
    let unit = 10_u32.pow(millionths.ilog10().saturating_sub(2));
    ((millionths + unit / 2) / unit * unit).clamp(1, 999_999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(counts: &[(f64, u64, u64)]) -> Shares {
        let mut shares = Shares::default();
        counts.iter().for_each(|(share, canary, baseline)| shares.count(*share, *canary, *baseline));
        shares
    }

    #[test]
    fn it_holds_what_was_seen_and_gets_narrower_with_more_of_the_same() {
        let mut width = f64::INFINITY;
        for times in [1, 3, 10, 100] {
            let interval = shares(&[(0.1, 20 * times, 90 * times)]).interval(0.05).unwrap();
            let (low, high) = (interval.low, interval.high.expect("it is bounded"));
            assert!(low < 2.0 && 2.0 < high, "{interval:?}");
            assert!(high / low < width, "{interval:?}");
            width = high / low;
        }
        assert!(width < 1.3, "{width}");
    }

    #[test]
    fn a_higher_level_holds_a_lower_one() {
        let shares = shares(&[(0.01, 1, 40), (0.25, 9, 30)]);
        let [wide, narrow] = [0.01, 0.2].map(|error| shares.interval(error).unwrap());
        assert!(
            wide.low <= narrow.low
                && wide.high.unwrap_or(f64::INFINITY) >= narrow.high.unwrap_or(f64::INFINITY)
        );
    }

    #[test]
    fn of_little_little_is_known() {
        assert_eq!(Shares::default().interval(0.05), None);
        let one = shares(&[(0.1, 1, 0)]).interval(0.05).unwrap();
        assert_eq!(one.high, None);
        assert!(one.low < 1.0, "{one:?}");
    }

    #[test]
    fn what_lies_beyond_every_ratio_is_said_as_a_bound() {
        let far = shares(&[(0.01, 100_000, 1)]).interval(0.05).unwrap();
        assert!(far.high.is_none() && far.low >= 99.0, "{far:?}");
    }

    #[test]
    fn measured_shares_do_not_pile_up() {
        let mut all = Shares::default();
        (1..200_000).for_each(|number| all.count(f64::from(number) / 200_000.0, 1, 1));
        assert!(all.0.len() < 6_000, "{}", all.0.len());
        assert_eq!(
            (rounded(0.1), rounded(0.123_456), rounded(0.000_001), rounded(0.999_999_9)),
            (100_000, 123_000, 1, 999_999)
        );
    }
}
