//! What is said of a lane: once for each state that a trip enters, in the words that every place prints.

use super::{Change, Ended, Ending, Lane, Queued, Stage, State, Trip};
use crate::name::{Actor, ChangeId};

/// Something to say, once. The key lets a notifier drop what it said already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What names it for ever.
    pub key: String,
    /// Whom it is about.
    pub people: Vec<Actor>,
    /// The trip, if it is about one.
    pub trip: Option<u64>,
    /// How urgent it is.
    pub urgency: Urgency,
    /// The sentence, without a full stop.
    pub text: String,
}

/// How urgent an announcement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It is for the history.
    Told,
    /// Its people have something to decide.
    Asked,
    /// Somebody must look at once.
    Called,
}

/// Returns what there is to say about the difference between two records of one lane.
pub(super) fn tell(before: &Lane, after: &Lane) -> Vec<Announcement> {
    let mut said = Vec::new();
    for ended in &after.ended[kept(before, after)..] {
        said.push(of_ended(before, ended));
    }
    for queued in &after.queue {
        let former = before.queue.iter().find(|former| former.change.id == queued.change.id);
        if former.is_none_or(|former| former.until != queued.until || former.front != queued.front) {
            said.push(of_queued(after, queued));
        }
    }
    for trip in &after.trips {
        let former = before.trip(trip.number);
        if former.is_none_or(|former| stamp(former) != stamp(trip)) {
            said.push(of_trip(after, trip));
        }
        said.extend(red_late(after, former, trip));
        let count = former.map_or(0, |former| former.emergencies.len());
        said.extend(trip.emergencies[count..].iter().map(|emergency| {
            let text = format!(
                "{} skips {} for trip {}: {}",
                emergency.actor,
                emergency.skips.word(),
                trip.number,
                emergency.reason
            );
            let key = format!("{}/{}/skips/{}", after.name, trip.number, emergency.skips.word());
            Announcement {
                key,
                people: people(trip),
                trip: Some(trip.number),
                urgency: Urgency::Called,
                text,
            }
        }));
    }
    said
}

/// Calls people when the build that was skipped is red.
fn red_late(lane: &Lane, former: Option<&Trip>, trip: &Trip) -> Option<Announcement> {
    let why = trip.red_late.as_ref().filter(|_| former.is_none_or(|former| former.red_late.is_none()))?;
    Some(Announcement {
        key: format!("{}/{}/red late", lane.name, trip.number),
        people: people(trip),
        trip: Some(trip.number),
        urgency: Urgency::Called,
        text: format!("trip {} went on without a green build, and that is red: {why}", trip.number),
    })
}

/// Returns from which place on what ended is new.
fn kept(before: &Lane, after: &Lane) -> usize {
    let new = (0..=after.ended.len()).find(|new| {
        let old = &after.ended[..after.ended.len() - new];
        before.ended.ends_with(old)
    });
    after.ended.len() - new.unwrap_or(after.ended.len())
}

/// What makes a new announcement when it changes.
fn stamp(trip: &Trip) -> (Stage, u32, crate::moment::Moment, usize) {
    let since = match trip.state {
        // Progress is seen, not said.
        State::Rolling { began, .. } => began,
        _ => trip.until,
    };
    (trip.state.stage(), trip.round, since, trip.changes.len())
}

fn people(trip: &Trip) -> Vec<Actor> {
    let mut people: Vec<Actor> = trip.changes.iter().map(|change| change.author.clone()).collect();
    people.dedup();
    people
}

fn of_ended(before: &Lane, ended: &Ended) -> Announcement {
    let Ended { change, trip, ending, at } = ended;
    let carried = before.trips.iter().flat_map(|trip| &trip.changes);
    let known: Vec<&Change> = before.queue.iter().map(|queued| &queued.change).chain(carried).collect();
    let author = known.iter().find(|known| known.id == *change).map(|known| known.author.clone());
    let urgency = match ending {
        Ending::Done { .. } => Urgency::Told,
        Ending::Settled { .. } => Urgency::Called,
        _ => Urgency::Asked,
    };
    Announcement {
        key: format!("{}/{change}/{}/{}", before.name, trip.unwrap_or(0), at.as_millis()),
        people: author.into_iter().collect(),
        trip: *trip,
        urgency,
        text: format!("`{change}` {}", ending.sentence()),
    }
}

