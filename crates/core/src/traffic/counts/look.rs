//! How counts travel: as looks at one router, each whole or what changed after an earlier one, and what is known from them.
//!
//! Invariants: nothing is counted twice or lost, however often a look is sent or its answer gets lost; what is kept is bounded,
//! whatever comes; no rate is ever negative.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failed::Failed;
use super::{Busiest, Counts, FailedRequest};
use crate::moment::Moment;
use crate::name::{AppPath, TargetName};
use crate::release::duration_millis;

/// What an agent tells of the router beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// When it looked, by its own clock; each look of an agent has another one.
    pub at: Moment,
    /// The look that these counts follow, which the listener must have; nothing when they are everything since the line began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// How long after that look this one was.
    #[serde(default, with = "duration_millis")]
    pub over: Duration,
    /// What was counted.
    pub counts: Counts,
    /// Requests that failed since then, by number; some may have been told before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedRequest>,
    /// How much the busiest clients carry, by target.
    #[serde(default, with = "super::by_name", skip_serializing_if = "BTreeMap::is_empty")]
    pub busiest: BTreeMap<TargetName, Busiest>,
}

/// A look that follows one which is not known here; a whole one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was counted before is not known here")]
pub struct Gap;

/// What is known of one router from its looks.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    counts: Counts,
    latest: Option<Moment>,
    window: Window,
    failed: Failed,
    busiest: BTreeMap<TargetName, Busiest>,
}

impl Heard {
    /// Takes a look. `elapsed` is how long ago the one before came, for a whole look, which does not say.
    ///
    /// The first whole look is where changes are counted from: when the router counted what is in it, nobody knows.
    pub fn hear(&mut self, look: Look, elapsed: Duration) -> Result<(), Gap> {
        let line = look.counts.line.clone();
        match (look.since, self.latest) {
            (None, None) => self.counts = look.counts,
            (None, Some(_)) => {
                self.window.push(elapsed, look.counts.since(&self.counts));
                self.counts = look.counts;
            }
            (since, latest) if since == latest => {
                self.counts.follow(&look.counts);
                self.window.push(look.over, look.counts);
            }
            (Some(_), _) => return Err(Gap),
        }
        self.latest = Some(look.at);
        self.failed.hear(&line, look.at, look.failed);
        self.busiest = look.busiest;
        Ok(())
    }

    /// Returns everything that the router counted since its line began.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns how many failed requests have come in all, and those that came after the first `n`, in the order of their arrival: of the
    /// last minute, and the newest [`FAILED_MAX`](super::FAILED_MAX) at most. With an `n` above all that have come, which another listener
    /// counted, everything that is kept.
    pub fn failures_after(&self, n: u64) -> (u64, Vec<FailedRequest>) {
        self.failed.after(n)
    }

    /// Returns an app's failed requests that are kept, the newest first.
    pub fn failures_of(&self, path: &AppPath) -> impl Iterator<Item = &FailedRequest> {
        self.failed.newest().filter(move |failed| failed.target.path == *path)
    }

    /// Returns how much a target's busiest clients carried when that was told last; nothing when this router does not say.
    pub fn busiest(&self, target: &TargetName) -> Option<Busiest> {
        self.busiest.get(target).copied()
    }

    /// Returns what it counted in about the last `length`, and how long that was. Nothing before two looks.
    pub fn latest(&self, length: Duration) -> Option<(Duration, Counts)> {
        self.window.latest(length)
    }
}

/// What was counted in the last minute, in slices: of seconds at first, of ten seconds later.
#[derive(Clone, Debug, Default)]
struct Window {
    /// The newest last.
    fine: VecDeque<Slice>,
    coarse: VecDeque<Slice>,
}

#[derive(Clone, Debug, Default)]
struct Slice {
    over: Duration,
    counts: Counts,
}

/// How long slices stay as they came, and how long those are that they become.
const FINE: Duration = Duration::from_secs(10);
/// What is kept at least.
const KEPT: Duration = Duration::from_secs(60);
/// The most slices of either kind.
const SLICES_MAX: usize = 32;

impl Window {
    fn push(&mut self, over: Duration, counts: Counts) {
        self.fine.push_back(Slice { over, counts });
        while self.fine.len() > SLICES_MAX || is_beyond(&self.fine, FINE) {
            let Some(old) = self.fine.pop_front() else { break };
            match self.coarse.back_mut().filter(|slice| slice.over < FINE) {
                Some(slice) => {
                    slice.over += old.over;
                    slice.counts.add(&old.counts);
                }
                None => self.coarse.push_back(old),
            }
        }
        while self.coarse.len() > SLICES_MAX || is_beyond(&self.coarse, KEPT) {
            self.coarse.pop_front();
        }
    }

    fn latest(&self, length: Duration) -> Option<(Duration, Counts)> {
        let (mut over, mut counts) = (Duration::ZERO, Counts::default());
        for slice in self.fine.iter().rev().chain(self.coarse.iter().rev()) {
            if over >= length {
                break;
            }
            over += slice.over;
            counts.add(&slice.counts);
        }
        (over > Duration::ZERO).then_some((over, counts))
    }
}

