//! What one look makes of one trip. Facts are taken as they are and never refused; nothing is changed here.

use super::effect::Base;
use super::stage::Tries;
use super::{ChangeId, Ending, LandAt, Lane, Moving, OnSilence, Seen, Skips, State, Trip, Work};
use crate::moment::{Moment, in_words};
use crate::name::Version;
use crate::verdict::Standing;

/// What becomes of a trip.
pub(super) enum Next {
    /// Nothing.
    Stay,
    /// It enters this state.
    To(State),
    /// It waits on, with a new deadline, and says so.
    Again,
    /// Its candidate stands.
    Stands { base: Version, commit: Version, next: State },
    /// The mainline has it.
    Landed { tip: Version },
    /// It has its right of way.
    Begin(State),
    /// Its build is green.
    Green,
    /// It runs everywhere.
    Arrived(State),
    /// It, and whatever stands upon it, needs a new candidate.
    Redo,
    /// Its halves travel on their own.
    Split,
    /// One change leaves it.
    Eject { change: ChangeId, ending: Ending },
    /// It goes back.
    TakeBack(Ending),
    /// The last thing of its undo list is undone.
    Undone,
    /// It is over, and in production.
    Done,
}

use Next::{Again, Redo, Stay, To};

impl Lane {
    /// Decides what one look makes of the trip at this place in line.
    pub(super) fn look(&self, index: usize, seen: &Seen) -> Next {
        let trip = &self.trips[index];
        if let Some(next) = closed(trip, seen) {
            return next;
        }
        let work = self.key(trip).and_then(|key| seen.works.get(&key));
        let late = seen.now >= trip.until;
        match &trip.state {
            State::Boarding => self.boarding(index, late),
            State::Preparing { base, tries } => self.preparing(trip, base, (work, late), *tries),
            State::Landing { merges, tries } => self.landing(trip, *merges, (work, late), *tries),
            State::Building { tries, .. } => self.building(index, (work, late), *tries),
            State::BuildRed { why, .. } => build_red(why, work, late),
            State::Qualifying { tries, built } => self.qualifying(index, (work, late), (*tries, *built)),
            State::Ready => self.ready(index, seen, late),
            State::CanaryStarting => self.canary_starting(trip, (work, late), seen.now),
            State::CanaryWatching { well } => {
                let told = well.is_some() || trip.skips(Skips::Canary);
                self.canary_watching(trip, told, (work, seen.now))
            }
            State::CanaryBad { why } | State::RollBad { why } => bad(why, late),
            State::Rolling { there, began } => self.rolling(trip, (*there, *began), (work, seen.now)),
            State::Soaking => self.soaking(index, work, late),
            State::Held { was, why, by, is_asked } => held(trip, (was, why, by), *is_asked, late),
            State::Undoing { ends, tries } => self.undoing(index, (work, late), ends, *tries),
            State::Stuck { .. } if late => Again,
            State::Stuck { .. } => Stay,
        }
    }

    fn boarding(&self, index: usize, late: bool) -> Next {
        let (trip, earlier) = (&self.trips[index], &self.trips[..index]);
        if !earlier.iter().all(Trip::stands) {
            return if late { Again } else { Stay };
        }
        let is_free = earlier.iter().all(|before| before.state == State::Soaking);
        if !late && !is_free && trip.takes_along(self.batch()) {
            return Stay;
        }
        let unlanded = earlier.iter().rev().find(|before| !before.has_landed);
        let candidate = unlanded.and_then(|before| before.candidate.as_ref());
        let base = candidate.map_or(Base::Mainline, |before| Base::Candidate(before.commit.clone()));
        To(State::Preparing { base, tries: Tries::first(self.settings.tries_max) })
    }

