//! How a trip is taken back: with all that stands upon it, and never to a version that production did not run wholly.

use super::effect::Undo;
use super::look::ask;
use super::stage::Tries;
use super::{Ending, Lane, State};
use crate::moment::Moment;

impl Lane {
    /// Begins to take a trip back. What production got after it goes with it, and so does what arrived before it with a rule
    /// skipped, as nobody goes back to that. Whatever else stands upon it gets a new candidate afterwards.
    pub(super) fn take_back(&mut self, index: usize, ends: Ending, now: Moment) {
        let trip = &self.trips[index];
        if trip.state.goes_back() {
            return;
        }
        // What is tried from now on by anybody who has not heard of this is refused.
        self.fence += 1;
        let (number, in_production) = (trip.number, trip.has_rollouts());
        let mut first = index;
        while in_production && first > 0 && !self.trips[first - 1].is_verified {
            first -= 1;
        }
        let way_back = self.way_back(first);
        let why = format!("trip {number}, which it stands with, was taken back");
        for at in first..self.trips.len() {
            let others = Ending::RolledBack { why: why.clone() };
            let ends = if at == index { ends.clone() } else { others };
            let trip = &mut self.trips[at];
            let goes = at == index || trip.has_right_of_way && (in_production || at > index);
            if !goes || trip.state.goes_back() {
                continue;
            }
            trip.is_verified = false;
            for undo in &mut trip.undo {
                if let Undo::Rollout { to } = undo {
                    to.clone_from(&way_back);
                }
            }
            let tries = Tries::first(self.settings.tries_max);
            self.enter(at, State::Undoing { ends, tries }, now);
        }
        self.redo(index + 1, now);
        self.end_what_is_undone(now);
    }

    /// Goes on after the last thing of an undo list is undone.
    pub(super) fn undone(&mut self, index: usize, now: Moment) {
        let State::Undoing { ends, .. } = self.trips[index].state.clone() else { return };
        self.trips[index].undo.pop();
        let tries = Tries::first(self.settings.tries_max);
        self.enter(index, State::Undoing { ends, tries }, now);
        self.end_what_is_undone(now);
    }

    /// Ends the trips that have nothing left to undo.
    fn end_what_is_undone(&mut self, now: Moment) {
        while let Some((index, ends)) = self.trips.iter().enumerate().find_map(|(index, trip)| {
            let State::Undoing { ends, .. } = &trip.state else { return None };
            trip.undo.is_empty().then(|| (index, ends.clone()))
        }) {
            self.end(index, ends, now);
        }
    }

    /// Has a trip wait for a person where it is.
    pub(super) fn hold(&mut self, index: usize, why: String, by: Option<crate::name::Actor>, now: Moment) {
        let State::Held { was, why, is_asked, .. } = ask(self.trips[index].state.clone(), why) else {
            return;
        };
        self.enter(index, State::Held { was, why, by, is_asked }, now);
    }
}
