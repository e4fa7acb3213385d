//! What a look changes: the queue, who boards which trip, and what each trip becomes.

use super::effect::Undo;
use super::look::Next;
use super::stage::Stage;
use super::{
    BUILDS_MAX, Candidate, ChangeId, ENDED_MAX, Ended, Ending, FAULTS_MAX, LandAt, Lane, Leftover, Place,
    Queued, Seen, State, Trip, Work,
};
use crate::moment::Moment;
use crate::name::Version;

impl Lane {
    pub(super) fn observe(&mut self, seen: &Seen) {
        self.look_at_queue(seen);
        self.leftovers
            .retain(|left| left.until > seen.now && !matches!(seen.works.get(&left.key), Some(Work::Undone)));
        let numbers: Vec<u64> = self.trips.iter().map(|trip| trip.number).collect();
        for number in numbers {
            if let Some(index) = self.index(number) {
                let next = self.look(index, seen);
                let leaves_one = matches!(next, Next::Eject { .. });
                self.apply(index, next, seen.now);
                // What happens to those who stay is not put off by one that left.
                if let Some(index) = self.index(number).filter(|_| leaves_one) {
                    let next = self.look(index, seen);
                    self.apply(index, next, seen.now);
                }
            }
        }
        self.hear_late_builds(seen);
        self.fill(seen);
    }

    fn apply(&mut self, index: usize, next: Next, now: Moment) {
        match next {
            Next::Stay => {}
            Next::To(state) => self.enter(index, state, now),
            Next::Again => self.wait_on(index, now),
            Next::Stands { base, commit, next } => {
                self.trips[index].candidate = Some(Candidate { base, commit, build: None });
                self.enter(index, next, now);
            }
            Next::Landed { tip } => self.landed(index, &tip, now),
            Next::Begin(state) => {
                self.trips[index].has_right_of_way = true;
                self.enter(index, state, now);
            }
            Next::Green => self.green(index, now),
            Next::Arrived(state) => {
                let trip = &mut self.trips[index];
                trip.is_verified = trip.emergencies.is_empty();
                self.enter(index, state, now);
            }
            Next::Redo => self.redo(index, now),
            Next::Split => self.split(index, now),
            Next::Eject { change, ending } => self.eject(index, &change, ending, now),
            Next::TakeBack(ending) => self.take_back(index, ending, now),
            Next::Undone => self.undone(index, now),
            Next::Done => self.done(index, None, now),
        }
    }

    /// Has a trip enter a state, with how to undo what it does there written down.
    pub(super) fn enter(&mut self, index: usize, state: State, now: Moment) {
        let (way_back, length) = (self.way_back(index), self.length(&state));
        let trip = &mut self.trips[index];
        let round = trip.round;
        let undo = match state {
            State::Preparing { .. } => Some(Undo::Candidate { round }),
            State::Building { .. } => Some(Undo::Build { round }),
            State::Landing { .. } => Some(Undo::Landed),
            State::CanaryStarting => Some(Undo::Rollout { to: way_back }),
            _ => None,
        };
        if let Some(undo) = undo.filter(|undo| !trip.undo.contains(undo)) {
            // Users come first: nothing is undone before production, whatever was done after it.
            let last = trip.undo.len() - usize::from(trip.has_rollouts());
            trip.undo.insert(last, undo);
        }
        trip.enter(state, now, length);
        let key = self.key(&self.trips[index]);
        let trip = &mut self.trips[index];
        if let (State::Building { .. }, Some(candidate)) = (&trip.state, &mut trip.candidate) {
            candidate.build = key;
        }
    }

    fn length(&self, state: &State) -> std::time::Duration {
        let limits = &self.settings.limits;
        let usual = state.stage().length(limits).unwrap_or_default();
        match state {
            // Three times the nineteenth of twenty: close to what the slowest build of late took.
            State::Building { .. } => {
                let mut builds = self.builds.clone();
                builds.sort_unstable();
                let slow = builds.len().checked_sub(1).map_or(0, |last| builds[last * 95 / 100]);
                usual.max(std::time::Duration::from_secs(3 * slow))
            }
            State::Held { is_asked: true, .. } => limits.held.saturating_sub(limits.held_asked),
            _ => usual,
        }
    }

