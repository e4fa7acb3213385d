//! What must be done for a lane, as a function of its record: whoever reads it knows all that is owed, and may do it again.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Change, LandAt, Lane, Place, Queued, State, Trip};
use crate::name::{AppPath, ChangeId, Version};

/// The name of one try at one work. Done twice under one name it is done once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkKey(String);

impl WorkKey {
    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something to do. It is done once for its key, and refused when a higher fence of its lane was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What names it, and under what its result is observed.
    pub key: WorkKey,
    /// The lane's fence when it was ordered.
    pub fence: u64,
    /// The trip that it is for; nothing for a change that has none yet.
    pub trip: Option<u64>,
    /// What to do.
    pub deed: Deed,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Learn whether a change may ship: open, reviewed, its apps known.
    Check(Change),
    /// Merge these changes, in this order and at these heads, upon a base into a branch of its own.
    Prepare {
        /// Upon what.
        base: Base,
        /// What, each with the commit that was looked at.
        changes: Vec<(ChangeId, Version)>,
    },
    /// Build this commit.
    Build {
        /// The candidate.
        commit: Version,
        /// Whether only what failed is built again.
        only_failed: bool,
    },
    /// Run the further stages of tests on what was built.
    Qualify(Version),
    /// Move the mainline forward to the candidate, if it stands where the candidate was made.
    Land {
        /// Where it must stand.
        from: Version,
        /// The candidate.
        to: Version,
        /// Whether a mainline that stands elsewhere is merged with the candidate, instead of nothing being done.
        merges: bool,
    },
    /// Have rollouts of these apps to this commit's releases, and let them go so far.
    Roll {
        /// The candidate.
        to: Version,
        /// Which apps.
        apps: BTreeSet<AppPath>,
        /// How far.
        reach: Reach,
    },
    /// Undo something. What was never done counts as undone.
    Undo(Undo),
}

/// How far a rollout may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Not beyond the canary.
    Canary,
    /// To all targets.
    Everywhere,
    /// Nowhere: it stays as it is. A judge may take it back all the same.
    Stay,
}

/// What a candidate is made upon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The mainline's newest commit.
    Mainline,
    /// The candidate of the trip before it.
    Candidate(Version),
}

/// How one thing is undone. It stands in the record before that thing is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "snake_case")]
pub enum Undo {
    /// Drop the branch of a candidate.
    Candidate {
        /// Of which round.
        round: u32,
    },
    /// Cancel all builds of a candidate.
    Build {
        /// Of which round.
        round: u32,
    },
    /// Revert on the mainline, with a new commit, whatever it has of this trip. The mainline is never moved back.
    Landed,
    /// Take the rollouts back.
    Rollout {
        /// To which version; nothing when production never ran one wholly: what was there stays.
        to: Option<Version>,
    },
}

/// Lists everything that is owed to a lane now.
pub fn effects(lane: &Lane) -> Vec<Effect> {
    let fence = lane.fence;
    let checks = lane.queue.iter().filter_map(|queued| {
        let key = lane.check_key(queued)?;
        Some(Effect { key, fence, trip: None, deed: Deed::Check(queued.change.clone()) })
    });
    let trips = (0..lane.trips.len()).flat_map(|index| {
        let trip = Some(lane.trips[index].number);
        lane.owed(index).into_iter().map(move |(key, deed)| Effect { key, fence, trip, deed })
    });
    let leftovers = lane.leftovers.iter().map(|leftover| {
        let deed = Deed::Undo(leftover.undo.clone());
        Effect { key: leftover.key.clone(), fence, trip: None, deed }
    });
    checks.chain(trips).chain(leftovers).collect()
}

impl Lane {
    pub(super) fn check_key(&self, queued: &Queued) -> Option<WorkKey> {
        match queued.place {
            Place::Checking { tried } => {
                let Change { id, head, .. } = &queued.change;
                Some(WorkKey(format!("{}/check/{id}/{head}/{tried}", self.name)))
            }
            Place::Draft | Place::Waiting => None,
        }
    }

