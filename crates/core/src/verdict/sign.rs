//! The sign test: window by window, was the canary the worse one? Right whatever depends on whatever within a window.
//!
//! Invariants: a score is at least −1, and its mean is at most 0 when the canary is not worse, whatever happened before.
//! Then E = mean over λ ∈ {0.1 … 0.9} of Π(1 + λ·score) is a supermartingale that begins at 1.
//! Sources: Waudby-Smith & Ramdas, *Estimating means of bounded random variables by betting*, J. R. Stat. Soc. B 86(1), 2024;
//! for signs: Ramdas, Ruf, Larsson & Koolen, *Admissible anytime-valid sequential inference*, 2020.

use super::evidence::{Evidence, ln, ln_sum};
use super::share::canarys;

/// How much of the wealth each bet stakes, in tenths: 1 to 9.
const STAKES: usize = 9;

/// A bet on signs, or on scores that are at least −1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignTest {
    wealth: [f64; STAKES],
    decisive: u64,
}

impl SignTest {
    /// Counts one window's score; 0 says nothing.
    pub fn count(&mut self, score: f64) {
        assert!(score >= -1.0, "a score below -1 could lose more than was staked: {score}");
        if score == 0.0 {
            return;
        }
        self.decisive += 1;
        for (index, wealth) in self.wealth.iter_mut().enumerate() {
            *wealth += ln(1.0 + (index + 1) as f64 / 10.0 * score);
        }
    }

    /// Returns how many windows spoke for one side or the other.
    pub fn decisive(&self) -> u64 {
        self.decisive
    }

    /// Returns the evidence that the canary is the worse one more often than not.
    pub fn evidence(&self) -> Evidence {
        Evidence::from_ln(ln_sum(self.wealth.iter().copied()) - ln(STAKES as f64))
    }
}

/// Scores a window by the part of its events that were the canary's: (X − q) / q with q = q(`null`, `share`).
///
/// If every cause hits the canary with probability q or less, with however many events, X has a mean of at most q: so the score's is
/// at most 0, and it is −1 when all events were the baseline's. At a share of one half with one cause a window it is the sign itself;
/// otherwise it does what a control sample as large as the canary does for the sign, and uses all of the baseline.
pub fn worse(null: f64, share: f64, canary: u64, baseline: u64) -> f64 {
    match part(canary, baseline) {
        Some(part) if share > 0.0 && share < 1.0 => part / canarys(null, share) - 1.0,
        _ => 0.0,
    }
}

/// The mirrored score, (q − X) / (1 − q): its mean is at most 0 when the canary is as bad as `null` says, or worse.
pub fn not_worse(null: f64, share: f64, canary: u64, baseline: u64) -> f64 {
    match part(canary, baseline) {
        Some(part) if share > 0.0 && share < 1.0 => {
            let q = canarys(null, share);
            (q - part) / (1.0 - q)
        }
        _ => 0.0,
    }
}

fn part(canary: u64, baseline: u64) -> Option<f64> {
    let all = canary + baseline;
    (all > 0).then(|| canary as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_eleven_decisive_windows_in_a_row_at_one_half_for_one_in_two_hundred() {
        let mut test = SignTest::default();
        let enough = Evidence::enough_for(0.005);
        let windows = (1..100).find(|_| {
            test.count(worse(1.0, 0.5, 7, 0));
            test.evidence() >= enough
        });
        assert_eq!(windows, Some(11));
    }

    #[test]
    fn two_windows_give_what_is_computed_by_hand() {
        let mut test = SignTest::default();
        test.count(1.0);
        test.count(-1.0);
        let expected: f64 = (1..=9).map(|tenths| 1.0 - f64::from(tenths * tenths) / 100.0).sum::<f64>() / 9.0;
        assert!((test.evidence().ln() - ln(expected)).abs() < 1e-12);
        assert_eq!(test.decisive(), 2);
    }

    #[test]
    fn a_score_has_no_mean_when_causes_fall_by_the_share_however_large_they_are() {
        // Two causes of 20 and 1 events; each is the canary's with probability 0.1: the four cases, by hand.
        let mean = |score: &dyn Fn(u64, u64) -> f64| {
            0.01 * score(21, 0) + 0.09 * score(20, 1) + 0.09 * score(1, 20) + 0.81 * score(0, 21)
        };
        let worse_mean = mean(&|canary, baseline| worse(1.0, 0.1, canary, baseline));
        let mirrored = mean(&|canary, baseline| not_worse(1.0, 0.1, canary, baseline));
        assert!(worse_mean.abs() < 1e-12 && mirrored.abs() < 1e-12, "{worse_mean} {mirrored}");
        for (canary, baseline) in [(0, 9), (9, 0), (3, 6)] {
            assert!(worse(2.0, 0.3, canary, baseline) >= -1.0);
            assert!(not_worse(2.0, 0.3, canary, baseline) >= -1.0 - 1e-12);
        }
    }

    #[test]
    fn a_window_without_events_or_without_two_versions_says_nothing() {
        let mut test = SignTest::default();
        for score in [worse(1.0, 0.1, 0, 0), worse(1.0, 0.0, 0, 9), not_worse(2.0, 1.0, 9, 0)] {
            test.count(score);
        }
        assert_eq!((test.decisive(), test.evidence().ln()), (0, 0.0));
    }
}
