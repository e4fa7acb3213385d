//! What a process group runs when nothing rolls out, and what it ran before.
//!
//! Invariant: `past` names only releases that the steady orders of its process groups keep.

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::name::{Actor, ReleaseId};
use crate::release::Release;
use crate::retention::{self, Candidate, Protection, Retention};
use crate::rollout::{Kind, Outcome, Rollout};

/// What the process groups on it run, and ran before. An app has one; process groups that were deployed on their own have
/// one of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// What runs; nothing before the first deployment arrived.
    pub release: Option<Release>,
    /// Since when it does.
    pub since: Option<Moment>,
    /// Who ordered it.
    pub by: Option<Actor>,
    /// What ran before and is still kept, newest first.
    pub past: Vec<Past>,
    /// The last release that went live on every target.
    pub verified: Option<ReleaseId>,
}

/// A release that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Which.
    pub release: Release,
    /// When it stopped being the current one.
    pub until: Moment,
    /// Whether it was followed or rolled back; one that was rolled back is not proposed again.
    pub left_by: Kind,
}

impl Track {
    /// Tells whether this release is what runs.
    pub fn runs(&self, id: &ReleaseId) -> bool {
        self.release.as_ref().is_some_and(|release| release.id == *id)
    }

    /// Lists the releases that the steady orders keep, what runs first.
    pub fn kept(&self) -> impl Iterator<Item = &Release> {
        self.release.iter().chain(self.past.iter().map(|past| &past.release))
    }

    /// Returns the release that a rollback goes back to when none is named: the newest that was not rolled back itself.
    pub fn proposal(&self) -> Option<&Release> {
        self.past.iter().find(|past| past.left_by == Kind::Deploy).map(|past| &past.release)
    }

    /// Tells why a release may not leave the hosts.
    pub fn protection(&self, id: &ReleaseId) -> Option<Protection> {
        let is = |release: Option<&Release>| release.is_some_and(|release| release.id == *id);
        let reasons = [
            (is(self.release.as_ref()), Protection::Current),
            (is(self.past.first().map(|past| &past.release)), Protection::Previous),
            (is(self.proposal()), Protection::Proposed),
            (self.verified.as_ref() == Some(id), Protection::Verified),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, protection)| protection)
    }

    /// Plans what stays by this rule.
    pub(super) fn cleaned(&self, rule: &Retention, now: Moment) -> retention::Plan {
        retention::plan(rule, &self.candidates(), |id| self.protection(id), now)
    }

    /// Returns what this becomes when its process groups move to `to`: the past grows by what runs now.
    pub(super) fn moved(&self, to: &Release, kind: Kind, by: &Actor, now: Moment) -> Self {
        let left =
            self.release.iter().map(|release| Past { release: release.clone(), until: now, left_by: kind });
        let past = left.chain(self.past.iter().cloned()).filter(|past| past.release.id != to.id);
        Self {
            release: Some(to.clone()),
            since: Some(now),
            by: Some(by.clone()),
            past: past.collect(),
            verified: self.verified.clone(),
        }
    }

    /// Returns this without these releases.
    pub(super) fn without(&self, goes: &[ReleaseId]) -> Self {
        let mut next = self.clone();
        next.past.retain(|past| !goes.contains(&past.release.id));
        next
    }

    /// Lists the releases for a retention rule, what runs first, then newest first.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let current =
            self.release.iter().map(|release| Candidate { release: release.id.clone(), until: None });
        let past = self
            .past
            .iter()
            .map(|past| Candidate { release: past.release.id.clone(), until: Some(past.until) });
        current.chain(past).collect()
    }

    /// Returns what this is after a rollout of its process groups that kept these releases.
    pub(super) fn settled(&self, rollout: &Rollout, outcome: &Outcome, kept: &[Release]) -> Self {
        let now = rollout.phase.ended_at().unwrap_or(rollout.begun_at);
        let mut next = match outcome.arrived() {
            true => self.moved(&rollout.to, rollout.kind, &rollout.actor, now),
            false => self.clone(),
        };
        if *outcome == Outcome::Done {
            next.verified = Some(rollout.to.id.clone());
        }
        next.past.retain(|past| kept.iter().any(|release| release.id == past.release.id));
        next
    }

    /// Tells whether both say the same of their releases, whoever ordered them and when.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let releases = |track: &Self| {
            let past = track.past.iter().map(|past| (past.release.id.clone(), past.left_by));
            (track.release.as_ref().map(|release| release.id.clone()), past.collect::<Vec<_>>())
        };
        releases(self) == releases(other) && self.verified == other.verified
    }
}
