//! Counters that only grow, and what they grew by since they were looked at last.
//!
//! Invariants: a series that went back has begun anew, and what it says is what it grew by; a sum that went back tells nothing, as
//! nobody knows which of its parts began anew; nothing that was seen is counted twice, and nothing is lost with an answer that was of no use.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use footplate_core::verdict::{Side, Split};

use super::Counters;

/// The most series that are remembered of one counter.
const SERIES_MAX: usize = 10_000;
/// For how long one version's news wait for the other's, so that both are of the same time: two servers are rarely looked at at once.
const HELD: Duration = Duration::from_secs(60);
/// Up to here a counter tells each number from the next (2^53).
const COUNT_MAX: f64 = 9_007_199_254_740_992.0;

/// One counter: one number, or a series for each process that counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counter {
    /// What each says so far, by whatever tells them apart.
    pub series: BTreeMap<String, f64>,
    /// Whether each is one process's own counter, and no sum of several.
    pub is_raw: bool,
}

impl Counter {
    /// Returns the counter that is one number, of which nobody knows how many processes count for it.
    pub fn sum(value: f64) -> Self {
        Self { series: BTreeMap::from([(String::new(), value)]), is_raw: false }
    }

    /// Returns why it cannot be one.
    fn fault(&self) -> Option<String> {
        if self.series.is_empty() {
            return Some("there is no such counter".to_owned());
        }
        if self.series.len() > SERIES_MAX {
            return Some(format!(
                "a counter has {} series; at most {SERIES_MAX} are taken",
                self.series.len()
            ));
        }
        let wrong = self.series.values().find(|value| !(0.0..=COUNT_MAX).contains(*value))?;
        Some(format!("a counter says {wrong}, which is no count"))
    }

    /// Returns what it grew by; nothing when a sum went back.
    fn since(&self, before: &Counter) -> Option<f64> {
        let mut grown = 0.0;
        for (series, value) in &self.series {
            grown += match before.series.get(series) {
                Some(before) if value >= before => value - before,
                Some(_) if !self.is_raw => return None,
                Some(_) | None => *value,
            };
        }
        Some(grown)
    }

    /// Takes over what it says now. What is not there at the moment is remembered: it may come back where it was.
    fn follow(&mut self, now: Counter) {
        self.is_raw = now.is_raw;
        if self.series.len() + now.series.len() > 2 * SERIES_MAX {
            self.series.clear();
        }
        self.series.extend(now.series);
    }
}

/// The counters as they were when they were counted last.
#[derive(Clone, Debug, Default)]
pub(super) struct Counting {
    before: Option<(Counters, Instant)>,
}

impl Counting {
    /// Returns what all grew by, or why nobody knows.
    pub fn count(&mut self, now: Counters, at: Instant) -> Result<Split, String> {
        if let Some(fault) = now.all().iter().find_map(|counter| counter.fault()) {
            return Err(fault);
        }
        let Some((before, since)) = &mut self.before else {
            self.before = Some((now, at));
            return Err("counting begins: its counters were seen for the first time".to_owned());
        };
        let grown = |now: &Counter, before: &Counter| now.since(before);
        let grown = [
            grown(&now.canary, &before.canary),
            grown(&now.canary_of, &before.canary_of),
            grown(&now.baseline, &before.baseline),
            grown(&now.baseline_of, &before.baseline_of),
        ];
        let [Some(canary), Some(canary_of), Some(baseline), Some(baseline_of)] = grown else {
            self.before = Some((now, at));
            return Err(
                "a sum of counters went back, as one of them began anew; ask for the counters themselves"
                    .to_owned(),
            );
        };
        let side = |events: f64, of: f64| Side { of: of as u64, events: events as u64 };
        let (canary, baseline) = (side(canary, canary_of), side(baseline, baseline_of));
        if let Some(side) = [canary, baseline].iter().find(|side| side.events > side.of) {
            return Err(format!(
                "it happened {} times to {} requests, which cannot be",
                side.events, side.of
            ));
        }
        let is_half = (canary.of == 0) != (baseline.of == 0);
        if is_half && at.saturating_duration_since(*since) < HELD {
            return Ok(Split::default());
        }
        before.follow(now);
        *since = at;
        Ok(Split { canary, baseline, causes: None, busiest: None })
    }
}

