//! What people's orders make of a lane. An order that cannot be obeyed is refused, and nothing changes.

use super::stage::Tries;
use super::{
    Change, ChangeId, Emergency, Ended, Ending, Lane, Place, QUEUE_MAX, Queued, Skips, Stage, State, Trip,
};
use crate::gate::TEXT_CHARS_MAX;
use crate::moment::Moment;
use crate::name::Actor;
use crate::refusal::Refusal;
use crate::rollout::Signature;

/// What a person can order. Trips go by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Look at what would ship, without queueing it.
    Draft(Change),
    /// Queue a change.
    Queue(Change),
    /// Take a change out, as long as production has nothing of it.
    Cancel(ChangeId),
    /// Put a change first; the trips that production has nothing of are made anew behind it.
    Front {
        /// Which.
        change: ChangeId,
        /// Why.
        reason: String,
    },
    /// Build again what is red.
    Retry {
        /// Which trip.
        trip: u64,
        /// Whether only what failed is built again.
        only_failed: bool,
    },
    /// Go on without a green build; there must be an artifact.
    SkipGreen {
        /// Which trip.
        trip: u64,
        /// Why.
        reason: String,
        /// Whether the build has left an artifact, as whoever passes the order on saw it.
        has_artifact: bool,
    },
    /// Go on without the look at the canary.
    SkipCanary {
        /// Which trip.
        trip: u64,
        /// Why.
        reason: String,
    },
    /// The canary is well.
    Well(u64),
    /// It runs everywhere and is well: no need to watch it longer.
    Confirm(u64),
    /// Stay here until `Resume`.
    Hold {
        /// Which trip.
        trip: u64,
        /// Why.
        reason: String,
    },
    /// Go on after a hold.
    Resume(u64),
    /// Undo everything, wherever the trip is.
    TakeBack {
        /// Which trip.
        trip: u64,
        /// Why.
        reason: String,
    },
    /// Say what becomes of a trip that could not be taken back.
    Settle {
        /// Which trip.
        trip: u64,
        /// What.
        settlement: Settlement,
    },
}

/// What becomes of a trip that could not be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// What failed to be undone is tried again.
    Again,
    /// It ends, and production is as a person left it.
    AsItIs {
        /// How it is, and why.
        note: String,
    },
}

impl Lane {
    pub(super) fn obey(&mut self, command: &Command, actor: &Actor, now: Moment) -> Result<(), Refusal> {
        let emergency = |skips, reason: &str| Emergency {
            skips,
            actor: actor.clone(),
            reason: reason.to_owned(),
            at: now,
        };
        match command {
            Command::Draft(change) => self.draft(change, now),
            Command::Queue(change) => self.queue_up(change, now),
            Command::Cancel(change) => self.cancel(change, actor, now),
            Command::Front { change, reason } => self.front(change, emergency(Skips::Queue, reason)),
            Command::Retry { trip, only_failed } => self.retry(*trip, *only_failed, now),
            Command::SkipGreen { trip, reason, has_artifact } => {
                self.skip_green(*trip, emergency(Skips::Green, reason), *has_artifact)
            }
            Command::SkipCanary { trip, reason } => self.skip_canary(*trip, emergency(Skips::Canary, reason)),
            Command::Well(trip) => self.well(*trip, actor, now),
            Command::Confirm(trip) => self.confirm(*trip, actor, now),
            Command::Hold { trip, reason } => self.pause(*trip, reason, actor, now),
            Command::Resume(trip) => self.resume(*trip, now),
            Command::TakeBack { trip, reason } => self.roll_back(*trip, reason, actor, now),
            Command::Settle { trip, settlement } => self.settle(*trip, settlement, actor, now),
        }
    }

    fn draft(&mut self, change: &Change, now: Moment) -> Result<(), Refusal> {
        self.admit(change, Place::Draft, now)
    }

    fn queue_up(&mut self, change: &Change, now: Moment) -> Result<(), Refusal> {
        self.admit(change, Place::Checking { tried: 0 }, now)
    }

