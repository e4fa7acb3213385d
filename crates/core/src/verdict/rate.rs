//! The rate test: does an event happen to more (or fewer) than a given part of one version's requests? No baseline is needed.
//!
//! Invariants: as for the share test. Alternatives are multiples of the limit's odds, so that none leaves 0 to 1.
//! Sources: Wald 1947 and Robbins 1970 as for the share test, for a Bernoulli variable.

use super::evidence::{Evidence, ln, ln_sum};
use super::share::WORSE;

/// What the odds of a version may be, as multiples of the limit's, that keeps well below it.
const BELOW: [f64; 4] = [0.5, 0.2, 0.05, 0.001];

/// A bet on how often something happens.
#[derive(Clone, Debug, PartialEq)]
pub struct RateTest {
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug, PartialEq)]
struct Alternative {
    wealth: f64,
    /// ln of what an event multiplies the bet by.
    event: f64,
    /// The same for a request without one.
    rest: f64,
}

impl RateTest {
    /// Tests "at most this part" against more. The limit is above 0 and below 1.
    pub fn above(limit: f64) -> Self {
        Self::new(limit, &WORSE.map(|(multiple, _)| multiple))
    }

    /// Tests "at least this part" against less.
    pub fn below(limit: f64) -> Self {
        Self::new(limit, &BELOW)
    }

    fn new(limit: f64, multiples: &[f64]) -> Self {
        assert!(limit > 0.0 && limit < 1.0, "a limit of nothing or everything cannot be crossed: {limit}");
        let alternative = |multiple: &f64| {
            let odds = limit / (1.0 - limit) * multiple;
            let part = odds / (1.0 + odds);
            Alternative { wealth: 0.0, event: ln(part / limit), rest: ln((1.0 - part) / (1.0 - limit)) }
        };
        Self { alternatives: multiples.iter().map(alternative).collect() }
    }

    /// Counts requests, and how many of them it happened to (at most all).
    pub fn count(&mut self, requests: u64, events: u64) {
        let rest = requests.saturating_sub(events);
        for alternative in &mut self.alternatives {
            alternative.wealth += events as f64 * alternative.event + rest as f64 * alternative.rest;
        }
    }

    /// Returns the evidence that the part is beyond the limit.
    pub fn evidence(&self) -> Evidence {
        let wealth = self.alternatives.iter().map(|alternative| alternative.wealth);
        Evidence::from_ln(ln_sum(wealth) - ln(self.alternatives.len() as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_without_errors_is_proved_good_by_about_three_over_the_limit_requests() {
        let mut test = RateTest::below(0.001);
        let enough = Evidence::enough_for(0.05);
        let needed = (1_u64..10_000).find(|_| {
            test.count(1, 0);
            test.evidence() >= enough
        });
        assert!((3_000..5_000).contains(&needed.expect("it is proved")), "{needed:?}");
    }

    #[test]
    fn the_mean_factor_of_a_request_is_one_at_the_limit() {
        for limit in [0.001, 0.05, 0.6] {
            for test in [RateTest::above(limit), RateTest::below(limit)] {
                for alternative in test.alternatives {
                    let mean = limit * alternative.event.exp() + (1.0 - limit) * alternative.rest.exp();
                    assert!((mean - 1.0).abs() < 1e-12, "{limit}: {mean}");
                }
            }
        }
    }

    #[test]
    fn errors_above_the_limit_are_seen_and_errors_below_it_are_not() {
        let (mut bad, mut good) = (RateTest::above(0.01), RateTest::above(0.01));
        bad.count(1_000, 40);
        good.count(1_000, 8);
        assert!(bad.evidence().ln() > 10.0 && good.evidence().ln() < 0.0);
    }
}