    fn wait_on(&mut self, index: usize, now: Moment) {
        let length = self.length(&self.trips[index].state);
        self.trips[index].until = now + length;
    }

    fn green(&mut self, index: usize, now: Moment) {
        let trip = &self.trips[index];
        let (State::Building { tries, .. } | State::BuildRed { tries, .. }) = trip.state else { return };
        if matches!(trip.state, State::Building { .. }) {
            self.builds.push(now.since(trip.since).as_secs());
            let surplus = self.builds.len().saturating_sub(BUILDS_MAX);
            self.builds.drain(..surplus);
        }
        let first = super::stage::Tries::first(self.settings.tries_max);
        self.enter(index, State::Qualifying { tries: first, built: tries }, now);
    }

    fn landed(&mut self, index: usize, tip: &Version, now: Moment) {
        let trip = &mut self.trips[index];
        trip.has_landed = true;
        let is_elsewhere = trip.candidate.as_ref().is_none_or(|candidate| candidate.commit != *tip);
        let next = match trip.land_at {
            LandAt::First => self.build(),
            LandAt::AfterBuild => State::CanaryStarting,
            LandAt::AfterCanary => State::Rolling { there: 0, began: now },
            LandAt::AfterRoll => State::Soaking,
        };
        self.enter(index, next, now);
        if is_elsewhere {
            self.redo(index + 1, now);
        }
    }

    /// Has this trip and those after it make new candidates, as far as production has nothing of them.
    pub(super) fn redo(&mut self, index: usize, now: Moment) {
        let numbers: Vec<u64> = self.trips.iter().skip(index).map(|trip| trip.number).collect();
        for number in numbers {
            let Some(index) = self.index(number) else { continue };
            let trip = &self.trips[index];
            if trip.state.goes_back() || trip.has_rollouts() {
                continue;
            }
            if trip.round + 1 >= self.settings.rounds_max {
                let why = format!("its candidate was given up {} times", trip.round + 1);
                self.take_back(index, Ending::Ejected { why }, now);
                continue;
            }
            self.board_again(index, now);
        }
    }

    fn board_again(&mut self, index: usize, now: Moment) {
        self.leave_behind(index, now);
        let length = self.settings.limits.boarding;
        let trip = &mut self.trips[index];
        trip.round += 1;
        (trip.candidate, trip.has_right_of_way, trip.is_unproved) = (None, false, false);
        match &mut trip.state {
            State::Held { was, .. } => **was = State::Boarding,
            _ => trip.enter(State::Boarding, now, length),
        }
    }

    /// Has what a trip leaves outside of production and the mainline cleared away, without anybody waiting for it.
    pub(super) fn leave_behind(&mut self, index: usize, now: Moment) {
        let trip = &self.trips[index];
        let until = now + self.settings.limits.undoing;
        let is_outside = |undo: &&Undo| matches!(undo, Undo::Candidate { .. } | Undo::Build { .. });
        let left = trip.undo.iter().filter(is_outside).map(|undo| Leftover {
            key: self.leftover_key(trip, undo),
            undo: undo.clone(),
            until,
        });
        let left: Vec<Leftover> = left.collect();
        self.trips[index].undo.retain(|undo| !is_outside(&undo));
        self.leftovers.extend(left);
    }

    /// Halves a trip that does not build: the second half travels behind the first.
    fn split(&mut self, index: usize, now: Moment) {
        let half = self.trips[index].changes.len().div_ceil(2);
        let second = self.trips[index].changes.split_off(half);
        self.trips[index].is_suspect = true;
        let trip = self.new_trip(second, now);
        self.trips.insert(index + 1, Trip { is_suspect: true, ..trip });
        self.redo(index, now);
    }