fn of_queued(lane: &Lane, queued: &Queued) -> Announcement {
    let id: &ChangeId = &queued.change.id;
    let (word, place) = (queued.place.stage().word(), lane.place_of(id).unwrap_or(0) + 1);
    let text = match &queued.front {
        Some(front) => format!("{} put `{id}` first: {}", front.actor, front.reason),
        None => format!("`{id}` is {word}, at place {place}"),
    };
    let urgency = if queued.front.is_some() { Urgency::Called } else { Urgency::Told };
    let key = format!("{}/{id}/{word}/{}", lane.name, queued.until.as_millis());
    Announcement { key, people: vec![queued.change.author.clone()], trip: None, urgency, text }
}

fn of_trip(lane: &Lane, trip: &Trip) -> Announcement {
    let ids: Vec<String> = trip.changes.iter().map(|change| format!("`{}`", change.id)).collect();
    let (number, stage) = (trip.number, trip.state.stage());
    Announcement {
        key: format!("{}/{number}/{}/{}/{}", lane.name, trip.round, stage.word(), trip.until.as_millis()),
        people: people(trip),
        trip: Some(number),
        urgency: urgency(&trip.state),
        text: format!("trip {number} ({}) {}", ids.join(", "), trip.state.sentence()),
    }
}

fn urgency(state: &State) -> Urgency {
    match state {
        State::BuildRed { .. } | State::CanaryWatching { .. } | State::Held { .. } => Urgency::Asked,
        State::CanaryBad { .. } | State::RollBad { .. } | State::Stuck { .. } => Urgency::Called,
        _ => Urgency::Told,
    }
}

impl super::Skips {
    /// Returns it in words.
    pub fn word(self) -> &'static str {
        match self {
            super::Skips::Queue => "the queue",
            super::Skips::Green => "the green build",
            super::Skips::Canary => "the look at the canary",
        }
    }
}

impl State {
    /// Says where a trip is, after its name and without a full stop.
    pub fn sentence(&self) -> String {
        match self {
            State::Boarding => "waits for company, or for what is before it".to_owned(),
            State::Preparing { .. } => "has its candidate made".to_owned(),
            State::Landing { .. } => "lands on the mainline".to_owned(),
            State::Building { .. } => "is built".to_owned(),
            State::BuildRed { why, .. } => format!("did not build: {why}"),
            State::Qualifying { .. } => "goes through the further tests".to_owned(),
            State::Ready => "waits for its right of way".to_owned(),
            State::CanaryStarting => "starts its canary".to_owned(),
            State::CanaryWatching { .. } => "has a canary to look at".to_owned(),
            State::CanaryBad { why } => format!("has a bad canary: {why}"),
            State::Rolling { .. } => "goes on to all targets".to_owned(),
            State::RollBad { why } => format!("went wrong on the way to all targets: {why}"),
            State::Soaking => "runs everywhere and is watched".to_owned(),
            State::Held { why, .. } => format!("is held: {why}"),
            State::Undoing { ends, .. } => format!("goes back: {}", ends.why()),
            State::Stuck { why, .. } => format!("could not be taken back: {why}"),
        }
    }
}

impl Ending {
    fn why(&self) -> &str {
        match self {
            Ending::Done { .. } => "",
            Ending::RolledBack { why }
            | Ending::Ejected { why }
            | Ending::Cancelled { why }
            | Ending::Refused { why }
            | Ending::Settled { note: why, .. } => why,
        }
    }

    /// Says how a change ended, after its name and without a full stop.
    pub fn sentence(&self) -> String {
        match self {
            Ending::Done { by: Some(by) } => format!("is in production: {by} confirmed it"),
            Ending::Done { by: None } => "is in production".to_owned(),
            Ending::RolledBack { why } => format!("was taken back: {why}"),
            Ending::Ejected { why } => format!("was left behind: {why}"),
            Ending::Cancelled { why } => format!("was cancelled: {why}"),
            Ending::Refused { why } => format!("may not ship: {why}"),
            Ending::Settled { by, note } => format!("is as {by} left it: {note}"),
        }
    }
}
