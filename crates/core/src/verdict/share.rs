//! The share test: which version did an event (an error, a slow answer) come from?
//!
//! Given that it happened, it is the canary's with probability q(θ, ρ) = ρθ / (ρθ + 1 − ρ): ρ is the canary's share of the requests,
//! θ how many times as often it happens there. No rate stands in it, so what hits both versions at once cancels out.
//! Invariants: under θ ≤ null (or ≥ null, for the mirrored test) the evidence is a supermartingale, whatever the shares are and
//! however often anybody looks; the mean over the alternatives is taken last, so evidence is kept when the share changes.
//! Sources: Wald, *Sequential Analysis*, 1947 (likelihood ratio); Robbins, Annals of Math. Statistics 41(5), 1970 (mixture);
//! Lindon & Malek, *Anytime-Valid Inference for Multinomial Count Data*, NeurIPS 2022 (the split of a count between two versions).

use super::evidence::{Evidence, ln, ln_sum};

/// The alternatives of "worse", as multiples of the null hypothesis, with how much is bet on each: for errors, which may be many times
/// as many. Most is bet on what is hardest to see; a hundredfold needs four errors more or less.
pub const WORSE: [Bet; 8] =
    [(1.5, 0.2), (2.0, 0.25), (3.0, 0.2), (5.0, 0.1), (10.0, 0.1), (20.0, 0.05), (50.0, 0.05), (100.0, 0.05)];
/// The alternatives of "slower": how often a frozen time is exceeded changes less.
pub const SLOWER: [Bet; 7] = [
    (1.15, 1.0 / 7.0),
    (1.3, 1.0 / 7.0),
    (1.5, 1.0 / 7.0),
    (2.0, 1.0 / 7.0),
    (3.0, 1.0 / 7.0),
    (5.0, 1.0 / 7.0),
    (10.0, 1.0 / 7.0),
];
/// The ratios of "not worse": what a release may be that is not as bad as the null hypothesis says.
pub const NOT_WORSE: [f64; 3] = [1.0, 0.8, 0.5];
/// How much each of the two best looks may give, where events of one look may have one cause: the bet is doubled at most.
const BEST_LOOKS_MOST: f64 = std::f64::consts::LN_2;

/// A multiple of the null hypothesis, and how much is bet on it, of 1 in all.
pub type Bet = (f64, f64);

/// Returns the probability that an event is the canary's: q(θ, ρ).
pub fn canarys(ratio: f64, share: f64) -> f64 {
    share * ratio / (share * ratio + 1.0 - share)
}

/// A bet on the split of events between two versions.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareTest {
    null: f64,
    alternatives: Vec<Alternative>,
    /// The share that the factors below were computed for.
    share: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Alternative {
    ratio: f64,
    /// ln of how much was bet on it, and of what that has become.
    wealth: f64,
    /// The factors of the two best looks, where they are bounded.
    best: [f64; 2],
    /// ln of what one event of the canary multiplies the bet by.
    canary: f64,
    /// The same for one of the baseline.
    baseline: f64,
}

impl ShareTest {
    /// Tests θ ≤ `null` against these multiples of it, which are all above 1.
    pub fn worse(null: f64, bets: &[Bet]) -> Self {
        Self::new(null, bets.iter().map(|(multiple, stake)| (null * multiple, *stake)))
    }

    /// Tests θ ≥ `null` against ratios below it, the mirrored test: those of [`NOT_WORSE`], with the same bet on each.
    pub fn not_worse(null: f64) -> Self {
        let ratios: Vec<f64> = NOT_WORSE.into_iter().filter(|ratio| *ratio < null).collect();
        let stake = 1.0 / ratios.len() as f64;
        Self::new(null, ratios.into_iter().map(|ratio| (ratio, stake)))
    }

    fn new(null: f64, bets: impl Iterator<Item = Bet>) -> Self {
        let best = [BEST_LOOKS_MOST; 2];
        let alternative =
            |(ratio, stake)| Alternative { ratio, wealth: ln(stake), best, canary: 0.0, baseline: 0.0 };
        let alternatives: Vec<_> = bets.map(alternative).collect();
        assert!(!alternatives.is_empty(), "a test has something to bet on");
        Self { null, alternatives, share: 0.0 }
    }

    /// Counts events of both versions, which got their requests by this share. Of nothing or everything nothing can be learned.
    pub fn count(&mut self, share: f64, canary: u64, baseline: u64) {
        self.advance(share, canary, baseline, f64::INFINITY).for_each(drop);
    }

    /// The same where events of one look may have one cause (a process that stands still): together they count at most as much as one
    /// that hit the canary alone, and the two best looks of all at most twofold each.
    ///
    /// A factor of at most 1/q(null, ρ) has a mean of at most 1 also when all events of the look fall to one version as one; and
    /// what is never more than a supermartingale keeps its bound.
    pub fn count_as_one(&mut self, share: f64, canary: u64, baseline: u64) {
        let most = -ln(canarys(self.null, share));
        for (alternative, factor) in self.advance(share, canary, baseline, most) {
            let [best, second] = alternative.best;
            if factor > best {
                alternative.best = [factor, best];
            } else if factor > second {
                alternative.best = [best, factor];
            }
        }
    }
    /// Multiplies each bet by the factor of these events, or by `most` (as a logarithm) where that is less, and gives the factors.
    fn advance(
        &mut self,
        share: f64,
        canary: u64,
        baseline: u64,
        most: f64,
    ) -> impl Iterator<Item = (&mut Alternative, f64)> {
        let says_something = share > 0.0 && share < 1.0 && canary + baseline > 0;
        if says_something {
            self.stand_at(share);
        }
        self.alternatives.iter_mut().filter(move |_| says_something).map(move |alternative| {
            let factor = canary as f64 * alternative.canary + baseline as f64 * alternative.baseline;
            alternative.wealth += factor.min(most);
            (alternative, factor.min(most))
        })
    }