    pub(super) fn new_trip(&mut self, changes: Vec<super::Change>, now: Moment) -> Trip {
        self.counted += 1;
        Trip {
            number: self.counted,
            changes,
            land_at: self.settings.land_at,
            round: 0,
            state: State::Boarding,
            since: now,
            until: now + self.settings.limits.boarding,
            candidate: None,
            undo: Vec::new(),
            has_landed: false,
            has_right_of_way: false,
            is_suspect: false,
            is_verified: false,
            is_unproved: false,
            red_late: None,
            emergencies: Vec::new(),
        }
    }

    /// Takes one change out of a trip that has nothing in production; with its last change the trip ends.
    pub(super) fn eject(&mut self, index: usize, change: &ChangeId, ending: Ending, now: Moment) {
        let trip = &mut self.trips[index];
        // What landed is taken out by taking the whole trip back: no candidate is made without what the mainline has.
        let is_alone = trip.changes.len() == 1 || trip.undo.contains(&Undo::Landed);
        if is_alone || !trip.changes.iter().any(|carried| carried.id == *change) {
            return self.take_back(index, ending, now);
        }
        trip.changes.retain(|carried| carried.id != *change);
        let trip = Some(trip.number);
        self.remember(Ended { change: change.clone(), trip, ending, at: now });
        self.redo(index, now);
    }

    /// Ends a trip well, and those before it with it: it holds what they brought.
    pub(super) fn done(&mut self, index: usize, by: Option<crate::name::Actor>, now: Moment) {
        for _ in 0..index {
            self.end(0, Ending::Done { by: None }, now);
        }
        self.end(0, Ending::Done { by }, now);
    }

    /// Takes a trip off the line and remembers how its changes ended.
    pub(super) fn end(&mut self, index: usize, ending: Ending, now: Moment) {
        self.leave_behind(index, now);
        let trip = self.trips.remove(index);
        if let (Ending::Done { .. }, Some(candidate)) = (&ending, trip.candidate) {
            self.verified = Some(candidate.commit);
        }
        for change in trip.changes {
            let ending = ending.clone();
            self.remember(Ended { change: change.id, trip: Some(trip.number), ending, at: now });
        }
    }

