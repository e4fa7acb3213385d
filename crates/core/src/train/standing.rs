//! What others may count on of a trip: its room, its build, and whether the gates let it pass.

use super::{Seen, State, Trip};
use crate::gate::Door;

impl Trip {
    /// Tells whether a candidate can be made upon its own.
    pub(super) fn stands(&self) -> bool {
        self.candidate.is_some() && !self.state.goes_back()
    }

    /// Tells whether it may take another change along: it boards for the first time, and carries nothing urgent.
    pub(super) fn takes_along(&self, batch: usize) -> bool {
        let is_urgent =
            self.changes.iter().any(|change| change.fix.is_some()) || !self.emergencies.is_empty();
        let boards = self.state == State::Boarding && self.round == 0;
        boards && !self.is_suspect && !is_urgent && self.changes.len() < batch
    }

    /// Tells whether a red build upon it is that build's own fault; `is_tested` asks the same of the further tests.
    pub(super) fn is_green(&self, is_tested: bool) -> bool {
        match self.state.beneath() {
            State::Boarding
            | State::Preparing { .. }
            | State::Building { .. }
            | State::BuildRed { .. }
            | State::Undoing { .. }
            | State::Stuck { .. } => false,
            State::Qualifying { .. } => !is_tested,
            State::Landing { .. } => self.has_right_of_way && !self.is_unproved,
            _ => !self.is_unproved,
        }
    }

    /// Tells whether every gate lets all of its changes pass.
    pub(super) fn may_pass(&self, seen: &Seen) -> bool {
        self.changes.iter().all(|change| {
            change.apps.iter().all(|app| {
                let door = seen.doors.get(app);
                let keeps_out = |door: &Door| door.keeps_out(&change.author, change.fix.as_ref(), seen.now);
                door.is_some_and(|door| keeps_out(door).is_empty())
            })
        })
    }
}