    fn admit(&mut self, change: &Change, place: Place, now: Moment) -> Result<(), Refusal> {
        let refuse = |because: &str, next: &str| {
            Err(Refusal::new(format!("cannot queue `{}`", change.id), because, next))
        };
        let draft = self.place_of(&change.id).filter(|at| self.queue[*at].place == Place::Draft);
        if change.apps.is_empty() {
            return refuse("it moves no app", "say which app it moves");
        }
        if self.trip_of(&change.id).is_some() || self.place_of(&change.id).is_some() && draft.is_none() {
            return refuse("it is on its way already", "wait for its end, or cancel it first");
        }
        if self.queue.len() >= QUEUE_MAX {
            return refuse("too many changes wait in this lane", "wait until some have shipped");
        }
        if let Some(at) = draft {
            self.queue.remove(at);
        }
        let length = place.stage().length(&self.settings.limits).unwrap_or_default();
        let change = change.clone();
        self.queue.push(Queued { change, place, until: now + length, has_moved: false, front: None });
        Ok(())
    }

    fn cancel(&mut self, change: &ChangeId, actor: &Actor, now: Moment) -> Result<(), Refusal> {
        let ending = Ending::Cancelled { why: format!("{actor} took it out") };
        if let Some(place) = self.place_of(change) {
            self.queue.remove(place);
            self.remember(Ended { change: change.clone(), trip: None, ending, at: now });
            return Ok(());
        }
        let what = format!("cannot cancel `{change}`");
        let Some(trip) = self.trip_of(change) else {
            return Err(Refusal::new(what, "it is not on its way", "see how it ended in the history"));
        };
        if trip.has_right_of_way || trip.state.goes_back() {
            let because = format!("trip {} is {}", trip.number, trip.state.stage().word());
            return Err(Refusal::new(what, because, "take the trip back instead"));
        }
        let index = self.index(trip.number).expect("the trip was just found");
        self.eject(index, change, ending, now);
        Ok(())
    }

    fn front(&mut self, change: &ChangeId, emergency: Emergency) -> Result<(), Refusal> {
        let what = format!("cannot put `{change}` first");
        demand(&what, &emergency.reason)?;
        let Some(place) = self.place_of(change).filter(|place| self.queue[*place].place != Place::Draft)
        else {
            return Err(Refusal::new(
                what,
                "it does not wait in the queue",
                "queue it, or look where its trip is",
            ));
        };
        let mut queued = self.queue.remove(place);
        queued.front = Some(emergency);
        self.queue.insert(0, queued);
        Ok(())
    }

    fn retry(&mut self, trip: u64, only_failed: bool, now: Moment) -> Result<(), Refusal> {
        let what = format!("cannot build trip {trip} again");
        let index = self.find(&what, trip)?;
        let State::BuildRed { tries, .. } = self.trips[index].state else {
            return Err(elsewhere(what, &self.trips[index], "wait until its build is red"));
        };
        let tries = tries.again(self.settings.flake_retries + 1);
        self.enter(index, State::Building { only_failed, tries }, now);
        Ok(())
    }

    fn skip_green(&mut self, trip: u64, emergency: Emergency, has_artifact: bool) -> Result<(), Refusal> {
        let what = format!("cannot take trip {trip} on without a green build");
        demand(&what, &emergency.reason)?;
        let index = self.find(&what, trip)?;
        let stage = self.trips[index].state.stage();
        if !matches!(stage, Stage::Building | Stage::BuildRed | Stage::Qualifying) {
            return Err(elsewhere(what, &self.trips[index], "wait until it is built"));
        }
        if !has_artifact {
            let next = "wait for the artifact, or build it again";
            return Err(Refusal::new(what, "its build has left no artifact yet", next));
        }
        let now = emergency.at;
        let trip = &mut self.trips[index];
        trip.is_unproved = stage != Stage::Qualifying;
        trip.emergencies.push(emergency);
        self.enter(index, State::Ready, now);
        Ok(())
    }

    fn skip_canary(&mut self, trip: u64, emergency: Emergency) -> Result<(), Refusal> {
        let what = format!("cannot take trip {trip} past its canary");
        demand(&what, &emergency.reason)?;
        let index = self.find(&what, trip)?;
        let trip = &mut self.trips[index];
        let is_past =
            matches!(trip.state.beneath().stage(), Stage::Rolling | Stage::RollBad | Stage::Soaking);
        if is_past || trip.state.goes_back() || trip.skips(Skips::Canary) {
            return Err(elsewhere(what, trip, "look at the trip: there is nothing to skip"));
        }
        trip.emergencies.push(emergency);
        Ok(())
    }

    fn well(&mut self, trip: u64, actor: &Actor, now: Moment) -> Result<(), Refusal> {
        let what = format!("cannot take trip {trip} on");
        let index = self.find(&what, trip)?;
        let trip = &mut self.trips[index];
        let State::CanaryWatching { well } = &mut trip.state else {
            return Err(elsewhere(what, trip, "wait until its canary can be watched"));
        };
        *well = Some(Signature { actor: actor.clone(), at: now });
        Ok(())
    }