impl Counters {
    fn all(&self) -> [&Counter; 4] {
        [&self.canary, &self.canary_of, &self.baseline, &self.baseline_of]
    }

    fn follow(&mut self, now: Counters) {
        self.canary.follow(now.canary);
        self.canary_of.follow(now.canary_of);
        self.baseline.follow(now.baseline);
        self.baseline_of.follow(now.baseline_of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(series: &[(&str, f64)]) -> Counter {
        Counter {
            series: series.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            is_raw: true,
        }
    }

    /// Counters whose canary has these series, and whose baseline has had so many requests without an event.
    fn of_canary(canary: &[(&str, f64)], of: &[(&str, f64)], baseline_of: f64) -> Counters {
        Counters {
            canary: raw(canary),
            canary_of: raw(of),
            baseline: raw(&[("b", 0.0)]),
            baseline_of: raw(&[("b", baseline_of)]),
        }
    }

    fn side(events: u64, of: u64) -> Side {
        Side { of, events }
    }

    #[test]
    fn a_process_that_begins_anew_is_counted_to_the_last_event() {
        let (mut counting, now) = (Counting::default(), Instant::now());
        let first = of_canary(&[("a", 5.0), ("b", 7.0)], &[("a", 100.0), ("b", 100.0)], 50.0);
        assert!(counting.count(first, now).unwrap_err().contains("first time"));
        let second = of_canary(&[("a", 6.0), ("b", 1.0)], &[("a", 110.0), ("b", 4.0)], 60.0);
        assert_eq!(counting.count(second, now).unwrap().canary, side(2, 14));
        // One is not there for a while, and comes back where it was; a third begins.
        let gone = of_canary(&[("a", 6.0)], &[("a", 120.0)], 70.0);
        assert_eq!(counting.count(gone, now).unwrap().canary, side(0, 10));
        let back =
            of_canary(&[("a", 6.0), ("b", 2.0), ("c", 3.0)], &[("a", 120.0), ("b", 9.0), ("c", 3.0)], 80.0);
        assert_eq!(counting.count(back, now).unwrap().canary, side(4, 8));
    }

    #[test]
    fn a_sum_that_goes_back_tells_nothing_and_goes_on_from_there() {
        let (mut counting, now) = (Counting::default(), Instant::now());
        let of = |of: f64| Counters {
            canary: Counter::sum(0.0),
            canary_of: Counter::sum(of),
            baseline: Counter::sum(0.0),
            baseline_of: Counter::sum(of),
        };
        counting.count(of(1000.0), now).unwrap_err();
        assert!(counting.count(of(600.0), now).unwrap_err().contains("went back"));
        assert_eq!(counting.count(of(610.0), now).unwrap().canary, side(0, 10));
    }

    #[test]
    fn what_cannot_be_is_no_answer_and_loses_nothing() {
        let (mut counting, now) = (Counting::default(), Instant::now());
        let of = |failed, of| of_canary(&[("a", failed)], &[("a", of)], of);
        counting.count(of(0.0, 10.0), now).unwrap_err();
        assert!(counting.count(of(3.0, 12.0), now).unwrap_err().contains("3 times to 2 requests"));
        for nonsense in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert!(counting.count(of(nonsense, 12.0), now).unwrap_err().contains("no count"), "{nonsense}");
        }
        assert!(
            counting.count(of_canary(&[], &[("a", 1.0)], 1.0), now).unwrap_err().contains("no such counter")
        );
        assert_eq!(counting.count(of(4.0, 20.0), now).unwrap().canary, side(4, 10));
    }

    #[test]
    fn news_of_one_version_wait_for_the_others_and_not_for_ever() {
        let (mut counting, now) = (Counting::default(), Instant::now());
        let of = |canary, baseline| of_canary(&[("a", 0.0)], &[("a", canary)], baseline);
        counting.count(of(10.0, 10.0), now).unwrap_err();
        assert_eq!(counting.count(of(15.0, 10.0), now), Ok(Split::default()));
        let both = counting.count(of(15.0, 55.0), now).unwrap();
        assert_eq!((both.canary.of, both.baseline.of), (5, 45));
        let later = counting.count(of(15.0, 100.0), now + HELD).unwrap();
        assert_eq!((later.canary.of, later.baseline.of), (0, 45));
    }
}