    fn preparing(&self, trip: &Trip, base: &Base, (work, late): (Option<&Work>, bool), tries: Tries) -> Next {
        let again =
            |base: &Base| tries.next().map(|tries| To(State::Preparing { base: base.clone(), tries }));
        match work {
            Some(Work::Made { base, commit }) => {
                let next = match trip.land_at {
                    LandAt::First => self.land(),
                    _ => self.build(),
                };
                Next::Stands { base: base.clone(), commit: commit.clone(), next }
            }
            Some(Work::Conflict { change, why }) => match again(base).filter(|_| tries.number == 0) {
                Some(next) => next,
                None => Next::Eject { change: change.clone(), ending: Ending::Ejected { why: why.clone() } },
            },
            Some(Work::Failed { why }) => again(base).unwrap_or_else(|| ejected(why.clone())),
            _ if late => again(base).unwrap_or_else(|| ejected("no candidate could be made in time".into())),
            _ => Stay,
        }
    }

    fn landing(&self, trip: &Trip, merges: bool, (work, late): (Option<&Work>, bool), tries: Tries) -> Next {
        let here = State::Landing { merges, tries };
        let again = |why: &str| match tries.next() {
            Some(tries) => To(State::Landing { merges, tries }),
            None => To(ask(here.clone(), format!("the mainline could not be moved: {why}"))),
        };
        match work {
            Some(Work::Landed { tip }) => Next::Landed { tip: tip.clone() },
            Some(Work::Moved) if trip.has_rollouts() => {
                To(ask(here, "the mainline was moved while the trip was in production".to_owned()))
            }
            Some(Work::Moved) => Redo,
            Some(Work::Failed { why }) => again(why),
            _ if late => again("no answer in time"),
            _ => Stay,
        }
    }

    fn building(&self, index: usize, (work, late): (Option<&Work>, bool), tries: Tries) -> Next {
        match work {
            Some(Work::Passed) => Next::Green,
            Some(Work::Red { is_flaky: true, .. } | Work::Failed { .. }) if tries.left > 0 => {
                let tries = Tries { number: tries.number + 1, left: tries.left - 1 };
                To(State::Building { only_failed: true, tries })
            }
            Some(Work::Red { why, .. } | Work::Failed { why }) => self.red(index, why.clone(), tries, late),
            _ if late => self.red(index, "the build did not end in time".to_owned(), tries, late),
            _ => Stay,
        }
    }

    /// Decides what a red build means: nothing before all that it stands on is green, then the halves of it, then its end.
    fn red(&self, index: usize, why: String, tries: Tries, late: bool) -> Next {
        let trip = &self.trips[index];
        let is_tested = matches!(trip.state, State::Qualifying { .. });
        if !self.trips[..index].iter().all(|before| before.is_green(is_tested)) {
            return if late { Again } else { Stay };
        }
        match trip.changes.len() {
            0 | 1 if trip.is_suspect => ejected(why),
            0 | 1 => To(State::BuildRed { why, tries, is_built: is_tested }),
            _ => Next::Split,
        }
    }

    fn qualifying(&self, index: usize, (work, late): (Option<&Work>, bool), of: (Tries, Tries)) -> Next {
        let (tries, built) = of;
        let again = |why: String| match tries.next() {
            Some(tries) => To(State::Qualifying { tries, built }),
            None => self.red(index, why, built, late),
        };
        match work {
            Some(Work::Passed) => To(State::Ready),
            Some(Work::Red { is_flaky: true, why, .. } | Work::Failed { why }) => again(why.clone()),
            Some(Work::Red { why, .. }) => self.red(index, why.clone(), built, late),
            _ if late => again("the stages of tests did not end in time".to_owned()),
            _ => Stay,
        }
    }

    fn ready(&self, index: usize, seen: &Seen, late: bool) -> Next {
        let trip = &self.trips[index];
        let is_free = self.is_next(index);
        match trip.land_at {
            _ if !is_free || !trip.may_pass(seen) => {
                if late {
                    Again
                } else {
                    Stay
                }
            }
            LandAt::AfterBuild => Next::Begin(self.land()),
            LandAt::First | LandAt::AfterCanary | LandAt::AfterRoll => Next::Begin(State::CanaryStarting),
        }
    }

