//! The deploy train of one lane: changes wait in a queue, travel in trips to production, and every trip can be taken back.
//!
//! Invariants: what is to be done is a function of the record ([`effects`]), so whoever takes over goes on; how an effect is undone is
//! in the record before the effect is tried; one trip at a time goes through production, in line; the mainline only ever moves
//! forward; every state has a deadline and a named successor; nothing goes back to a version that production never ran wholly.
//! The train orders rollouts and observes them; it moves no target and closes no gate itself.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::gate::Fix;
use crate::moment::Moment;
use crate::name::{Actor, AppPath, ChangeId, LaneName, Version};

mod batch;
mod effect;
mod eta;
mod line;
mod look;
mod obey;
mod seen;
mod settings;
mod stage;
mod standing;
mod step;
mod tell;
mod undoing;
mod waiting;

pub use effect::{Base, Deed, Effect, Reach, Undo, WorkKey, effects};
pub use eta::{Eta, Span, Typical, eta};
pub use obey::{Command, Settlement};
pub use seen::{ChangeSeen, Moving, Seen, Work};
pub use settings::{LandAt, Limits, OnSilence, Settings};
pub use stage::{Stage, State, Tries};
pub use step::{Event, Step, step};
pub use tell::{Announcement, Urgency};
pub use waiting::why_waiting;

/// The most changes that wait in one lane.
pub const QUEUE_MAX: usize = 1000;
/// How many ended changes a lane remembers; the history has them all.
pub const ENDED_MAX: usize = 50;
/// How many commands a lane knows again when they come twice.
pub const OBEYED_MAX: usize = 100;
/// Of how many changes a lane remembers whether they were faulty.
const FAULTS_MAX: usize = 50;
/// Of how many builds a lane remembers how long they took.
const BUILDS_MAX: usize = 20;

/// Everything that is kept of one lane. It is written before anything that follows from it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its name.
    pub name: LaneName,
    /// Its rules.
    pub settings: Settings,
    /// Rises when somebody else takes over and when anything is taken back; an effect with a lower one is refused.
    pub fence: u64,
    /// How many trips have begun; the newest has this number.
    pub counted: u64,
    /// Changes that wait, the next one first.
    pub queue: Vec<Queued>,
    /// Trips under way in line: each builds upon the one before it.
    pub trips: Vec<Trip>,
    /// What production last ran wholly and well; nothing before the first trip arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Version>,
    /// What earlier rounds and ended trips left outside of production, until it is cleared away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
    /// How the latest changes ended, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Ended>,
    /// The keys of the latest commands, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obeyed: Vec<String>,
    /// How many seconds the latest green builds took, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<u64>,
    /// Whether each of the latest changes was at fault: it was left behind. The newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<bool>,
}

/// A pull request or a commit that wants to ship.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub id: ChangeId,
    /// The commit that was looked at and will travel.
    pub head: Version,
    /// Whose it is.
    pub author: Actor,
    /// The apps that it moves; at least one.
    pub apps: BTreeSet<AppPath>,
    /// Whether it mends what halted the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// Whether the version before may not run after it: it changes what is stored. Nothing takes it back by itself while a person
    /// holds it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub migrates: bool,
}

/// A change before its trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Which.
    pub change: Change,
    /// How far it is.
    pub place: Place,
    /// When something happens to it even if nothing is observed.
    pub until: Moment,
    /// Whether its head moved once while it waited; the next time costs it its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_moved: bool,
    /// Who put it first, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<Emergency>,
}

/// How far a change is before its trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum Place {
    /// Its author looks at what would ship.
    Draft,
    /// Whether it may ship is asked for.
    Checking {
        /// How often before.
        tried: u32,
    },
    /// It may, and waits for its trip.
    Waiting,
}

/// One or more changes on their way to production with one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// Counts a lane's trips from 1.
    pub number: u64,
    /// Which changes, in the order in which they are merged.
    pub changes: Vec<Change>,
    /// When the mainline gets them; fixed when the trip began.
    pub land_at: LandAt,
    /// How often its candidate was given up, because it or what it stood on changed.
    pub round: u32,
    /// Where it is.
    pub state: State,
    /// Since when.
    pub since: Moment,
    /// When something happens to it even if nothing is observed.
    pub until: Moment,
    /// The commit that travels, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// How to undo what was done or tried for it, the last first to go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Undo>,
    /// Whether the mainline has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_landed: bool,
    /// Whether production is its own, or was: only then may anything of it be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_right_of_way: bool,
    /// Whether it is a part of a trip that did not build: a fault is looked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_suspect: bool,
    /// Whether production ran it wholly, and nothing was skipped on the way: what others may go back to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_verified: bool,
    /// Whether it goes on without a green build; until the build is green after all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unproved: bool,
    /// Why its build was red after all, once it went on without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red_late: Option<String>,
    /// What people skipped for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emergencies: Vec<Emergency>,
}

