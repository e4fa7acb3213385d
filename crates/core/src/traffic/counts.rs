//! What routers counted: by process group and release, every attempt with its end, before anything is tried again.
//!
//! Invariants: within one line counts only grow, so that any two looks have an exact difference; where something went back, it has
//! begun anew, and the later look is the difference. What is of the moment (in flight) is never subtracted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{ReleaseId, TargetName};

mod failed;
mod histogram;
mod look;

pub use failed::{Busiest, FAILED_KEPT, FAILED_MAX, FailedRequest, How};
pub use histogram::Histogram;
pub use look::{Gap, Heard, Look};

/// Classes of status codes: 1xx to 5xx.
pub const CLASSES: usize = 5;

/// Everything that one router counted since its line began, or a difference of two looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The line of router processes that counted: the same over upgrades. With another one all counts have begun anew.
    pub line: String,
    /// By process group (written `ENVIRONMENT.APP.GROUP`) and release.
    #[serde(default, with = "by_name")]
    pub targets: BTreeMap<TargetName, BTreeMap<ReleaseId, Tally>>,
}

/// What happened to the requests of one release.
///
/// Every attempt ends as exactly one of: an answer, a fault, its client's leaving. So
/// `requests + retries = answers + faults + left`, and what is under way; what is `in_flight` with its head answered is
/// among the answers already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Requests: first attempts.
    pub requests: u64,
    /// Further attempts for the same requests.
    #[serde(skip_serializing_if = "is_none")]
    pub retries: u64,
    /// Attempts that were answered, by the first digit of their status: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub answers: [u64; CLASSES],
    /// Attempts that were not, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<Fault, u64>,
    /// Attempts whose client went away first.
    #[serde(skip_serializing_if = "is_none")]
    pub left: u64,
    /// Answers that broke off after their head; they are among `answers` too.
    #[serde(skip_serializing_if = "is_none")]
    pub cut: u64,
    /// Attempts under way at this moment: until the last piece of the answer, and as long as an upgraded connection lasts.
    #[serde(skip_serializing_if = "is_none")]
    pub in_flight: u64,
    /// How long answers took until their heads were there, by status class (1 to 5).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub times: BTreeMap<u8, Histogram>,
}

/// Why an attempt got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No connection could be made.
    Connect,
    /// The connection ended before the head of an answer, or the head was none.
    Broken,
    /// A connection that had rested was closed as it was used. It says nothing of the release, and is no error.
    Stale,
    /// The head of an answer did not come in time.
    Timeout,
}

impl Counts {
    /// Returns what was counted after `earlier`: everything when that is of another line.
    pub fn since(&self, earlier: &Counts) -> Counts {
        if self.line != earlier.line {
            return self.clone();
        }
        let of_target = |(target, releases): (&TargetName, &BTreeMap<ReleaseId, Tally>)| {
            let before = earlier.targets.get(target);
            let of_release = |(release, tally): (&ReleaseId, &Tally)| {
                let before = before.and_then(|releases| releases.get(release));
                (release.clone(), before.map_or_else(|| tally.clone(), |before| tally.since(before)))
            };
            (target.clone(), releases.iter().map(of_release).collect())
        };
        Counts { line: self.line.clone(), targets: self.targets.iter().map(of_target).collect() }
    }

    /// Adds what another look or another router counted; what is in flight is added as well. The line stays.
    pub fn add(&mut self, other: &Counts) {
        for (target, releases) in &other.targets {
            let mine = self.targets.entry(target.clone()).or_default();
            for (release, tally) in releases {
                mine.entry(release.clone()).or_default().add(tally);
            }
        }
    }

    /// Goes on to a later look by what changed until then ([`Counts::since`]).
    pub fn follow(&mut self, change: &Counts) {
        if self.line != change.line {
            *self = Counts { line: change.line.clone(), ..Counts::default() };
        }
        self.tallies().for_each(|tally| tally.in_flight = 0);
        self.add(change);
    }

    /// Leaves out releases of which nothing was counted and that have nothing in flight.
    pub fn trim(&mut self) {
        self.targets.values_mut().for_each(|releases| releases.retain(|_, tally| !tally.is_empty()));
        self.targets.retain(|_, releases| !releases.is_empty());
    }

    fn tallies(&mut self) -> impl Iterator<Item = &mut Tally> {
        self.targets.values_mut().flat_map(BTreeMap::values_mut)
    }

    /// Returns what was counted of one release; nothing for one that no request came to.
    pub fn of(&self, target: &TargetName, release: &ReleaseId) -> Option<&Tally> {
        self.targets.get(target)?.get(release)
    }
}

impl Tally {
    /// Returns how many attempts began.
    pub fn attempts(&self) -> u64 {
        self.requests + self.retries
    }

    /// Returns how many attempts ended with an answer or a fault: what errors are a part of.
    pub fn ended(&self) -> u64 {
        self.answers.iter().sum::<u64>() + self.faults.values().sum::<u64>()
    }

    /// Returns how many attempts failed by their release's fault: answers 5xx, and no answer, except over a connection that
    /// had rested too long.
    pub fn errors(&self) -> u64 {
        let faults = self.faults.iter().filter(|(fault, _)| **fault != Fault::Stale);
        self.answers[CLASSES - 1] + faults.map(|(_, number)| number).sum::<u64>()
    }

    /// Returns how long answers took, over all status classes.
    pub fn all_times(&self) -> Histogram {
        let mut all = Histogram::default();
        self.times.values().for_each(|times| all.add(times));
        all
    }

    /// Tells whether nothing happened and nothing is under way.
    pub fn is_empty(&self) -> bool {
        *self == Tally::default()
    }

