//! When a change will be in production, as a range that names what it assumes.
//!
//! Trips build at the same time and go through production one after another, so a trip arrives one passage after the later of two
//! moments: it is green, or the one before it has arrived. The beginning of the range takes every stage at its median; the end
//! takes nine of ten, and adds for each trip ahead what a fault there would cost, as often as faults are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Lane, Place, Stage, State, Trip};
use crate::moment::{Moment, in_words};
use crate::name::ChangeId;

/// How long stages take, as the history has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typical {
    /// By stage; one that is not there takes no time.
    pub stages: BTreeMap<Stage, Span>,
    /// How many of a thousand changes were left behind or taken back.
    pub faults_permille: u32,
}

/// How long something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// In half of all cases at most.
    pub median: Duration,
    /// In nine of ten cases at most.
    pub nine_of_ten: Duration,
}

/// When a change will be in production.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eta {
    /// When all goes at its usual pace.
    pub from: Moment,
    /// When it goes slowly.
    pub to: Moment,
    /// What is assumed, in a clause that begins with `if`; empty when nothing is.
    pub assumption: String,
}

const BEFORE_PRODUCTION: [Stage; 4] = [Stage::Boarding, Stage::Preparing, Stage::Building, Stage::Qualifying];
const PRODUCTION: [Stage; 4] = [Stage::Landing, Stage::CanaryStarting, Stage::CanaryWatching, Stage::Rolling];

/// Returns when a change will be in production, or in a sentence why nobody can say.
///
/// # Errors
/// It is not on its way, or something ahead of it waits for a person.
pub fn eta(lane: &Lane, change: &ChangeId, typical: &Typical, now: Moment) -> Result<Eta, String> {
    let place = lane.trips.iter().position(|trip| trip.changes.iter().any(|carried| carried.id == *change));
    let queued = lane.place_of(change).filter(|place| lane.queue[*place].place != Place::Draft);
    let ahead = match (place, queued) {
        (Some(place), _) => &lane.trips[..place],
        (None, Some(_)) => &lane.trips[..],
        (None, None) => return Err(format!("`{change}` is not on its way")),
    };
    let own = place.map(|place| &lane.trips[place]);
    for trip in ahead.iter().chain(own) {
        if let Some(why) = asks(trip) {
            return Err(format!("trip {} {why}", trip.number));
        }
    }
    // A change that waits boards with those before it, as many as fit.
    let new_trips = queued.map_or(0, |place| place / lane.batch() + 1);
    let arrival = |slow| lane.arrival((ahead, own), new_trips, &Reckoning { typical, slow, now });
    let (from, to) = (arrival(false), arrival(true));
    let penalty = typical.span(&BEFORE_PRODUCTION, true) * typical.faults_permille / 1000;
    let in_doubt: Vec<&Trip> = ahead.iter().filter(|trip| trip.state != State::Soaking).collect();
    let trips_ahead = u32::try_from(in_doubt.len() + new_trips.saturating_sub(1)).unwrap_or(u32::MAX);
    let to = to.max(from) + penalty * trips_ahead;
    Ok(Eta { from, to, assumption: assumption(&in_doubt, own, new_trips) })
}

/// With which figures an arrival is reckoned.
struct Reckoning<'a> {
    typical: &'a Typical,
    slow: bool,
    now: Moment,
}

impl Lane {
    fn arrival(&self, of: (&[Trip], Option<&Trip>), new_trips: usize, by: &Reckoning) -> Moment {
        let (ahead, own) = of;
        let mut free = by.now;
        let mut arrivals = Vec::new();
        for trip in ahead.iter().chain(own).filter(|trip| trip.state != State::Soaking) {
            let green = by.now + by.left(trip, &BEFORE_PRODUCTION);
            free = green.max(free) + by.left(trip, &PRODUCTION);
            arrivals.push(free);
        }
        for _ in 0..new_trips {
            // A new trip begins when one of those that may be under way has arrived.
            let begins = match arrivals.len().checked_sub(self.settings.ahead()) {
                Some(before) => arrivals[before],
                None => by.now,
            };
            let green = begins + by.typical.span(&BEFORE_PRODUCTION, by.slow);
            free = green.max(free) + by.typical.span(&PRODUCTION, by.slow);
            arrivals.push(free);
        }
        free
    }
}

impl Reckoning<'_> {
    /// Returns how much of these stages a trip has before it: nothing of those behind it, and of its own what is usual and not over.
    fn left(&self, trip: &Trip, stages: &[Stage]) -> Duration {
        let own = trip.state.stage();
        let has = |stage: Stage| match stage {
            // The mainline may get it earlier or later than its place among the stages says.
            Stage::Landing => !trip.has_landed,
            stage => stage > own || stage == Stage::Building && own == Stage::BuildRed,
        };
        let open = stages.iter().filter(|stage| has(**stage) && **stage != own);
        let ahead: Duration = open.map(|stage| self.typical.of(*stage, self.slow)).sum();
        match stages.contains(&own) {
            true => ahead + self.typical.of(own, self.slow).saturating_sub(self.now.since(trip.since)),
            false => ahead,
        }
    }
}

impl Typical {
    fn of(&self, stage: Stage, slow: bool) -> Duration {
        let span = self.stages.get(&stage).copied().unwrap_or_default();
        if slow { span.nine_of_ten } else { span.median }
    }

    fn span(&self, stages: &[Stage], slow: bool) -> Duration {
        stages.iter().map(|stage| self.of(*stage, slow)).sum()
    }
}

impl Eta {
    /// Says it for people: `in 12 min to 31 min, if trip 3 stays green`.
    pub fn sentence(&self, now: Moment) -> String {
        let (from, to) = (in_words(self.from.since(now)), in_words(self.to.since(now)));
        let range = if from == to { format!("in {from}") } else { format!("in {from} to {to}") };
        match self.assumption.as_str() {
            "" => range,
            assumption => format!("{range}, {assumption}"),
        }
    }
}

/// Returns why nobody can say when a trip arrives: it waits for a person, or does not go there.
fn asks(trip: &Trip) -> Option<String> {
    match &trip.state {
        State::BuildRed { .. }
        | State::CanaryBad { .. }
        | State::RollBad { .. }
        | State::Held { .. }
        | State::Undoing { .. }
        | State::Stuck { .. } => Some(trip.state.sentence()),
        _ => None,
    }
}

fn assumption(ahead: &[&Trip], own: Option<&Trip>, new_trips: usize) -> String {
    let mut names: Vec<String> = ahead.iter().map(|trip| trip.number.to_string()).collect();
    names.extend(own.filter(|trip| trip.state != State::Soaking).map(|trip| trip.number.to_string()));
    let before = if new_trips > 1 { " and so does what waits before it" } else { "" };
    match names.split_last() {
        None if new_trips > 1 => "if what waits before it stays well".to_owned(),
        None => String::new(),
        Some((last, [])) => format!("if trip {last} stays well{before}"),
        Some((last, others)) => {
            let before = if new_trips > 1 { ", and so does what waits before it" } else { "" };
            format!("if trips {} and {last} stay well{before}", others.join(", "))
        }
    }
}