    /// Tells whether production is free for the trip at this place: what is before it is there, and is only watched.
    pub(super) fn is_next(&self, index: usize) -> bool {
        let holds = self.settings.soak_holds;
        self.trips[..index].iter().all(|before| before.state == State::Soaking && !holds)
    }

    fn canary_starting(&self, trip: &Trip, (work, late): (Option<&Work>, bool), now: Moment) -> Next {
        match moving(trip, work) {
            Some(Moving::Bad { why }) => To(State::CanaryBad { why }),
            Some(Moving::Canary { standing: Standing::Worse, .. }) => To(State::CanaryBad { why: worse() }),
            Some(Moving::Canary { .. }) => To(State::CanaryWatching { well: None }),
            Some(Moving::Rolling { .. } | Moving::Arrived) => To(self.beyond_canary(trip, now)),
            _ if late => To(State::CanaryBad { why: "the canary did not start in time".to_owned() }),
            _ => Stay,
        }
    }

    fn canary_watching(&self, trip: &Trip, told: bool, (work, now): (Option<&Work>, Moment)) -> Next {
        let limits = &self.settings.limits;
        let watched = now.since(trip.since) >= limits.canary_watch_min || trip.skips(Skips::Canary);
        let by_itself = self.settings.on_silence == OnSilence::GoWhenProved;
        match moving(trip, work) {
            Some(Moving::Bad { why }) => To(State::CanaryBad { why }),
            Some(Moving::Canary { standing: Standing::Worse, .. }) => To(State::CanaryBad { why: worse() }),
            Some(Moving::Canary { .. }) if told && watched => To(self.beyond_canary(trip, now)),
            Some(Moving::Canary { standing: Standing::NotWorse, .. }) if by_itself && watched => {
                To(self.beyond_canary(trip, now))
            }
            Some(Moving::Rolling { .. } | Moving::Arrived) => To(self.beyond_canary(trip, now)),
            _ if now >= trip.until => {
                let waited = in_words(limits.canary_watching);
                let why = format!("nobody said within {waited} that its canary is well");
                Next::TakeBack(Ending::RolledBack { why })
            }
            _ => Stay,
        }
    }

    fn rolling(&self, trip: &Trip, at: (u32, Moment), (work, now): (Option<&Work>, Moment)) -> Next {
        let ((there, began), limits) = (at, &self.settings.limits);
        let stuck = |why: String| To(State::RollBad { why });
        match moving(trip, work) {
            Some(Moving::Bad { why }) => stuck(why),
            Some(Moving::Canary { standing: Standing::Worse, .. }) => stuck(worse()),
            Some(Moving::Arrived) => Next::Arrived(match trip.land_at {
                LandAt::AfterRoll if !trip.has_landed => self.land(),
                _ => State::Soaking,
            }),
            _ if now.since(began) >= limits.rolling => {
                stuck(format!("it has not arrived within {}", in_words(limits.rolling)))
            }
            // A ramp of shares may go on for long: each of its steps is progress as well.
            Some(Moving::Rolling { there: more } | Moving::Canary { there: more, .. }) if more > there => {
                To(State::Rolling { there: more, began })
            }
            _ if now >= trip.until => {
                stuck(format!("it has stood still for {}", in_words(limits.rolling_still)))
            }
            _ => Stay,
        }
    }

    fn soaking(&self, index: usize, work: Option<&Work>, late: bool) -> Next {
        match moving(&self.trips[index], work) {
            Some(Moving::Bad { why }) => Next::TakeBack(Ending::RolledBack { why }),
            _ if late && self.may_end(index) => Next::Done,
            _ if late => Again,
            _ => Stay,
        }
    }

    /// Tells whether the trip at this place may be called done: nothing before it is in doubt.
    pub(super) fn may_end(&self, index: usize) -> bool {
        self.trips[..index].iter().all(|before| before.state == State::Soaking)
    }

