//! One KPI that is a number: each look is a window of the sign test, won by the side of the bound that it lies on.
//!
//! Invariants: worse means that the number is beyond its bound more often than not, whatever it was before; how far beyond says
//! nothing, so that one wild value decides nothing. Looks of a number follow each other closely: what stays a little above its bound by
//! chance stays there, so a bound needs room for what differs between two processes of one release.

use super::evidence::Evidence;
use super::kpi::Bound;
use super::reading::Number;
use super::sign::SignTest;

/// What is known of one KPI.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    bound: Bound,
    worse: SignTest,
    not_worse: SignTest,
    latest: Option<(Number, Option<Number>)>,
}

impl Numbers {
    /// Begins to judge.
    pub fn new(bound: &Bound) -> Self {
        let test = SignTest::default;
        Self { bound: bound.clone(), worse: test(), not_worse: test(), latest: None }
    }

    /// Counts one look. Says nothing where the bound is a multiple of the baseline's number and that is not known.
    pub fn count(&mut self, canary: Number, baseline: Option<Number>) {
        self.latest = Some((canary, baseline));
        let Some(limit) = self.limit(baseline) else { return };
        let sign = if self.bound.is_low_bad { -1.0 } else { 1.0 };
        let beyond = (canary.value() - limit) * sign;
        let score = if beyond > 0.0 { 1.0 } else { -1.0 };
        self.worse.count(score);
        self.not_worse.count(-score);
    }

    /// Returns beyond what a number is too much: the farther one of both bounds, where there are two.
    pub fn limit(&self, baseline: Option<Number>) -> Option<f64> {
        let relative = self.bound.worse_than.map(|factor| {
            let factor = if self.bound.is_low_bad { 1.0 / factor.value() } else { factor.value() };
            baseline.map(|baseline| baseline.value() * factor)
        });
        let fixed = self.bound.limit.map(Number::value);
        match (relative, fixed) {
            (None, fixed) => fixed,
            (Some(relative), None) => relative,
            (Some(relative), Some(fixed)) if self.bound.is_low_bad => Some(relative?.min(fixed)),
            (Some(relative), Some(fixed)) => Some(relative?.max(fixed)),
        }
    }

    /// Returns the evidence that it is beyond the bound more often than not.
    pub fn worse(&self) -> Evidence {
        self.worse.evidence()
    }

    /// Returns the evidence that it is within more often than not.
    pub fn not_worse(&self) -> Evidence {
        self.not_worse.evidence()
    }

    /// Returns the latest numbers of canary and baseline.
    pub fn latest(&self) -> Option<(Number, Option<Number>)> {
        self.latest
    }

    /// Returns how many looks were counted.
    pub fn looks(&self) -> u64 {
        self.worse.decisive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64) -> Number {
        Number::new(value).unwrap()
    }

    fn judged(bound: &str, values: &[(f64, f64)]) -> Numbers {
        let mut numbers = Numbers::new(&serde_json::from_str(bound).unwrap());
        values.iter().for_each(|(canary, baseline)| numbers.count(number(*canary), Some(number(*baseline))));
        numbers
    }

    #[test]
    fn a_number_beyond_its_bound_for_a_while_is_worse_and_one_wild_value_is_nothing() {
        let bound = r#"{"worse_than":"1.5x"}"#;
        let leak: Vec<_> = (0..20).map(|second| (100.0 + 20.0 * f64::from(second), 100.0)).collect();
        assert!(judged(bound, &leak).worse().ln() > 4.0);
        let wild: Vec<_> = (0..20).map(|second| (if second == 9 { 1e9 } else { 100.0 }, 100.0)).collect();
        let wild = judged(bound, &wild);
        assert!(wild.worse().ln() < 0.0 && wild.not_worse().ln() > 3.0);
    }

    #[test]
    fn with_two_bounds_both_must_be_crossed() {
        let bound = r#"{"worse_than":"2x","limit":"50"}"#;
        let numbers = judged(bound, &[]);
        assert_eq!(numbers.limit(Some(number(10.0))), Some(50.0));
        assert_eq!(numbers.limit(Some(number(100.0))), Some(200.0));
        assert_eq!(numbers.limit(None), None, "without the baseline nobody knows");
        let low = judged(r#"{"worse_than":"2x","limit":"50","is_low_bad":true}"#, &[]);
        assert_eq!((low.limit(Some(number(10.0))), low.limit(Some(number(400.0)))), (Some(5.0), Some(50.0)));
    }

    #[test]
    fn where_small_is_bad_a_small_number_is_worse() {
        let fallen: Vec<_> = (0..20).map(|_| (3.0, 10.0)).collect();
        assert!(judged(r#"{"worse_than":"2x","is_low_bad":true}"#, &fallen).worse().ln() > 5.0);
        assert!(judged(r#"{"worse_than":"4x","is_low_bad":true}"#, &fallen).worse().ln() < 0.0);
    }
}
