//! Planted faults: each breaks one thing in the worker, in what it sees, in what it writes, or outside of the lane.
//!
//! They sit at the seams of the simulation, so that no test code is compiled into the core.

use footplate_core::gate::Door;
use footplate_core::train::{Effect, Lane, Seen, Skips, Stage, State, Undo, Work};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    OutsideIgnoresTheFence,
    OutsideLandsAnywhere,
    OutsideMovesTheMainlineBack,
    WorkerActsBeforeItWrites,
    WorkerNeverLooksAtTheClock,
    WorkerForgetsTheGate,
    WorkerTakesRedForGreen,
    WorkerForgetsWhatItObeyed,
    LaneForgetsToRaiseTheFence,
    LaneForgetsHowToUndo,
    LaneGoesBackAnywhere,
    LaneHidesEmergencies,
    LaneLetsTwoHaveTheRightOfWay,
    LaneEndsBeforeItIsUndone,
    LaneForgetsWhatStandsUpon,
}

impl Mutation {
    pub const ALL: [Mutation; 15] = [
        Mutation::OutsideIgnoresTheFence,
        Mutation::OutsideLandsAnywhere,
        Mutation::OutsideMovesTheMainlineBack,
        Mutation::WorkerActsBeforeItWrites,
        Mutation::WorkerNeverLooksAtTheClock,
        Mutation::WorkerForgetsTheGate,
        Mutation::WorkerTakesRedForGreen,
        Mutation::WorkerForgetsWhatItObeyed,
        Mutation::LaneForgetsToRaiseTheFence,
        Mutation::LaneForgetsHowToUndo,
        Mutation::LaneGoesBackAnywhere,
        Mutation::LaneHidesEmergencies,
        Mutation::LaneLetsTwoHaveTheRightOfWay,
        Mutation::LaneEndsBeforeItIsUndone,
        Mutation::LaneForgetsWhatStandsUpon,
    ];

    /// Changes what the worker sees.
    pub fn blur(self, seen: &mut Seen) {
        match self {
            Mutation::WorkerNeverLooksAtTheClock => seen.now = footplate_core::moment::Moment::default(),
            Mutation::WorkerForgetsTheGate => {
                seen.doors.values_mut().for_each(|door| *door = Door::default());
            }
            Mutation::WorkerTakesRedForGreen => {
                for work in seen.works.values_mut() {
                    if let Work::Red { .. } = work {
                        *work = Work::Passed;
                    }
                }
            }
            _ => {}
        }
    }

    /// Changes what is written.
    pub fn spoil(self, before: &Lane, next: &mut Lane) {
        match self {
            Mutation::WorkerForgetsWhatItObeyed => next.obeyed.clear(),
            Mutation::LaneForgetsToRaiseTheFence => next.fence = before.fence,
            Mutation::LaneForgetsHowToUndo => {
                next.trips.iter_mut().for_each(|trip| trip.undo.retain(|undo| *undo != Undo::Landed));
            }
            Mutation::LaneGoesBackAnywhere => {
                let commits: Vec<_> = next.trips.iter().map(|trip| trip.candidate.clone()).collect();
                for (trip, candidate) in next.trips.iter_mut().zip(commits) {
                    for undo in &mut trip.undo {
                        if let Undo::Rollout { to } = undo {
                            *to = candidate.as_ref().map(|candidate| candidate.commit.clone());
                        }
                    }
                }
            }
            Mutation::LaneHidesEmergencies => {
                next.trips
                    .iter_mut()
                    .for_each(|trip| trip.emergencies.retain(|one| one.skips == Skips::Queue));
            }
            Mutation::LaneLetsTwoHaveTheRightOfWay => {
                for trip in &mut next.trips {
                    if trip.state.stage() == Stage::Ready {
                        trip.has_right_of_way = true;
                        trip.undo.push(Undo::Rollout { to: next.verified.clone() });
                        trip.state = State::CanaryStarting;
                    }
                }
            }
            Mutation::LaneEndsBeforeItIsUndone => {
                for trip in &mut next.trips {
                    if trip.state.goes_back() {
                        trip.undo.truncate(1);
                    }
                }
            }
            Mutation::LaneForgetsWhatStandsUpon => {
                for trip in &mut next.trips {
                    let former = before.trip(trip.number);
                    if let Some(former) =
                        former.filter(|former| former.round < trip.round && former.candidate.is_some())
                    {
                        *trip = footplate_core::train::Trip { until: trip.until, ..former.clone() };
                    }
                }
            }
            _ => {}
        }
    }

    /// Tells whether effects are carried out before the record that asks for them is written.
    pub fn acts_early(self, _: &[Effect]) -> bool {
        self == Mutation::WorkerActsBeforeItWrites
    }
}
