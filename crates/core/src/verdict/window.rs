//! Windows of five seconds, each of which is one fact for the sign test; pools of requests, where the share is measured; and how much
//! of the traffic a few keys carry.
//!
//! Invariant: what was decided about a window was decided before it began, so that no bet is made in hindsight.

use std::time::Duration;

use crate::moment::Moment;

/// How long a window is: what happens within it may depend on each other in any way.
const LENGTH: Duration = Duration::from_secs(5);
/// How long busy keys are counted together.
const BUSY_LENGTH: Duration = Duration::from_secs(10);

/// What was counted in the window that is open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    ends: Option<Moment>,
    /// The share that is in force in it, and what both versions got where nobody says.
    share: Option<f64>,
    of_canary: u64,
    of_all: u64,
    canary: u64,
    baseline: u64,
}

/// A window that is over: the canary's share, its events, and the baseline's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closed {
    /// The share in force, or what was measured.
    pub share: f64,
    /// The canary's events.
    pub canary: u64,
    /// The baseline's.
    pub baseline: u64,
}

/// What one look adds to a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// The share in force, where it is known.
    pub share: Option<f64>,
    /// The requests of canary and baseline.
    pub of: (u64, u64),
    /// Their events.
    pub events: (u64, u64),
}

impl Window {
    /// Tells whether a look at this moment begins a window.
    pub fn is_new(&self, at: Moment) -> bool {
        self.ends.is_none_or(|ends| at > ends)
    }

    /// Adds a look. Returns the window before it, when this one begins another: by its time, or by another share.
    pub fn add(&mut self, at: Moment, over: Duration, part: Part) -> Option<Closed> {
        let is_over = self.is_new(at) || self.share != part.share;
        let closed = if is_over { self.close() } else { None };
        if self.ends.is_none() {
            *self = Window { ends: Some(at - over + LENGTH), share: part.share, ..Window::default() };
        }
        self.of_canary += part.of.0;
        self.of_all += part.of.0 + part.of.1;
        self.canary += part.events.0;
        self.baseline += part.events.1;
        closed
    }

    fn close(&mut self) -> Option<Closed> {
        let window = std::mem::take(self);
        window.ends?;
        let measured = || (window.of_all > 0).then(|| window.of_canary as f64 / window.of_all as f64);
        let share = window.share.or_else(measured)?;
        Some(Closed { share, canary: window.canary, baseline: window.baseline })
    }
}

/// How many requests a share is measured by at least. By fewer it is often nothing or everything, of which nothing can be learned.
const POOL_MIN: u64 = 20;

/// Requests and facts of looks that wait until there are enough of them to measure a share by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    of: (u64, u64),
    facts: (u64, u64),
}

impl Pool {
    /// Adds a look: requests and facts of canary and baseline. Returns the measured share with the facts, once there are enough requests.
    pub fn add(&mut self, of: (u64, u64), facts: (u64, u64)) -> Option<(f64, u64, u64)> {
        self.of = (self.of.0 + of.0, self.of.1 + of.1);
        self.facts = (self.facts.0 + facts.0, self.facts.1 + facts.1);
        let all = self.of.0 + self.of.1;
        if all < POOL_MIN {
            return None;
        }
        let Pool { of, facts } = std::mem::take(self);
        Some((of.0 as f64 / all as f64, facts.0, facts.1))
    }
}

/// How much of the traffic the busiest keys carry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Busiest {
    ends: Option<Moment>,
    requests: u64,
    of_busiest: u64,
    is_half: bool,
}

impl Busiest {
    /// Adds a look: all requests, and those of the ten busiest keys.
    pub fn add(&mut self, at: Moment, requests: u64, of_busiest: u64) {
        if self.ends.is_none_or(|ends| at > ends) {
            self.is_half = self.requests > 0 && self.of_busiest * 2 >= self.requests;
            *self = Self { ends: Some(at + BUSY_LENGTH), is_half: self.is_half, ..Self::default() };
        }
        self.requests += requests;
        self.of_busiest += of_busiest;
    }

    /// Tells whether they carried half of it or more, in the last ten seconds that are over.
    pub fn carry_most(&self) -> bool {
        self.is_half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: u64) -> Moment {
        Moment::from_millis(second * 1000)
    }

    fn part(share: Option<f64>, events: (u64, u64)) -> Part {
        Part { share, of: (10, 30), events }
    }

    #[test]
    fn a_window_is_five_seconds_of_one_share() {
        let mut window = Window::default();
        for second in 1..=5 {
            assert_eq!(window.add(at(second), SECOND, part(Some(0.1), (1, 2))), None);
        }
        let closed = window.add(at(6), SECOND, part(Some(0.1), (0, 1)));
        assert_eq!(closed, Some(Closed { share: 0.1, canary: 5, baseline: 10 }));
        let closed = window.add(at(7), SECOND, part(Some(0.5), (0, 0)));
        assert_eq!(
            closed,
            Some(Closed { share: 0.1, canary: 0, baseline: 1 }),
            "another share is another window"
        );
    }

    #[test]
    fn where_nobody_knows_the_share_it_is_measured() {
        let mut window = Window::default();
        window.add(at(1), SECOND, part(None, (1, 2)));
        assert_eq!(
            window.add(at(9), SECOND, part(None, (0, 0))),
            Some(Closed { share: 0.25, canary: 1, baseline: 2 })
        );
    }

    #[test]
    fn a_share_is_measured_by_twenty_requests_at_least() {
        let mut pool = Pool::default();
        assert_eq!(pool.add((1, 5), (1, 0)), None);
        assert_eq!(pool.add((3, 11), (0, 2)), Some((0.2, 1, 2)));
        assert_eq!(pool.add((0, 40), (0, 3)), Some((0.0, 0, 3)), "it begins anew each time");
    }

    #[test]
    fn few_keys_carry_most_once_ten_seconds_have_shown_it() {
        let mut busiest = Busiest::default();
        let mut carried = Vec::new();
        for second in 1..=25 {
            busiest.add(at(second), 100, if second < 13 { 80 } else { 10 });
            carried.push(busiest.carry_most());
        }
        assert_eq!(carried.iter().position(|most| *most), Some(11));
        assert!(!carried[24], "and no longer than ten seconds after it is over");
    }
}