    fn confirm(&mut self, trip: u64, actor: &Actor, now: Moment) -> Result<(), Refusal> {
        let what = format!("cannot confirm trip {trip}");
        let index = self.find(&what, trip)?;
        if self.trips[index].state != State::Soaking {
            return Err(elsewhere(what, &self.trips[index], "wait until it runs everywhere"));
        }
        if !self.may_end(index) {
            let next = "decide about the trips before it first";
            return Err(Refusal::new(what, "what it stands on is in doubt", next));
        }
        self.done(index, Some(actor.clone()), now);
        Ok(())
    }

    fn pause(&mut self, trip: u64, reason: &str, actor: &Actor, now: Moment) -> Result<(), Refusal> {
        let what = format!("cannot hold trip {trip}");
        demand(&what, reason)?;
        let index = self.find(&what, trip)?;
        if matches!(self.trips[index].state, State::Held { .. } | State::Stuck { .. }) {
            return Err(elsewhere(what, &self.trips[index], "decide about it instead"));
        }
        self.hold(index, format!("{actor} holds it: {reason}"), Some(actor.clone()), now);
        Ok(())
    }

    fn resume(&mut self, trip: u64, now: Moment) -> Result<(), Refusal> {
        let what = format!("cannot take trip {trip} on");
        let index = self.find(&what, trip)?;
        let State::Held { was, by, .. } = self.trips[index].state.clone() else {
            return Err(elsewhere(what, &self.trips[index], "hold it first, or let it go on"));
        };
        let max = self.settings.tries_max;
        let next = match (*was, by) {
            // What the train itself asked about is tried anew, and a mainline that was moved is merged with.
            (State::Landing { tries, .. }, None) => State::Landing { merges: true, tries: tries.again(max) },
            (State::Undoing { ends, tries }, None) => State::Undoing { ends, tries: tries.again(max) },
            (was, _) => was,
        };
        self.enter(index, next, now);
        Ok(())
    }

    fn roll_back(&mut self, trip: u64, reason: &str, actor: &Actor, now: Moment) -> Result<(), Refusal> {
        let what = format!("cannot take trip {trip} back");
        demand(&what, reason)?;
        let index = self.find(&what, trip)?;
        if self.trips[index].state.goes_back() {
            return Err(elsewhere(
                what,
                &self.trips[index],
                "wait until it is undone, or settle what is stuck",
            ));
        }
        let why = format!("{actor} took it back: {reason}");
        self.take_back(index, Ending::RolledBack { why }, now);
        Ok(())
    }

    fn settle(
        &mut self,
        trip: u64,
        settlement: &Settlement,
        actor: &Actor,
        now: Moment,
    ) -> Result<(), Refusal> {
        let what = format!("cannot settle trip {trip}");
        let index = self.find(&what, trip)?;
        let State::Stuck { ends, tries, .. } = self.trips[index].state.clone() else {
            return Err(elsewhere(what, &self.trips[index], "wait: the train goes on by itself"));
        };
        self.fence += 1;
        match settlement {
            Settlement::Again => {
                let tries: Tries = tries.again(self.settings.tries_max);
                self.enter(index, State::Undoing { ends, tries }, now);
            }
            Settlement::AsItIs { note } => {
                demand(&what, note)?;
                self.end(index, Ending::Settled { by: actor.clone(), note: note.clone() }, now);
            }
        }
        Ok(())
    }

    fn find(&self, what: &str, trip: u64) -> Result<usize, Refusal> {
        self.index(trip).ok_or_else(|| {
            let next = "see the trips under way, and those that ended in the history";
            Refusal::new(what, format!("lane `{}` has no such trip under way", self.name), next)
        })
    }
}

/// Demands a reason: what skips a rule or stops others exists only with one.
fn demand(what: &str, reason: &str) -> Result<(), Refusal> {
    let because = match reason.trim() {
        "" => "no reason was given",
        long if long.chars().count() > TEXT_CHARS_MAX => "the reason is too long",
        _ => return Ok(()),
    };
    Err(Refusal::new(what, because, "say why in a line or two"))
}

fn elsewhere(what: String, trip: &Trip, next: &str) -> Refusal {
    Refusal::new(what, format!("it is {}", trip.state.stage().word()), next)
}
