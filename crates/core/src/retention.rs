//! Which releases stay prepared on the hosts.
//!
//! Invariant: never goes what runs, what ran before it, what a rollback would propose, what was last verified, or what
//! takes part in a rollout.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::{Moment, in_words};
use crate::name::ReleaseId;
use crate::release::duration_millis;

/// An app's rule. A release stays when either half says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How many releases stay, the one that runs included.
    pub keep: u32,
    /// How long a release stays after it stopped running, however many there are.
    #[serde(default, with = "optional_millis", skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<Duration>,
}

impl Default for Retention {
    /// Returns: three releases.
    fn default() -> Self {
        Self { keep: 3, newer_than: None }
    }
}

/// A release that the hosts hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub release: ReleaseId,
    /// When it stopped running; nothing for the one that runs.
    pub until: Option<Moment>,
}

/// Why a release may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// It is what runs.
    Current,
    /// It is what ran before.
    Previous,
    /// It is what a rollback would go back to.
    Proposed,
    /// It is the last one that went live on every target.
    Verified,
    /// A rollout needs it.
    InRollout,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protection::Current => "it is what runs",
            Protection::Previous => "it is what ran before",
            Protection::Proposed => "it is what a rollback would go back to",
            Protection::Verified => "it is the last one that went live everywhere",
            Protection::InRollout => "a rollout needs it",
        })
    }
}

/// Why a release stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stays {
    /// Whatever the rule says.
    Protected(Protection),
    /// It is among the newest so many.
    AmongNewest(u32),
    /// It stopped running less than this ago.
    NewerThan(Duration),
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stays::Protected(protection) => protection.fmt(f),
            Stays::AmongNewest(keep) => write!(f, "it is among the newest {keep}"),
            Stays::NewerThan(age) => write!(f, "it ran less than {} ago", in_words(*age)),
        }
    }
}

/// What stays, with the reason, and what goes; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What stays.
    pub stays: Vec<(ReleaseId, Stays)>,
    /// What goes.
    pub goes: Vec<ReleaseId>,
}

impl Plan {
    /// Adds what stays and goes on other targets: what stays anywhere does not go.
    pub(crate) fn join(&mut self, other: Plan) {
        let goes = std::mem::take(&mut self.goes).into_iter().chain(other.goes).collect::<Vec<_>>();
        for (id, why) in other.stays {
            if self.stays.iter().all(|(known, _)| *known != id) {
                self.stays.push((id, why));
            }
        }
        for id in goes {
            if !self.goes.contains(&id) && self.stays.iter().all(|(known, _)| *known != id) {
                self.goes.push(id);
            }
        }
    }
}

/// Plans what stays. `candidates` are the releases that the hosts hold, the one that runs first, then newest first.
pub fn plan(
    rule: &Retention,
    candidates: &[Candidate],
    protected: impl Fn(&ReleaseId) -> Option<Protection>,
    now: Moment,
) -> Plan {
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    for candidate in candidates.iter().filter(|candidate| seen.insert(&candidate.release)) {
        let young = rule.newer_than.filter(|age| candidate.until.is_none_or(|until| now.since(until) < *age));
        let newest = plan.stays.len() + plan.goes.len() < rule.keep as usize;
        let stays = protected(&candidate.release)
            .map(Stays::Protected)
            .or_else(|| newest.then_some(Stays::AmongNewest(rule.keep)))
            .or_else(|| young.map(Stays::NewerThan));
        match stays {
            Some(why) => plan.stays.push((candidate.release.clone(), why)),
            None => plan.goes.push(candidate.release.clone()),
        }
    }
    plan
}

mod optional_millis {
    use super::*;

    pub fn serialize<S: serde::Serializer>(
        length: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match length {
            Some(length) => duration_millis::serialize(length, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(|millis| millis.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Retention, now: u64, expected: &str) {
        let candidates: Vec<Candidate> = [("5", None), ("4", Some(900)), ("3", Some(500)), ("2", Some(200))]
            .map(|(id, until)| Candidate {
                release: id.parse().unwrap(),
                until: until.map(|seconds: u64| Moment::from_millis(seconds * 1000)),
            })
            .into();
        let protected = |id: &ReleaseId| match id.as_str() {
            "5" => Some(Protection::Current),
            "4" => Some(Protection::Previous),
            _ => None,
        };
        let plan = plan(&rule, &candidates, protected, Moment::from_millis(now * 1000));
        let stays: Vec<String> = plan.stays.iter().map(|(id, why)| format!("{id} stays: {why}")).collect();
        let goes: Vec<String> = plan.goes.iter().map(|id| format!("{id} goes")).collect();
        assert_eq!([stays, goes].concat().join("\n"), expected);
    }

    #[test]
    fn keeping_none_keeps_what_runs_and_what_ran_before() {
        check(
            Retention { keep: 0, newer_than: None },
            1000,
            "5 stays: it is what runs\n4 stays: it is what ran before\n3 goes\n2 goes",
        );
    }

    #[test]
    fn keeping_three_counts_what_runs() {
        check(
            Retention { keep: 3, newer_than: None },
            1000,
            "5 stays: it is what runs\n4 stays: it is what ran before\n3 stays: it is among the newest 3\n2 goes",
        );
    }

    #[test]
    fn a_young_release_stays_however_many_there_are() {
        check(
            Retention { keep: 1, newer_than: Some(Duration::from_secs(600)) },
            1000,
            "5 stays: it is what runs\n4 stays: it is what ran before\n3 stays: it ran less than 10 min ago\n2 goes",
        );
    }
}