    pub(super) fn remember(&mut self, ended: Ended) {
        match ended.ending {
            Ending::Done { .. } => self.faults.push(false),
            Ending::Ejected { .. } => self.faults.push(true),
            _ => {}
        }
        let surplus = self.faults.len().saturating_sub(FAULTS_MAX);
        self.faults.drain(..surplus);
        self.ended.push(ended);
        let surplus = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..surplus);
    }

    /// Hears what became of builds that nobody waited for.
    fn hear_late_builds(&mut self, seen: &Seen) {
        for trip in self.trips.iter_mut().filter(|trip| trip.is_unproved) {
            let build = trip.candidate.as_ref().and_then(|candidate| candidate.build.as_ref());
            match build.and_then(|key| seen.works.get(key)) {
                Some(Work::Passed) => (trip.is_unproved, trip.red_late) = (false, None),
                Some(Work::Red { why, .. }) => trip.red_late = Some(why.clone()),
                _ => {}
            }
        }
    }

    /// Has the changes that may ship board trips, as long as few enough are under way.
    fn fill(&mut self, seen: &Seen) {
        let now = seen.now;
        while let Some(place) = self.queue.iter().position(|queued| queued.place == Place::Waiting) {
            let batch = self.batch();
            let queued = &self.queue[place];
            let is_urgent = queued.front.is_some() || mends(&queued.change, seen);
            let last = self.trips.last().is_some_and(|trip| trip.takes_along(batch)) && !is_urgent;
            let is_under_way = |trip: &&Trip| trip.state != State::Soaking;
            let under_way = self.trips.iter().filter(is_under_way).count();
            if last {
                let queued = self.queue.remove(place);
                let trip = self.trips.last_mut().expect("one was just looked at");
                trip.changes.push(queued.change);
            } else if under_way < self.settings.ahead() || is_urgent && self.settings.ahead() > 1 {
                let queued = self.queue.remove(place);
                self.begin(queued, is_urgent, now);
            } else {
                return;
            }
        }
    }

    fn begin(&mut self, queued: Queued, is_urgent: bool, now: Moment) {
        let mut trip = self.new_trip(vec![queued.change], now);
        trip.emergencies.extend(queued.front);
        let begun =
            self.trips.iter().rposition(|trip| trip.has_right_of_way || trip.undo.contains(&Undo::Landed));
        let first_free = begun.map_or(0, |last| last + 1);
        let at = if is_urgent { first_free } else { self.trips.len() };
        self.trips.insert(at, trip);
        self.redo(at + 1, now);
    }

    fn look_at_queue(&mut self, seen: &Seen) {
        let queue = std::mem::take(&mut self.queue);
        let (mut kept, mut back) = (Vec::new(), Vec::new());
        for queued in queue {
            match self.look_at_queued(&queued, seen) {
                Ok((queued, false)) => kept.push(queued),
                Ok((queued, true)) => back.push(queued),
                Err(ending) => {
                    let change = queued.change.id;
                    self.remember(Ended { change, trip: None, ending, at: seen.now });
                }
            }
        }
        kept.extend(back);
        self.queue = kept;
    }

    /// Returns what becomes of a waiting change, and whether it goes to the end of the queue; or how it ends.
    fn look_at_queued(&self, queued: &Queued, seen: &Seen) -> Result<(Queued, bool), Ending> {
        let (limits, now) = (&self.settings.limits, seen.now);
        let source = seen.changes.get(&queued.change.id);
        if source.is_some_and(|source| !source.is_open) {
            return Err(Ending::Cancelled { why: "it was closed where it came from".to_owned() });
        }
        let head = source.map_or(&queued.change.head, |source| &source.head).clone();
        if head != queued.change.head {
            let place =
                if queued.place == Place::Draft { Place::Draft } else { Place::Checking { tried: 0 } };
            let (change, until) = (super::Change { head, ..queued.change.clone() }, now + limits.checking);
            let until = if place == Place::Draft { queued.until } else { until };
            let moved = Queued { change, place, until, has_moved: true, ..queued.clone() };
            return Ok((moved, queued.has_moved && place != Place::Draft));
        }
        let work = self.check_key(queued).and_then(|key| seen.works.get(&key));
        let next = match (queued.place, work) {
            (Place::Checking { .. }, Some(Work::Passed)) => Some(Place::Waiting),
            (Place::Checking { .. }, Some(Work::Red { why, .. })) => {
                return Err(Ending::Refused { why: why.clone() });
            }
            (Place::Checking { tried }, work) if work.is_some_and(failed) || now >= queued.until => {
                if tried + 1 >= self.settings.tries_max {
                    return Err(Ending::Refused { why: "whether it may ship was not learned".to_owned() });
                }
                Some(Place::Checking { tried: tried + 1 })
            }
            (Place::Draft, _) if now >= queued.until => {
                return Err(Ending::Cancelled { why: "its draft was left alone".to_owned() });
            }
            (Place::Waiting, _) if now >= queued.until => Some(Place::Waiting),
            _ => None,
        };
        let mut queued = queued.clone();
        if let Some(place) = next {
            let length = place.stage().length(limits).unwrap_or_default();
            (queued.place, queued.until) = (place, now + length);
        }
        Ok((queued, false))
    }
}

/// Tells whether a change is marked as the fix for a gate that is halted.
fn mends(change: &super::Change, seen: &Seen) -> bool {
    let is_halted = |app| seen.doors.get(app).is_some_and(|door| door.gate.halted.is_some());
    change.fix.is_some() && change.apps.iter().any(is_halted)
}

fn failed(work: &Work) -> bool {
    matches!(work, Work::Failed { .. })
}

impl Place {
    /// Returns it in one word.
    pub fn stage(self) -> Stage {
        match self {
            Place::Draft => Stage::Draft,
            Place::Checking { .. } => Stage::Checking,
            Place::Waiting => Stage::Waiting,
        }
    }
}
