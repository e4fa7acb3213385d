//! What an app runs in an environment when nothing rolls out, and what it ran before.
//!
//! Invariants: `generation` is at least as high as every order given; `orders` never exceeds it; `apart` names process groups
//! of the delivery whose releases differ from the app's, and never all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Track, Waiting};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{AppPath, GroupName, ReleaseId};
use crate::release::{Reach, Release};
use crate::retention::Protection;
use crate::rollout::{Delivery, Rollout};
use crate::selector::Selector;

/// One app in one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// Which.
    pub path: AppPath,
    /// What its process groups run, but for those apart.
    #[serde(flatten)]
    pub track: Track,
    /// What the process groups run that were deployed on their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apart: BTreeMap<GroupName, Track>,
    /// The highest generation issued.
    pub generation: Generation,
    /// The age of the steady orders. A rollout's orders stand as long as they are not older.
    pub orders: Generation,
    /// The age of the newest steady orders among which some name nothing to run, on targets that the app has left.
    #[serde(default, skip_serializing_if = "crate::rollout::is_usual")]
    pub left: Generation,
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

impl Current {
    /// Returns an app that never ran, whose first order will be newer than anything `seen` in the store.
    pub fn new(path: AppPath, delivery: Delivery, seen: Generation) -> Self {
        Self {
            path,
            track: Track::default(),
            apart: BTreeMap::new(),
            generation: seen,
            orders: seen,
            left: Generation::default(),
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

    /// Returns what this process group runs and ran; one that is new stands where the app does.
    pub fn track_of(&self, group: &GroupName) -> &Track {
        self.apart.get(group).unwrap_or(&self.track)
    }

    /// Tells whether the app has this process group: one that it runs, not one that a rollout is only bringing.
    pub fn has(&self, group: &GroupName) -> bool {
        self.track.release.is_some() && self.delivery.groups.contains(group)
    }

    /// Tells whether this process group runs this release.
    pub(super) fn runs(&self, group: &GroupName, id: &ReleaseId) -> bool {
        self.has(group) && self.track_of(group).runs(id)
    }

    /// Lists every track once, the app's own first.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        [&self.track].into_iter().chain(self.apart.values())
    }

    /// Lists the releases that the steady orders keep, what runs first; one that several tracks keep more than once.
    pub fn kept(&self) -> impl Iterator<Item = &Release> {
        self.tracks().flat_map(Track::kept)
    }

    /// Returns the requests that its process groups answer, by what each of them runs.
    pub(super) fn reaches(&self) -> BTreeMap<GroupName, Reach> {
        let of = |track: &Track| {
            let release = track.release.as_ref();
            release.map(|release| release.reaches(&self.path.environment)).unwrap_or_default()
        };
        let mut reaches = of(&self.track);
        // What a release has besides comes with a whole deployment only.
        reaches.retain(|group, _| self.delivery.groups.contains(group));
        for (group, track) in &self.apart {
            reaches.remove(group);
            reaches.extend(of(track).remove_entry(group));
        }
        reaches
    }

    /// Lists what these process groups run, by release.
    pub fn running<'a>(
        &'a self,
        groups: &'a BTreeSet<GroupName>,
    ) -> BTreeMap<&'a ReleaseId, BTreeSet<&'a GroupName>> {
        let mut running: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for group in groups {
            if let Some(release) = &self.track_of(group).release {
                running.entry(&release.id).or_default().insert(group);
            }
        }
        running
    }

    /// Tells why a release may not leave the hosts.
    pub fn protection(&self, id: &ReleaseId) -> Option<Protection> {
        self.tracks().find_map(|track| track.protection(id))
    }

    /// Accounts for how a rollout stands: its generation at once, its end when it has ended.
    pub(super) fn settle(&mut self, rollout: &Rollout) {
        self.generation = self.generation.max(rollout.generation);
        let Some(outcome) = rollout.outcome().filter(|_| self.settled < rollout.number) else {
            return;
        };
        if outcome.arrived() {
            self.delivery = rollout.delivery.clone().unwrap_or_else(|| self.delivery.clone());
        }
        let tracks = self.delivery.groups.iter().map(|group| {
            let track = self.track_of(group);
            let settled = match rollout.groups.contains(group) {
                true => track.settled(rollout, outcome, &rollout.kept_back(group)),
                false => track.clone(),
            };
            (group.clone(), settled)
        });
        self.arrange(tracks.collect(), &rollout.groups);
        self.settled = rollout.number;
        self.orders = rollout.generation;
    }

    /// Takes over what each process group runs: the app's own track is that of a process group which stayed on it, or else of
    /// the first that was on it; those that differ are apart.
    fn arrange(&mut self, tracks: BTreeMap<GroupName, Track>, moved: &BTreeSet<GroupName>) {
        let first =
            tracks.keys().min_by_key(|group| (self.apart.contains_key(*group), moved.contains(*group)));
        if let Some(track) = first.and_then(|first| tracks.get(first)) {
            self.track = track.clone();
        }
        self.apart = tracks;
        self.rejoin();
    }

    /// Takes process groups that say the same as the app back to its own track.
    pub(super) fn rejoin(&mut self) {
        self.apart.retain(|_, track| !track.is_like(&self.track));
    }
}

/// Returns the first generation of a new epoch, above everything `issued` and everything `seen` in the store.
///
/// For a record that is older than what agents obeyed: the store was restored from a backup, or the record was deleted.
pub fn first_generation(issued: Generation, seen: Generation, now: Moment) -> Generation {
    issued.max(seen).next_epoch(now)
}