    /// Computes the factors for a share, unless they are there.
    fn stand_at(&mut self, share: f64) {
        if self.share == share {
            return;
        }
        let null = canarys(self.null, share);
        for alternative in &mut self.alternatives {
            let q = canarys(alternative.ratio, share);
            alternative.canary = ln(q / null);
            alternative.baseline = ln((1.0 - q) / (1.0 - null));
        }
        self.share = share;
    }

    /// Returns the evidence against the null hypothesis: ln of what all bets together have become.
    pub fn evidence(&self) -> Evidence {
        let excess = |best: [f64; 2]| best[0] + best[1] - 2.0 * BEST_LOOKS_MOST;
        let wealth =
            self.alternatives.iter().map(|alternative| alternative.wealth - excess(alternative.best));
        Evidence::from_ln(ln_sum(wealth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-12 * left.abs().max(1.0)
    }

    #[test]
    fn an_event_is_the_canarys_as_often_as_its_share_and_ratio_say() {
        assert!(close(canarys(1.0, 0.1), 0.1));
        assert!(close(canarys(2.0, 0.1), 0.2 / 1.1));
        assert!(close(canarys(3.0, 0.5), 0.75));
    }

    #[test]
    fn three_events_give_what_is_computed_by_hand() {
        // At a share of one half: q(1) = 1/2, q(2) = 2/3, q(3) = 3/4. Two events of the canary, one of the baseline.
        let mut test = ShareTest::worse(1.0, &[(2.0, 0.5), (3.0, 0.5)]);
        test.count(0.5, 2, 1);
        let (of_two, of_three) = ((4.0 / 3.0) * (4.0 / 3.0) * (2.0 / 3.0), 1.5 * 1.5 * 0.5);
        assert!(close(test.evidence().ln(), ln(f64::midpoint(of_two, of_three))));
    }

    #[test]
    fn the_mean_over_alternatives_is_taken_last_so_that_evidence_is_kept_when_the_share_changes() {
        let mut test = ShareTest::worse(1.0, &[(2.0, 0.5), (10.0, 0.5)]);
        test.count(0.1, 1, 2);
        test.count(0.5, 3, 1);
        let path = |ratio: f64| {
            let factor = |share: f64, canary: i32, baseline: i32| {
                let (q, null) = (canarys(ratio, share), canarys(1.0, share));
                (q / null).powi(canary) * ((1.0 - q) / (1.0 - null)).powi(baseline)
            };
            factor(0.1, 1, 2) * factor(0.5, 3, 1)
        };
        assert!(close(test.evidence().ln(), ln(f64::midpoint(path(2.0), path(10.0)))));
    }

    #[test]
    fn a_bet_stays_what_it_is_on_average_at_the_null_and_loses_under_it() {
        for share in [0.01, 0.1, 0.5, 0.9] {
            for (truth, is_null) in [(1.25, true), (1.0, false), (0.3, false)] {
                let became = |canary, baseline| {
                    let mut test = ShareTest::worse(1.25, &WORSE);
                    test.count(share, canary, baseline);
                    test.evidence().ln().exp()
                };
                let real = canarys(truth, share);
                let mean = real * became(1, 0) + (1.0 - real) * became(0, 1);
                assert!(if is_null { close(mean, 1.0) } else { mean < 1.0 }, "{share} {truth}: {mean}");
            }
        }
        for share in [0.01, 0.5] {
            let became = |canary, baseline| {
                let mut test = ShareTest::not_worse(2.0);
                test.count(share, canary, baseline);
                test.evidence().ln().exp()
            };
            let mean =
                |truth| canarys(truth, share) * became(1, 0) + (1.0 - canarys(truth, share)) * became(0, 1);
            assert!(close(mean(2.0), 1.0) && mean(4.0) < 1.0, "the mirrored test");
        }
    }

    #[test]
    fn one_look_counts_at_most_as_one_event_that_hit_the_canary_alone_and_the_best_two_double() {
        let mut test = ShareTest::worse(1.0, &SLOWER);
        for (look, most) in [2.0, 4.0, 40.0, 400.0].into_iter().enumerate() {
            test.count_as_one(0.1, 500, 0);
            assert!(close(test.evidence().ln(), ln(most)), "{look}: {:?}", test.evidence());
        }
        let mut small = ShareTest::worse(1.0, &SLOWER);
        let mut same = small.clone();
        small.count_as_one(0.1, 1, 4);
        same.count(0.1, 1, 4);
        assert_eq!(small.evidence(), same.evidence(), "what is little is not cut");
    }

    #[test]
    fn nothing_is_learned_where_one_version_gets_everything() {
        let mut test = ShareTest::worse(1.0, &WORSE);
        test.count(0.0, 0, 1000);
        test.count(1.0, 1000, 0);
        test.count(0.5, 0, 0);
        assert_eq!(test.evidence().ln(), 0.0);
    }

    #[test]
    fn all_of_what_is_bet_is_one() {
        for bets in [&WORSE[..], &SLOWER[..]] {
            assert!(close(bets.iter().map(|(_, stake)| stake).sum(), 1.0));
        }
        assert!(ShareTest::not_worse(2.0).evidence().ln().abs() < 1e-12);
    }
}
