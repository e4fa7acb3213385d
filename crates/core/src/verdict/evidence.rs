//! Evidence as a number: the logarithm of an e-value, which is what a bet of 1 against the null hypothesis has become.
//!
//! Invariants: natural logarithms everywhere, so that nothing overflows; logarithm and exponential are `libm`'s, so that
//! every machine gets the same bits. Sources: Ville, *Étude critique de la notion de collectif*, 1939 (a nonnegative
//! supermartingale that begins at 1 ever reaches 1/α with probability α at most); Vovk & Wang, *E-values*, Annals of
//! Statistics 49(3), 2021 (a mean of e-values is one, whatever their dependence).

use serde::{Deserialize, Serialize};

/// How strongly something speaks against a null hypothesis: ln of an e-value. 0 says nothing; below 0 speaks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(f64);

impl Evidence {
    /// No evidence: the bet is as it was made.
    pub const NONE: Evidence = Evidence(0.0);

    /// Returns the evidence whose natural logarithm this is.
    pub const fn from_ln(ln: f64) -> Self {
        Self(ln)
    }

    /// Returns what is enough for a test that may be wrong with probability `error`: 1/`error` (Ville's inequality).
    pub fn enough_for(error: f64) -> Self {
        Self(-ln(error))
    }

    /// Returns the natural logarithm.
    pub const fn ln(self) -> f64 {
        self.0
    }

    /// Returns the anytime p-value of the largest evidence so far: 1/E, at most 1.
    pub fn p_value(self) -> f64 {
        exp(-self.0).min(1.0)
    }

    /// Returns the evidence that follows this one on other data, with the capital of this one.
    pub fn then(self, other: Evidence) -> Evidence {
        Evidence(self.0 + other.0)
    }

    /// Returns the larger one.
    pub fn most(self, other: Evidence) -> Evidence {
        if other.0 > self.0 { other } else { self }
    }

    /// Returns the smaller one: evidence against both null hypotheses at once.
    pub fn and(self, other: Evidence) -> Evidence {
        if other.0 < self.0 { other } else { self }
    }
}

/// Returns the mean of e-values by their weights, which sum to 1: ln Σ wᵢ·Eᵢ, from pairs of ln wᵢ and ln Eᵢ.
pub(super) fn mean(parts: impl Iterator<Item = (f64, f64)> + Clone) -> Evidence {
    Evidence(ln_sum(parts.map(|(weight, evidence)| weight + evidence)))
}

/// Returns ln Σ exp(xᵢ) without leaving the range of numbers.
pub(super) fn ln_sum(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + ln(terms.map(|term| exp(term - largest)).sum())
}

/// Returns the natural logarithm, the same on every machine.
pub(super) fn ln(number: f64) -> f64 {
    libm::log(number)
}

/// Returns e to this power, the same on every machine.
pub(super) fn exp(number: f64) -> f64 {
    libm::exp(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_huge_and_of_no_evidence_stays_a_number() {
        assert!((ln_sum([1000.0, 1000.0].into_iter()) - (1000.0 + ln(2.0))).abs() < 1e-9);
        assert_eq!(ln_sum(std::iter::empty()), f64::NEG_INFINITY);
        assert!((ln_sum([f64::NEG_INFINITY, 3.0].into_iter()) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn enough_for_one_in_a_hundred_is_a_hundredfold_bet() {
        let enough = Evidence::enough_for(0.01);
        assert!((enough.ln() - ln(100.0)).abs() < 1e-12 && (enough.p_value() - 0.01).abs() < 1e-12);
        assert_eq!(Evidence::from_ln(-5.0).p_value(), 1.0, "what speaks for the null has no p-value above 1");
    }
}