    /// Returns what happened after `earlier`, with what is in flight now. Where any count went back, all have begun anew.
    pub fn since(&self, earlier: &Tally) -> Tally {
        self.less(earlier).unwrap_or_else(|| self.clone())
    }

    fn less(&self, earlier: &Tally) -> Option<Tally> {
        let mut answers = self.answers;
        for (mine, theirs) in answers.iter_mut().zip(earlier.answers) {
            *mine = mine.checked_sub(theirs)?;
        }
        let mut faults = self.faults.clone();
        for (fault, number) in &earlier.faults {
            let mine = faults.get(fault).copied().unwrap_or_default().checked_sub(*number)?;
            faults.insert(*fault, mine);
        }
        faults.retain(|_, number| *number > 0);
        let mut times = self.times.clone();
        for (class, before) in &earlier.times {
            let rest = times.remove(class).unwrap_or_default().since(before)?;
            (!rest.is_empty()).then(|| times.insert(*class, rest));
        }
        Some(Tally {
            requests: self.requests.checked_sub(earlier.requests)?,
            retries: self.retries.checked_sub(earlier.retries)?,
            answers,
            faults,
            left: self.left.checked_sub(earlier.left)?,
            cut: self.cut.checked_sub(earlier.cut)?,
            in_flight: self.in_flight,
            times,
        })
    }

    /// Adds what another look or another router counted.
    pub fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.retries += other.retries;
        self.answers.iter_mut().zip(other.answers).for_each(|(mine, theirs)| *mine += theirs);
        for (fault, number) in &other.faults {
            *self.faults.entry(*fault).or_default() += number;
        }
        self.left += other.left;
        self.cut += other.cut;
        self.in_flight += other.in_flight;
        for (class, times) in &other.times {
            self.times.entry(*class).or_default().add(times);
        }
    }
}

/// Process groups by their names, since a key of JSON is a text.
pub(crate) mod by_name {
    use std::collections::BTreeMap;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::name::TargetName;

    /// Writes each process group as its name.
    pub fn serialize<S, T>(map: &BTreeMap<TargetName, T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Serialize,
    {
        serializer.collect_map(map.iter().map(|(target, value)| (target.to_string(), value)))
    }

    /// Reads each process group from its name.
    pub fn deserialize<'de, D, T>(deserializer: D) -> Result<BTreeMap<TargetName, T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de>,
    {
        let named = BTreeMap::<String, T>::deserialize(deserializer)?;
        let parse = |(name, value): (String, T)| Ok((name.parse().map_err(D::Error::custom)?, value));
        named.into_iter().map(parse).collect()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(requests: u64, answers: [u64; CLASSES], times: &[(u64, u64)]) -> Tally {
        let times = (!times.is_empty()).then(|| (2, times.iter().copied().collect::<Histogram>()));
        Tally { requests, answers, times: times.into_iter().collect(), ..Tally::default() }
    }

    fn counts(line: &str, tally: Tally) -> Counts {
        let target = "production.shop.web".parse().unwrap();
        let release = "1.2".parse().unwrap();
        Counts { line: line.to_owned(), targets: [(target, [(release, tally)].into())].into() }
    }

    #[test]
    fn two_looks_have_an_exact_difference_and_adding_it_gives_the_later_look() {
        let early = counts("a", tally(10, [0, 9, 0, 0, 1], &[(400, 9)]));
        let mut late = counts("a", tally(25, [0, 22, 0, 0, 3], &[(400, 12), (900, 10)]));
        let change = late.since(&early);
        assert_eq!(change, counts("a", tally(15, [0, 13, 0, 0, 2], &[(400, 3), (900, 10)])));
        let mut sum = early.clone();
        sum.add(&change);
        assert_eq!(sum, late);
        late.targets.clear();
        assert_eq!(late.since(&early).targets, BTreeMap::new(), "what is gone was counted before");
    }

    #[test]
    fn what_began_anew_counts_from_nothing_and_never_backwards() {
        let early = counts("a", tally(10, [0, 10, 0, 0, 0], &[(400, 10)]));
        for (line, requests) in [("b", 12), ("b", 3), ("a", 3)] {
            let late = counts(line, tally(requests, [0, requests, 0, 0, 0], &[(500, requests)]));
            assert_eq!(late.since(&early), late, "{line} {requests}");
        }
        let swapped = counts("a", tally(10, [0, 10, 0, 0, 0], &[(500, 10)]));
        assert_eq!(swapped.since(&early), swapped, "a time that is missing was counted anew");
    }

    #[test]
    fn a_stale_connection_is_no_error_and_every_other_fault_is_one() {
        let faults = [(Fault::Connect, 1), (Fault::Broken, 2), (Fault::Stale, 4), (Fault::Timeout, 8)].into();
        let tally = Tally { requests: 40, faults, answers: [0, 10, 0, 5, 10], ..Tally::default() };
        assert_eq!((tally.errors(), tally.ended(), tally.attempts()), (21, 40, 40));
    }

    #[test]
    fn counts_are_written_sparsely() {
        let written = serde_json::to_string(&counts("2f", tally(3, [0, 3, 0, 0, 0], &[(412, 2), (413, 1)])));
        let expected = r#"{"line":"2f","targets":{"production.shop.web":{"1.2":{"requests":3,"answers":[0,3,0,0,0],"times":{"2":[412,2,413,1]}}}}}"#;
        assert_eq!(written.unwrap(), expected);
        let read: Counts = serde_json::from_str(expected).unwrap();
        assert_eq!(read, counts("2f", tally(3, [0, 3, 0, 0, 0], &[(412, 2), (413, 1)])));
    }
}
