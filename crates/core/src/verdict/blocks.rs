//! Blocks of requests, each held against a limit: how a small part is proved where single requests prove nothing, as a few clients make
//! most of them.
//!
//! Invariant: when the part is at the limit or above, a block speaks against that no more often than not. A block has two events on
//! average at the limit, or more, and speaks for less only with one event less than that: the median of a Poisson number is at
//! least its mean less ln 2 (Choi 1994, *On the medians of gamma distributions and an equation of Ramanujan*).

use std::time::Duration;

use super::evidence::Evidence;
use super::reading::Side;
use super::sign::SignTest;

/// How many events a block has on average at the limit.
const EVENTS: f64 = 2.0;
/// How long a block is at the least: what is one cause within that is in one block.
const LENGTH_MIN: Duration = Duration::from_secs(5);

/// A bet that a part is below its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    limit: f64,
    block: Side,
    lasted: Duration,
    test: SignTest,
}

impl Blocks {
    /// Tests "at least this part" against less. The limit is above 0 and below 1.
    pub fn below(limit: f64) -> Self {
        Self { limit, block: Side::default(), lasted: Duration::ZERO, test: SignTest::default() }
    }

    /// Counts what came in a look of this length.
    pub fn count(&mut self, over: Duration, side: Side) {
        self.block.add(side);
        self.lasted += over;
        let most = self.block.of as f64 * self.limit;
        if most < EVENTS || self.lasted < LENGTH_MIN {
            return;
        }
        self.test.count(if self.block.events as f64 <= most - 1.0 { 1.0 } else { -1.0 });
        (self.block, self.lasted) = (Side::default(), Duration::ZERO);
    }

    /// Returns the evidence that the part is below the limit more often than not.
    pub fn evidence(&self) -> Evidence {
        self.test.evidence()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the evidence after a minute of looks at 500 requests, of which one in so many failed.
    fn after_a_minute(one_in: u64) -> f64 {
        let mut blocks = Blocks::below(0.001);
        let mut requests = 0;
        for _ in 0..60 {
            let before = requests / one_in;
            requests += 500;
            let side = Side { of: 500, events: requests / one_in - before };
            blocks.count(Duration::from_secs(1), side);
        }
        blocks.evidence().ln()
    }

    #[test]
    fn a_part_below_the_limit_is_proved_and_one_at_it_or_above_is_not() {
        assert!(after_a_minute(1_000_000) > 20_f64.ln());
        assert!(after_a_minute(4_000) > 0.0);
        assert!(after_a_minute(1_000) < 0.0);
        assert!(after_a_minute(500) < 0.0);
    }

    #[test]
    fn too_few_requests_are_no_block() {
        let mut blocks = Blocks::below(0.001);
        (0..1000).for_each(|_| blocks.count(Duration::from_secs(60), Side { of: 1, events: 0 }));
        assert_eq!(
            blocks,
            Blocks {
                block: Side { of: 1000, events: 0 },
                lasted: Duration::from_secs(60_000),
                ..Blocks::below(0.001)
            }
        );
    }
}
