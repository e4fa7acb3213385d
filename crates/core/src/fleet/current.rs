//! What an app runs in an environment when nothing rolls out, and what it ran before.
//!
//! Invariants: `generation` is at least as high as every order given; `orders` never exceeds it; `past` names only
//! releases that the steady orders keep.

use serde::{Deserialize, Serialize};

use super::Waiting;
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{Actor, AppPath, ReleaseId};
use crate::release::Release;
use crate::retention::{Candidate, Protection};
use crate::rollout::{Delivery, Kind, Outcome, Rollout};
use crate::selector::Selector;

/// One app in one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Which.
    pub path: AppPath,
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
    /// The highest generation issued.
    pub generation: Generation,
    /// The age of the steady orders. A rollout's orders stand as long as they are not older.
    pub orders: Generation,
    /// The number of the latest rollout.
    pub rollouts: u64,
    /// The number of the latest rollout whose end is accounted for here.
    pub settled: u64,
    /// What a router must have followed to be waited for while its agent is away, as the latest rollout that called them left it.
    #[serde(default, skip_serializing_if = "crate::rollout::is_usual")]
    pub roll_call: Generation,
    /// What is deployed when the rollout under way is over; the newest only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Box<Waiting>>,
    /// How it is delivered. Only a rollout that arrives changes it.
    #[serde(flatten)]
    pub delivery: Delivery,
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

impl Current {
    /// Returns an app that never ran, whose first order will be newer than anything `seen` in the store.
    pub fn new(path: AppPath, delivery: Delivery, seen: Generation) -> Self {
        Self {
            path,
            release: None,
            since: None,
            by: None,
            past: Vec::new(),
            verified: None,
            generation: seen,
            orders: seen,
            rollouts: 0,
            settled: 0,
            roll_call: Generation::default(),
            waiting: None,
            delivery,
        }
    }

    /// Returns which hosts count now: those of the rollout under way, else those that run the app.
    pub fn selector<'a>(&'a self, rollout: Option<&'a Rollout>) -> &'a Selector {
        let active = rollout.filter(|rollout| rollout.is_active());
        let delivery = active.and_then(|rollout| rollout.delivery.as_ref()).unwrap_or(&self.delivery);
        &delivery.selector
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

    /// Returns what this record becomes when the app moves to `to`: the past grows by what runs now.
    pub(super) fn moved(&self, to: &Release, kind: Kind, by: &Actor, now: Moment) -> Self {
        let left =
            self.release.iter().map(|release| Past { release: release.clone(), until: now, left_by: kind });
        let past = left.chain(self.past.iter().cloned()).filter(|past| past.release.id != to.id);
        Self {
            release: Some(to.clone()),
            since: Some(now),
            by: Some(by.clone()),
            past: past.collect(),
            ..self.clone()
        }
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

    /// Accounts for how a rollout stands: its generation at once, its end when it has ended.
    pub(super) fn settle(&mut self, rollout: &Rollout) {
        self.generation = self.generation.max(rollout.generation);
        let Some(outcome) = rollout.outcome().filter(|_| self.settled < rollout.number) else {
            return;
        };
        if outcome.arrived() {
            let now = rollout.phase.ended_at().unwrap_or(rollout.begun_at);
            *self = self.moved(&rollout.to, rollout.kind, &rollout.actor, now);
            self.delivery = rollout.delivery.clone().unwrap_or_else(|| self.delivery.clone());
        }
        if *outcome == Outcome::Done {
            self.verified = Some(rollout.to.id.clone());
        }
        let kept = |id: &ReleaseId| rollout.from.iter().chain(&rollout.keep).any(|release| release.id == *id);
        self.past.retain(|past| kept(&past.release.id));
        self.settled = rollout.number;
        self.orders = rollout.generation;
    }
}

/// Returns the first generation of a new epoch, above everything `issued` and everything `seen` in the store.
///
/// For a record that is older than what agents obeyed: the store was restored from a backup, or the record was deleted.
pub fn first_generation(issued: Generation, seen: Generation, now: Moment) -> Generation {
    issued.max(seen).next_epoch(now)
}