    /// Returns the key of the work that decides what a trip does next, in the states that wait for one.
    pub(super) fn key(&self, trip: &Trip) -> Option<WorkKey> {
        let (lane, number, round) = (&self.name, trip.number, trip.round);
        let of_round =
            |verb: &str, try_number: u32| WorkKey(format!("{lane}/{number}/{round}/{verb}/{try_number}"));
        Some(match &trip.state {
            State::Preparing { tries, .. } => of_round("prepare", tries.number),
            State::Landing { tries, .. } => of_round("land", tries.number),
            State::Building { tries, .. } | State::BuildRed { tries, is_built: false, .. } => {
                of_round("build", tries.number)
            }
            State::Qualifying { tries, built } => {
                of_round(&format!("qualify/{}", built.number), tries.number)
            }
            State::CanaryStarting | State::CanaryWatching { .. } | State::Rolling { .. } | State::Soaking => {
                self.roll_key(trip)
            }
            State::Undoing { tries, .. } => {
                let (left, tried) = (trip.undo.len(), tries.number);
                WorkKey(format!("{lane}/{number}/undo/{left}/{tried}"))
            }
            State::Boarding
            | State::BuildRed { .. }
            | State::Ready
            | State::CanaryBad { .. }
            | State::RollBad { .. }
            | State::Held { .. }
            | State::Stuck { .. } => return None,
        })
    }

    pub(super) fn roll_key(&self, trip: &Trip) -> WorkKey {
        WorkKey(format!("{}/{}/roll", self.name, trip.number))
    }

    pub(super) fn leftover_key(&self, trip: &Trip, undo: &Undo) -> WorkKey {
        let what = match undo {
            Undo::Candidate { round } => format!("candidate/{round}"),
            Undo::Build { round } => format!("build/{round}"),
            Undo::Landed => "landed".to_owned(),
            Undo::Rollout { .. } => "rollout".to_owned(),
        };
        WorkKey(format!("{}/{}/clear/{what}", self.name, trip.number))
    }

    /// Lists what is owed to one trip, with the key of each.
    fn owed(&self, index: usize) -> Vec<(WorkKey, Deed)> {
        let trip = &self.trips[index];
        let mut owed: Vec<(WorkKey, Deed)> = self.key(trip).zip(self.next_deed(index)).into_iter().collect();
        let reach = match (&trip.state, trip.land_at) {
            (State::Landing { .. }, LandAt::AfterRoll) => Some(Reach::Everywhere),
            (State::Landing { .. }, _) => Some(Reach::Canary),
            (State::CanaryBad { .. } | State::RollBad { .. }, _) => Some(Reach::Stay),
            (State::Held { was, .. }, _) if !was.goes_back() && **was != State::Soaking => Some(Reach::Stay),
            _ => None,
        };
        if let Some((reach, candidate)) = reach.zip(trip.candidate.as_ref()).filter(|_| trip.has_rollouts()) {
            let deed = Deed::Roll { to: candidate.commit.clone(), apps: trip.apps(), reach };
            owed.push((self.roll_key(trip), deed));
        }
        let build = trip.candidate.as_ref().filter(|_| trip.is_unproved && !trip.state.goes_back());
        if let Some((key, candidate)) = build.and_then(|candidate| candidate.build.clone().zip(build)) {
            owed.push((key, Deed::Build { commit: candidate.commit.clone(), only_failed: false }));
        }
        owed
    }

    fn next_deed(&self, index: usize) -> Option<Deed> {
        let trip = &self.trips[index];
        let commit = || trip.candidate.as_ref().map(|candidate| candidate.commit.clone());
        let roll = |reach| Some(Deed::Roll { to: commit()?, apps: trip.apps(), reach });
        match &trip.state {
            State::Preparing { base, .. } => {
                let changes = trip.changes.iter().map(|change| (change.id.clone(), change.head.clone()));
                Some(Deed::Prepare { base: base.clone(), changes: changes.collect() })
            }
            State::Building { only_failed, .. } => {
                Some(Deed::Build { commit: commit()?, only_failed: *only_failed })
            }
            State::Qualifying { .. } => Some(Deed::Qualify(commit()?)),
            State::Landing { merges, .. } => {
                let candidate = trip.candidate.as_ref()?;
                let (from, to) = (candidate.base.clone(), candidate.commit.clone());
                Some(Deed::Land { from, to, merges: *merges })
            }
            State::CanaryStarting | State::CanaryWatching { .. } => roll(Reach::Canary),
            State::Rolling { .. } => roll(Reach::Everywhere),
            State::Undoing { .. } if self.may_undo(index) => trip.undo.last().cloned().map(Deed::Undo),
            _ => None,
        }
    }

    /// Tells whether nothing stands upon this trip any more that has to be taken back before it.
    pub(super) fn may_undo(&self, index: usize) -> bool {
        !self.trips[index + 1..].iter().any(|later| later.state.goes_back())
    }
}

impl Trip {
    /// Tells whether rollouts may have been ordered for it.
    pub fn has_rollouts(&self) -> bool {
        self.undo.iter().any(|undo| matches!(undo, Undo::Rollout { .. }))
    }
}
