//! Why a change is not in production yet, in the words that every place prints.

use super::{Lane, Place, Queued, Seen, Stage, State, Trip};
use crate::gate::sentences;
use crate::moment::{Moment, in_words};
use crate::name::ChangeId;

/// Says what a change waits for, in a sentence without a full stop; nothing of a change that is not on its way.
pub fn why_waiting(lane: &Lane, change: &ChangeId, seen: &Seen) -> Option<String> {
    if let Some(place) = lane.place_of(change) {
        return Some(lane.why_queued(place, seen.now));
    }
    let number = lane.trip_of(change)?.number;
    let index = lane.index(number)?;
    Some(lane.why(index, seen))
}

impl Lane {
    fn why_queued(&self, place: usize, now: Moment) -> String {
        let Queued { change, place: at, until, .. } = &self.queue[place];
        let left = in_words(until.since(now));
        match at {
            Place::Draft => {
                format!("`{}` is a draft: it waits for somebody to queue it, for another {left}", change.id)
            }
            Place::Checking { .. } => format!("`{}` waits for its checks, for another {left}", change.id),
            Place::Waiting => {
                let before =
                    self.queue[..place].iter().filter(|queued| queued.place == Place::Waiting).count();
                let ahead = match before {
                    0 => "it is the next one".to_owned(),
                    1 => "1 change is before it".to_owned(),
                    several => format!("{several} changes are before it"),
                };
                let under_way: Vec<String> = self
                    .trips
                    .iter()
                    .filter(|trip| trip.state != State::Soaking)
                    .map(|trip| trip.number.to_string())
                    .collect();
                match under_way.as_slice() {
                    [] => format!("`{}` waits for the controller's next look: {ahead}", change.id),
                    [one] => format!("`{}` waits for trip {one}: {ahead}", change.id),
                    several => {
                        format!("`{}` waits for one of the trips {}: {ahead}", change.id, several.join(", "))
                    }
                }
            }
        }
    }

    fn why(&self, index: usize, seen: &Seen) -> String {
        let trip = &self.trips[index];
        let number = trip.number;
        let left = in_words(trip.until.since(seen.now));
        match &trip.state {
            State::Boarding => match self.trips[..index].iter().find(|before| !before.stands()) {
                Some(before) => format!(
                    "trip {number} waits for trip {}, which {}",
                    before.number,
                    before.state.sentence()
                ),
                None => format!("trip {number} waits for company, for another {left} at most"),
            },
            State::Ready => self.why_ready(index, seen),
            State::BuildRed { why, .. } => {
                format!("trip {number} waits for somebody to build it again, for another {left}: {why}")
            }
            State::CanaryWatching { well: Some(well) } => {
                format!(
                    "trip {number} waits for its canary to have been watched long enough: {} says that it is well",
                    well.actor
                )
            }
            State::CanaryWatching { well: None } => {
                format!("trip {number} waits for somebody to say that its canary is well, for another {left}")
            }
            State::Held { why, .. } => {
                format!("trip {number} waits for somebody to decide, for another {left}: {why}")
            }
            State::Stuck { why, .. } => format!("trip {number} waits for somebody to settle it: {why}"),
            State::Undoing { .. } => {
                match self.trips[index + 1..].iter().rev().find(|later| later.state.goes_back()) {
                    Some(later) => {
                        format!("trip {number} waits for trip {} to be taken back first", later.number)
                    }
                    None => format!("trip {number} is taken back: {} left to undo", trip.undo.len()),
                }
            }
            state => format!("trip {number} {}, for another {left} at most", state.sentence()),
        }
    }

    fn why_ready(&self, index: usize, seen: &Seen) -> String {
        let trip = &self.trips[index];
        if let Some(before) = self.holds_track(index) {
            let (number, other) = (trip.number, before.number);
            return format!("trip {number} waits for trip {other}, which {}", before.state.sentence());
        }
        for change in &trip.changes {
            for app in &change.apps {
                let Some(door) = seen.doors.get(app) else {
                    return format!(
                        "trip {} waits to learn whether the gate of `{app}` is open",
                        trip.number
                    );
                };
                let closures = door.keeps_out(&change.author, change.fix.as_ref(), seen.now);
                if !closures.is_empty() {
                    let why = sentences(&closures, seen.now);
                    return format!("trip {} waits for the gate of `{app}`: {why}", trip.number);
                }
            }
        }
        format!("trip {} waits for the controller's next look", trip.number)
    }

    /// Returns the trip that keeps the one at this place out of production.
    fn holds_track(&self, index: usize) -> Option<&Trip> {
        let holds = self.settings.soak_holds;
        self.trips[..index].iter().find(|before| before.state.stage() != Stage::Soaking || holds)
    }
}