/// The commit that a trip carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it was made upon.
    pub base: Version,
    /// The commit.
    pub commit: Version,
    /// The try at its build that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<WorkKey>,
}

/// Something that a person did to skip a rule. It exists only with a reason and a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emergency {
    /// Which rule.
    pub skips: Skips,
    /// Who.
    pub actor: Actor,
    /// Why; never empty.
    pub reason: String,
    /// When.
    pub at: Moment,
}

/// A rule that a person may skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skips {
    /// Its place in the queue.
    Queue,
    /// A green build. There must be an artifact all the same.
    Green,
    /// The look at the canary. That it starts, and the judge, are never skipped.
    Canary,
}

/// Something outside of production that nobody needs any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// What names the work of clearing it away.
    pub key: WorkKey,
    /// How.
    pub undo: Undo,
    /// When it is given up.
    pub until: Moment,
}

/// How one change ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which change.
    pub change: ChangeId,
    /// On which trip, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trip: Option<u64>,
    /// How.
    pub ending: Ending,
    /// When.
    pub at: Moment,
}

/// How a trip, or a change, ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum Ending {
    /// It is in production.
    Done {
        /// Who confirmed it; nobody when its time was over.
        by: Option<Actor>,
    },
    /// It was taken back.
    RolledBack {
        /// Why, in a sentence without a full stop.
        why: String,
    },
    /// It was left behind before production; the others went on.
    Ejected {
        /// Why, in a sentence without a full stop.
        why: String,
    },
    /// A person took it out, or closed its pull request.
    Cancelled {
        /// Why, in a sentence without a full stop.
        why: String,
    },
    /// It may not ship.
    Refused {
        /// Why, in a sentence without a full stop.
        why: String,
    },
    /// It could not be taken back, and a person said how production stands.
    Settled {
        /// Who.
        by: Actor,
        /// What they said.
        note: String,
    },
}

impl Lane {
    /// Returns an empty lane, with what production is known to run well.
    pub fn new(name: LaneName, settings: Settings, verified: Option<Version>) -> Self {
        Self {
            name,
            settings,
            fence: 1,
            counted: 0,
            queue: Vec::new(),
            trips: Vec::new(),
            verified,
            leftovers: Vec::new(),
            ended: Vec::new(),
            obeyed: Vec::new(),
            builds: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Returns a trip under way.
    pub fn trip(&self, number: u64) -> Option<&Trip> {
        self.trips.iter().find(|trip| trip.number == number)
    }

    /// Returns where a change waits, from 0.
    pub fn place_of(&self, change: &ChangeId) -> Option<usize> {
        self.queue.iter().position(|queued| queued.change.id == *change)
    }

    /// Returns the trip that carries a change.
    pub fn trip_of(&self, change: &ChangeId) -> Option<&Trip> {
        self.trips.iter().find(|trip| trip.changes.iter().any(|carried| carried.id == *change))
    }

    /// Returns the version that a trip at this place in line would be taken back to: the nearest one before it that production ran
    /// wholly and well.
    pub(crate) fn way_back(&self, index: usize) -> Option<Version> {
        let before = self.trips[..index].iter().rev().find(|trip| trip.is_verified);
        let commit = before.and_then(|trip| Some(trip.candidate.as_ref()?.commit.clone()));
        commit.or_else(|| self.verified.clone())
    }

    fn index(&self, number: u64) -> Option<usize> {
        self.trips.iter().position(|trip| trip.number == number)
    }
}

impl Trip {
    /// Lists the apps that it moves.
    pub fn apps(&self) -> BTreeSet<AppPath> {
        self.changes.iter().flat_map(|change| change.apps.iter().cloned()).collect()
    }

    /// Tells whether a person skipped this rule for it.
    pub fn skips(&self, what: Skips) -> bool {
        self.emergencies.iter().any(|emergency| emergency.skips == what)
    }

    /// Tells whether taking it back by itself is safe: it changes nothing that is stored.
    pub fn is_safe_to_undo(&self) -> bool {
        !self.has_right_of_way || self.changes.iter().all(|change| !change.migrates)
    }

    /// Enters a state: its deadline begins, and how to undo what it will do is written down.
    pub(crate) fn enter(&mut self, state: State, now: Moment, length: std::time::Duration) {
        self.state = state;
        self.since = now;
        self.until = now + length;
    }
}
