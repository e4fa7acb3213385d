//! What is counted: by version and by endpoint, every attempt with its end, before anything is tried again.
//!
//! An attempt ends as exactly one of: an answer (by status class), a failure (by kind), or its client's leaving. So
//! `requests + retries = answers + failures + left + in flight` at every moment.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Digits that a recorded time keeps: exact up to 2,047 µs, then within a thousandth.
pub const DIGITS: u8 = 3;
/// Classes of status codes: 1xx to 5xx.
pub const CLASSES: usize = 5;
/// Times above this are recorded as this: a day, in microseconds.
const TIME_MAX_US: u64 = 86_400_000_000;

/// Why an attempt got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No connection could be made.
    Connect,
    /// The connection ended before the head of an answer, or the head was none.
    Broken,
    /// A connection that had rested for a second or longer was closed as it was used: no fault of the request.
    Stale,
    /// The head of an answer did not come in time.
    Timeout,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an answer of this status, whose head came after this time.
    Answer {
        /// The status code.
        status: u16,
        /// From the choice of the endpoint to the answer's head.
        time: Duration,
    },
    /// Without one.
    Fault(Fault),
    /// The client left before the answer came.
    Left,
}

/// How often things happened, and how long answers took: of one version or one endpoint, since it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// First attempts.
    pub requests: u64,
    /// Further attempts.
    pub retries: u64,
    /// Answers by the first digit of their status: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub answers: [u64; CLASSES],
    /// Attempts without an answer, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Attempts whose client left first.
    pub left: u64,
    /// Answers that broke off after their head (counted as answers as well).
    pub cut: u64,
    /// Attempts under way; with the body of the answer, and as long as an upgraded connection lasts.
    pub in_flight: u64,
}

impl Counts {
    /// Counts a beginning.
    pub fn begin(&mut self, is_retry: bool) {
        match is_retry {
            false => self.requests += 1,
            true => self.retries += 1,
        }
    }

    /// Counts an end.
    pub fn end(&mut self, end: End) {
        match end {
            End::Answer { status, .. } => self.answers[class(status)] += 1,
            End::Fault(fault) => *self.faults.entry(fault).or_default() += 1,
            End::Left => self.left += 1,
        }
    }

    /// Adds what another worker or process counted.
    pub fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.retries += other.retries;
        self.left += other.left;
        self.cut += other.cut;
        self.in_flight += other.in_flight;
        self.answers.iter_mut().zip(other.answers).for_each(|(mine, theirs)| *mine += theirs);
        for (fault, number) in &other.faults {
            *self.faults.entry(*fault).or_default() += number;
        }
    }

    /// Leaves out what was counted up to an earlier word of the same process. What is of the moment stays.
    pub fn leave_out(&mut self, before: &Counts) {
        let all = [
            (&mut self.requests, before.requests),
            (&mut self.retries, before.retries),
            (&mut self.left, before.left),
            (&mut self.cut, before.cut),
        ];
        let answers = self.answers.iter_mut().zip(before.answers);
        let known = |(fault, number)| Some((number, *before.faults.get(fault)?));
        let faults = self.faults.iter_mut().filter_map(known);
        for (mine, theirs) in all.into_iter().chain(answers).chain(faults) {
            *mine = mine.saturating_sub(theirs);
        }
    }
}

/// Returns the place of a status in [`Counts::answers`].
pub fn class(status: u16) -> usize {
    usize::from(status / 100).clamp(1, CLASSES) - 1
}

/// How long answers took, in microseconds, by status class.
#[derive(Clone, Debug, Default)]
pub struct Times([Option<Histogram<u64>>; CLASSES]);

