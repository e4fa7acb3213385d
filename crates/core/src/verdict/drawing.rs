//! Whether requests come as the share says by which they should be drawn. An order is no fact: routers may not follow it, and a version of
//! which no endpoint is ready leaves its part to the other.
//!
//! Invariant: requests that are drawn by a share, one by one, are taken for something else by chance in one of a million windows at most;
//! then the share is what was measured.
//! Source: the tail of a binomial distribution is at most exp(-n KL(p, s)), Chernoff, *A measure of asymptotic efficiency*, Annals of
//! Mathematical Statistics 23, 1952.

use std::collections::VecDeque;
use std::time::Duration;

use super::cause::Drawn;
use super::evidence::ln;
use crate::moment::Moment;

/// How long looks are held against the share.
const LENGTH: Duration = Duration::from_secs(10);
/// ln of how many windows there are for one that deviates so much by chance.
const RARE: f64 = 13.8;

/// The latest looks at one share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawing {
    share: Option<f64>,
    /// The requests of canary and baseline.
    looks: VecDeque<(Moment, (u64, u64))>,
}

impl Drawing {
    /// Takes a look at so many requests of canary and baseline; returns the share, if they may have been drawn by it.
    ///
    /// Of clients that are drawn some make many requests: there it is enough that both versions get any.
    pub fn believed(&mut self, at: Moment, share: Option<f64>, of: (u64, u64), drawn: Drawn) -> Option<f64> {
        if self.share != share {
            *self = Self { share, looks: VecDeque::new() };
        }
        let share = share?;
        self.looks.push_back((at, of));
        self.looks.retain(|(one, _)| *one + LENGTH > at);
        let add = |sum: (u64, u64), (_, of): &(Moment, (u64, u64))| (sum.0 + of.0, sum.1 + of.1);
        let (canary, baseline) = self.looks.iter().fold((0, 0), add);
        let may_be = match drawn {
            _ if canary + baseline == 0 => true,
            Drawn::Request => distance(canary, baseline, share) < RARE,
            Drawn::Client => canary > 0 && baseline > 0,
        };
        may_be.then_some(share)
    }
}

/// Returns n KL(p, s), where p is the canary's part of n requests.
fn distance(canary: u64, baseline: u64, share: f64) -> f64 {
    let all = (canary + baseline) as f64;
    let term = |of: u64, wanted: f64| match of {
        0 => 0.0,
        _ => of as f64 * ln(of as f64 / (all * wanted)),
    };
    term(canary, share) + term(baseline, 1.0 - share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks, one a second, at these requests of both versions; which of them were believed to be drawn by a tenth.
    fn believed(drawn: Drawn, looks: &[(u64, u64)]) -> Vec<bool> {
        let mut drawing = Drawing::default();
        let look = |(second, of): (usize, &(u64, u64))| {
            drawing.believed(Moment::from_millis(second as u64 * 1000), Some(0.1), *of, drawn).is_some()
        };
        looks.iter().enumerate().map(look).collect()
    }

    #[test]
    fn requests_that_cannot_have_been_drawn_by_the_share_are_not_believed() {
        assert_eq!(believed(Drawn::Request, &[(10, 90), (4, 96), (19, 81), (0, 0)]), [true; 4]);
        assert!(!believed(Drawn::Request, &[(10, 90), (0, 100), (0, 100), (0, 100)])[3]);
        assert_eq!(believed(Drawn::Request, &[(6, 0)]), [false], "the old release has no endpoint");
        assert_eq!(believed(Drawn::Request, &[(0, 5), (1, 0)]), [true; 2], "few requests say nothing");
        assert_eq!(believed(Drawn::Client, &[(50, 50), (1, 99)]), [true; 2], "one client may ask for much");
        assert_eq!(believed(Drawn::Client, &[(0, 100)]), [false]);
    }

    #[test]
    fn what_is_over_is_forgotten_and_another_share_begins_anew() {
        let mut looks = vec![(0, 100); 5];
        looks.extend([(10, 90); 15]);
        let believed = believed(Drawn::Request, &looks);
        assert!(!believed[4] && believed[19], "{believed:?}");
        let mut drawing = Drawing::default();
        let mut at = |second: u64, share: f64, of| {
            drawing.believed(Moment::from_millis(second * 1000), Some(share), of, Drawn::Request)
        };
        assert_eq!(at(1, 0.1, (0, 500)), None);
        assert_eq!(at(2, 0.5, (50, 50)), Some(0.5));
    }
}