    fn undoing(
        &self,
        index: usize,
        (work, late): (Option<&Work>, bool),
        ends: &Ending,
        tries: Tries,
    ) -> Next {
        if !self.may_undo(index) {
            return if late { Again } else { Stay };
        }
        let again = |why: String| match tries.next() {
            Some(tries) => To(State::Undoing { ends: ends.clone(), tries }),
            None => To(State::Stuck { ends: ends.clone(), why, tries }),
        };
        match work {
            Some(Work::Undone) => Next::Undone,
            Some(Work::Conflict { change, why }) => {
                let why = format!("what landed could not be reverted: `{change}` {why}");
                To(ask(State::Undoing { ends: ends.clone(), tries }, why))
            }
            Some(Work::Failed { why }) => again(why.clone()),
            _ if late => again("it was not undone in time".to_owned()),
            _ => Stay,
        }
    }

    pub(super) fn build(&self) -> State {
        let tries = Tries::first(self.settings.flake_retries + 1);
        State::Building { only_failed: false, tries }
    }

    pub(super) fn land(&self) -> State {
        State::Landing { merges: false, tries: Tries::first(self.settings.tries_max) }
    }

    fn beyond_canary(&self, trip: &Trip, now: Moment) -> State {
        match trip.land_at {
            LandAt::AfterCanary if !trip.has_landed => self.land(),
            _ => State::Rolling { there: 0, began: now },
        }
    }
}

/// Takes out a change that nobody wants to ship any more, as long as nothing of it is in production.
fn closed(trip: &Trip, seen: &Seen) -> Option<Next> {
    if trip.has_right_of_way || trip.state.goes_back() {
        return None;
    }
    let is_closed = |id: &ChangeId| seen.changes.get(id).is_some_and(|change| !change.is_open);
    let change = trip.changes.iter().find(|change| is_closed(&change.id))?;
    let ending = Ending::Cancelled { why: "it was closed where it came from".to_owned() };
    Some(Next::Eject { change: change.id.clone(), ending })
}

fn build_red(why: &str, work: Option<&Work>, late: bool) -> Next {
    match work {
        Some(Work::Passed) => Next::Green,
        _ if late => ejected(why.to_owned()),
        _ => Stay,
    }
}

fn bad(why: &str, late: bool) -> Next {
    match late {
        true => Next::TakeBack(Ending::RolledBack { why: why.to_owned() }),
        false => Stay,
    }
}

type HeldFrom<'a> = (&'a State, &'a str, &'a Option<crate::name::Actor>);

fn held(trip: &Trip, (was, why, by): HeldFrom, is_asked: bool, late: bool) -> Next {
    let asked = || {
        let (was, why, by) = (Box::new(was.clone()), why.to_owned(), by.clone());
        To(State::Held { was, why, by, is_asked: true })
    };
    match was {
        _ if !late => Stay,
        _ if !is_asked => asked(),
        // What could not be reverted waits for a person: trying again by itself has no end.
        State::Undoing { .. } if by.is_none() => Again,
        State::Undoing { ends, tries } => {
            To(State::Undoing { ends: ends.clone(), tries: tries.again(tries.left + 1) })
        }
        _ if trip.is_safe_to_undo() => {
            Next::TakeBack(Ending::RolledBack { why: format!("nobody decided: {why}") })
        }
        _ => Again,
    }
}

fn moving(trip: &Trip, work: Option<&Work>) -> Option<Moving> {
    match work? {
        Work::Moving(moving) => Some(Moving::together(moving, &trip.apps())),
        Work::Failed { why } => Some(Moving::Bad { why: why.clone() }),
        _ => None,
    }
}

/// Returns a state that waits for a person, because the train itself cannot go on.
pub(super) fn ask(was: State, why: String) -> State {
    State::Held { was: Box::new(was), why, by: None, is_asked: false }
}

fn ejected(why: String) -> Next {
    Next::TakeBack(Ending::Ejected { why })
}

fn worse() -> String {
    "its canary is worse than what runs beside it".to_owned()
}