impl Times {
    /// Records an answer's time.
    pub fn record(&mut self, status: u16, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).clamp(1, TIME_MAX_US);
        self.of_class(class(status))
            .record(microseconds)
            .expect("a histogram that grows by itself takes every value");
    }

    fn of_class(&mut self, class: usize) -> &mut Histogram<u64> {
        self.0[class].get_or_insert_with(|| Histogram::new(DIGITS).expect("three digits are allowed"))
    }

    /// Adds what another worker recorded.
    pub fn add(&mut self, other: &Times) {
        for (class, theirs) in other.0.iter().enumerate() {
            if let Some(theirs) = theirs {
                self.of_class(class).add(theirs).expect("a histogram that grows by itself takes every value");
            }
        }
    }

    /// Adds what [`Times::encode`] wrote.
    pub fn add_encoded(&mut self, encoded: &[Encoded]) {
        for Encoded { class, pairs } in encoded {
            for pair in pairs.chunks_exact(2) {
                let class = usize::from(*class).clamp(1, CLASSES) - 1;
                let value = pair[0].clamp(1, TIME_MAX_US);
                self.of_class(class).record_n(value, pair[1]).expect("the value is below the largest");
            }
        }
    }

    /// Returns the time that this one is published as: the largest that falls into the same bucket.
    pub fn rounded(microseconds: u64) -> u64 {
        static BUCKETS: LazyLock<Histogram<u64>> =
            LazyLock::new(|| Histogram::new(DIGITS).expect("three digits are allowed"));
        BUCKETS.highest_equivalent(microseconds.clamp(1, TIME_MAX_US))
    }

    /// Writes each class that has answers as pairs of a time and how many answers took it.
    pub fn encode(&self) -> Vec<Encoded> {
        let classes = self.0.iter().zip(1..);
        let some = classes.filter_map(|(histogram, class)| Some((histogram.as_ref()?, class)));
        some.map(|(histogram, class)| {
            let recorded = histogram.iter_recorded();
            let pairs = recorded.flat_map(|step| [step.value_iterated_to(), step.count_at_value()]);
            Encoded { class, pairs: pairs.collect() }
        })
        .collect()
    }

    /// Returns how many answers took at most this long, and the sum of all times in microseconds, over all classes.
    pub fn at_most(&self, microseconds: u64) -> u64 {
        self.0.iter().flatten().map(|histogram| histogram.count_between(0, microseconds)).sum()
    }

    /// Returns the number of recorded answers.
    pub fn len(&self) -> u64 {
        self.0.iter().flatten().map(Histogram::len).sum()
    }

    /// Tells whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the sum of all recorded times, in microseconds.
    pub fn sum(&self) -> u64 {
        let steps = self.0.iter().flatten().flat_map(Histogram::iter_recorded);
        steps.map(|step| step.value_iterated_to().saturating_mul(step.count_at_value())).sum()
    }
}

/// A histogram as it is published: every bucket that has something, `[time, number, time, number, …]`, times in microseconds
/// and rising. A bucket's time is the largest that falls into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoded {
    /// The status class: 2 for 2xx.
    pub class: u8,
    /// Times and numbers, in turn.
    pub pairs: Vec<u64>,
}

impl Encoded {
    /// Leaves out what an earlier word of the same process holds.
    pub fn leave_out(&mut self, before: &[Encoded]) {
        let same = before.iter().filter(|other| other.class == self.class);
        let known: BTreeMap<u64, u64> =
            same.flat_map(|other| other.pairs.chunks_exact(2)).map(|pair| (pair[0], pair[1])).collect();
        let left = self
            .pairs
            .chunks_exact(2)
            .map(|pair| [pair[0], pair[1].saturating_sub(known.get(&pair[0]).copied().unwrap_or_default())]);
        self.pairs = left.filter(|[_, number]| *number > 0).flatten().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_to_two_milliseconds_and_then_within_a_thousandth() {
        for microseconds in (1..=2_047).chain([5_000, 77_777, 1_234_567, 59_999_999]) {
            let mut times = Times::default();
            times.record(200, Duration::from_micros(microseconds));
            let pairs = &times.encode()[0].pairs;
            let off = pairs[0].abs_diff(microseconds);
            assert_eq!((pairs[0], pairs[1]), (Times::rounded(microseconds), 1));
            assert!(
                off * 1_000 <= microseconds && (microseconds > 2_047 || off == 0),
                "{microseconds}: {pairs:?}"
            );
        }
    }

    #[test]
    fn what_is_encoded_is_what_is_added_again() {
        let mut times = Times::default();
        for number in 0..1_000 {
            times.record(200 + number % 5 * 100, Duration::from_micros(u64::from(number) * 37));
        }
        let mut again = Times::default();
        again.add_encoded(&times.encode());
        assert_eq!(again.encode(), times.encode());
        assert_eq!(again.len(), 1_000);
    }

    #[test]
    fn a_status_outside_of_the_classes_has_a_place() {
        assert_eq!([99, 101, 204, 599, 999].map(class), [0, 0, 1, 4, 4]);
    }
}