/// Tells whether the slices after the first are long enough.
fn is_beyond(slices: &VecDeque<Slice>, length: Duration) -> bool {
    slices.iter().skip(1).map(|slice| slice.over).sum::<Duration>() >= length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{ReleaseId, TargetName};
    use crate::traffic::counts::Tally;

    const SECOND: Duration = Duration::from_secs(1);

    fn place() -> (TargetName, ReleaseId) {
        ("production.shop.web".parse().unwrap(), "1".parse().unwrap())
    }

    fn counts(line: &str, requests: u64) -> Counts {
        let (target, release) = place();
        let tally = Tally { requests, in_flight: 3, answers: [0, requests, 0, 0, 0], ..Tally::default() };
        Counts { line: line.to_owned(), targets: [(target, [(release, tally)].into())].into() }
    }

    fn look(at: u64, since: Option<u64>, counts: Counts) -> Look {
        let at = Moment::from_millis(at);
        let (failed, busiest) = Default::default();
        Look { at, since: since.map(Moment::from_millis), over: SECOND, counts, failed, busiest }
    }

    fn requests(counts: &Counts) -> u64 {
        let (target, release) = place();
        counts.of(&target, &release).map_or(0, |tally| tally.requests)
    }

    #[test]
    fn looks_add_up_exactly_whatever_is_sent_twice_or_lost() {
        let mut heard = Heard::default();
        heard.hear(look(1, None, counts("a", 100)), SECOND).unwrap();
        assert!(heard.latest(SECOND).is_none(), "nobody knows when the first were counted");
        heard.hear(look(2, Some(1), counts("a", 10)), SECOND).unwrap();
        // Its answer got lost: it comes again, joined with what was counted later.
        assert_eq!(heard.hear(look(3, Some(1), counts("a", 15)), SECOND), Err(Gap));
        heard.hear(look(3, None, counts("a", 115)), SECOND).unwrap();
        assert_eq!((requests(heard.counts()), requests(&heard.latest(SECOND * 9).unwrap().1)), (115, 15));
        // The router was killed and begins anew, and so does the listener.
        heard.hear(look(4, Some(3), counts("b", 7)), SECOND).unwrap();
        assert_eq!((requests(heard.counts()), requests(&heard.latest(SECOND).unwrap().1)), (7, 7));
        assert_eq!(Heard::default().hear(look(5, Some(4), counts("b", 1)), SECOND), Err(Gap));
        assert_eq!(heard.counts().of(&place().0, &place().1).unwrap().in_flight, 3, "it is of the moment");
    }

    #[test]
    fn what_failed_is_heard_with_a_look_that_is_taken_and_of_one_of_an_older_agent_nothing_is() {
        let old = r#"{"at":1,"over":0,"counts":{"line":"a"}}"#;
        let old: Look = serde_json::from_str(old).unwrap();
        assert_eq!(
            serde_json::to_string(&old).unwrap(),
            r#"{"at":1,"over":0,"counts":{"line":"a","targets":{}}}"#
        );
        let failed = r#"{"number":7,"at":2,"target":"production.shop.web","release":"1","key":"0a","method":"GET","path":"/","fault":"broken","time_us":5}"#;
        let new = format!(
            r#"{{"at":2,"since":1,"over":1000,"counts":{{"line":"a"}},"failed":[{failed}],"busiest":{{"production.shop.web":{{"sampled":20,"of_ten":5}}}}}}"#
        );
        let new: Look = serde_json::from_str(&new).unwrap();
        assert_eq!(serde_json::from_str::<Look>(&serde_json::to_string(&new).unwrap()).unwrap(), new);
        let (mut heard, target) = (Heard::default(), place().0);
        assert_eq!(heard.hear(new.clone(), SECOND), Err(Gap));
        assert_eq!((heard.failures_after(0), heard.busiest(&target)), ((0, Vec::new()), None));
        heard.hear(old, SECOND).unwrap();
        heard.hear(new.clone(), SECOND).unwrap();
        assert_eq!(heard.busiest(&target), Some(Busiest { sampled: 20, of_ten: 5 }));
        assert_eq!(heard.failures_after(0), (1, new.failed.clone()));
        // Its answer got lost, and everything is sent again.
        heard.hear(Look { at: Moment::from_millis(3), since: None, ..new }, SECOND).unwrap();
        assert_eq!(heard.failures_after(1), (1, Vec::new()));
        assert_eq!(heard.failures_of(&target.path).count(), 1);
        assert_eq!(heard.failures_of(&"production.blog.web".parse::<TargetName>().unwrap().path).count(), 0);
    }

    #[test]
    fn a_window_is_bounded_and_as_long_as_asked() {
        let mut heard = Heard::default();
        heard.hear(look(0, None, counts("a", 0)), SECOND).unwrap();
        for second in 1..=500 {
            heard.hear(look(second, Some(second - 1), counts("a", second)), SECOND).unwrap();
        }
        let (over, last) = heard.latest(SECOND * 10).unwrap();
        assert_eq!((over, requests(&last)), (SECOND * 10, (491..=500).sum::<u64>()));
        let (over, last) = heard.latest(SECOND * 60).unwrap();
        let first = 500 - over.as_secs() + 1;
        assert!((60..=70).contains(&over.as_secs()), "{over:?}");
        assert_eq!(requests(&last), (first..=500).sum::<u64>());
        assert!(heard.window.fine.len() + heard.window.coarse.len() <= 20);
        for moment in 500..5_000 {
            let look = Look { over: Duration::ZERO, ..look(moment + 1, Some(moment), counts("a", 1)) };
            heard.hear(look, SECOND).unwrap();
        }
        assert!(heard.window.fine.len() <= SLICES_MAX && heard.window.coarse.len() <= SLICES_MAX);
    }
}
