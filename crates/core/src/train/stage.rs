//! Where a trip is, and what becomes of it when nothing is heard: no state without an exit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Base, Ending, Limits};
use crate::moment::Moment;
use crate::name::Actor;
use crate::rollout::Signature;

/// The state of a trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It takes changes along, or waits until what is before it stands.
    Boarding,
    /// Its candidate is made.
    Preparing {
        /// Upon what.
        base: Base,
        /// Which try.
        tries: Tries,
    },
    /// The mainline is moved to its candidate.
    Landing {
        /// Whether a mainline that somebody else moved is merged with it: a person said so.
        merges: bool,
        /// Which try.
        tries: Tries,
    },
    /// Its candidate is built.
    Building {
        /// Whether only what failed is tried again.
        only_failed: bool,
        /// Which try; what is left counts suspected flakes.
        tries: Tries,
    },
    /// The build is red; a person may try again.
    BuildRed {
        /// Why, in a sentence without a full stop.
        why: String,
        /// The try of the build.
        tries: Tries,
        /// Whether the build itself was green, and a further stage of tests was red.
        is_built: bool,
    },
    /// The further stages of tests run.
    Qualifying {
        /// Which try.
        tries: Tries,
        /// The try of the build, for the next one.
        built: Tries,
    },
    /// It is green, and waits for its right of way and an open gate.
    Ready,
    /// Canaries start.
    CanaryStarting,
    /// A part of the users has it.
    CanaryWatching {
        /// Who said that it is well.
        well: Option<Signature>,
    },
    /// The canary is bad, and goes back unless a person holds it.
    CanaryBad {
        /// Why, in a sentence without a full stop.
        why: String,
    },
    /// It goes on to all targets.
    Rolling {
        /// How far it was when it last moved.
        there: u32,
        /// Since when.
        began: Moment,
    },
    /// It went wrong on the way to all targets, and goes back unless a person holds it.
    RollBad {
        /// Why, in a sentence without a full stop.
        why: String,
    },
    /// It runs everywhere and is watched.
    Soaking,
    /// A person paused it, or must decide.
    Held {
        /// Where it goes on.
        was: Box<State>,
        /// Why, in a sentence without a full stop.
        why: String,
        /// Who; nobody when the train itself asks.
        by: Option<Actor>,
        /// Whether somebody was asked already.
        is_asked: bool,
    },
    /// It is taken back, the last of its undo list first.
    Undoing {
        /// How it ends then.
        ends: Ending,
        /// Which try of this one.
        tries: Tries,
    },
    /// It could not be taken back: a person must look.
    Stuck {
        /// How it ends once it is taken back.
        ends: Ending,
        /// Why, in a sentence without a full stop.
        why: String,
        /// The last try.
        tries: Tries,
    },
}

/// Which try this is, and how many are left after it. The number names the work, so no two tries share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// Counts from 0, and never begins anew for one thing.
    pub number: u32,
    /// How many more there are.
    pub left: u32,
}

impl Tries {
    /// Returns the first of `max` tries.
    pub fn first(max: u32) -> Self {
        Self { number: 0, left: max.saturating_sub(1) }
    }

    /// Returns the next try, if one is left.
    pub fn next(self) -> Option<Self> {
        Some(Self { number: self.number + 1, left: self.left.checked_sub(1)? })
    }

    /// Returns the next try with `max` tries from it on: a person asked for it.
    pub fn again(self, max: u32) -> Self {
        Self { number: self.number + 1, left: max.saturating_sub(1) }
    }
}

/// A state in one word, those of changes before their trip included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The states and places of these names say what they are.
pub enum Stage {
    Draft,
    Checking,
    Waiting,
    Boarding,
    Preparing,
    Landing,
    Building,
    BuildRed,
    Qualifying,
    Ready,
    CanaryStarting,
    CanaryWatching,
    CanaryBad,
    Rolling,
    RollBad,
    Soaking,
    Held,
    Undoing,
    Stuck,
    Ended,
}

impl Stage {
    /// Every stage, in the order of a trip.
    pub const ALL: [Stage; 20] = [
        Stage::Draft,
        Stage::Checking,
        Stage::Waiting,
        Stage::Boarding,
        Stage::Preparing,
        Stage::Landing,
        Stage::Building,
        Stage::BuildRed,
        Stage::Qualifying,
        Stage::Ready,
        Stage::CanaryStarting,
        Stage::CanaryWatching,
        Stage::CanaryBad,
        Stage::Rolling,
        Stage::RollBad,
        Stage::Soaking,
        Stage::Held,
        Stage::Undoing,
        Stage::Stuck,
        Stage::Ended,
    ];

    /// Returns what may come next when its time is over and nothing was heard; nothing of a stage that is an end. A stage that names
    /// itself is tried again or calls people, and goes on waiting for what it names.
    pub fn successors(self) -> &'static [Stage] {
        match self {
            Stage::Draft => &[Stage::Ended],
            Stage::Checking => &[Stage::Checking, Stage::Ended],
            Stage::Waiting => &[Stage::Waiting],
            Stage::Boarding => &[Stage::Preparing, Stage::Boarding],
            Stage::Preparing => &[Stage::Preparing, Stage::Undoing],
            Stage::Landing => &[Stage::Landing, Stage::Held],
            Stage::Building => &[Stage::BuildRed, Stage::Building, Stage::Boarding, Stage::Undoing],
            Stage::BuildRed => &[Stage::Undoing],
            Stage::Qualifying => &[Stage::Qualifying, Stage::BuildRed, Stage::Boarding, Stage::Undoing],
            Stage::Ready => &[Stage::Ready],
            Stage::CanaryStarting => &[Stage::CanaryBad],
            Stage::CanaryWatching => &[Stage::Undoing],
            Stage::CanaryBad => &[Stage::Undoing],
            Stage::Rolling => &[Stage::RollBad],
            Stage::RollBad => &[Stage::Undoing],
            Stage::Soaking => &[Stage::Ended, Stage::Soaking],
            Stage::Held => &[Stage::Held, Stage::Undoing],
            Stage::Undoing => &[Stage::Undoing, Stage::Stuck],
            Stage::Stuck => &[Stage::Stuck],
            Stage::Ended => &[],
        }
    }

    /// Returns how long it may last before that; nothing of an end.
    pub fn length(self, limits: &Limits) -> Option<Duration> {
        Some(match self {
            Stage::Draft => limits.draft,
            Stage::Checking => limits.checking,
            Stage::Waiting | Stage::Ready => limits.reminder,
            Stage::Boarding => limits.boarding,
            Stage::Preparing => limits.preparing,
            Stage::Landing => limits.landing,
            Stage::Building => limits.building_min,
            Stage::BuildRed => limits.build_red,
            Stage::Qualifying => limits.qualifying,
            Stage::CanaryStarting => limits.canary_starting,
            Stage::CanaryWatching => limits.canary_watching,
            Stage::CanaryBad | Stage::RollBad => limits.bad,
            Stage::Rolling => limits.rolling_still,
            Stage::Soaking => limits.soaking,
            Stage::Held => limits.held_asked,
            Stage::Undoing => limits.undoing,
            Stage::Stuck => limits.stuck,
            Stage::Ended => return None,
        })
    }

    /// Returns it in words, for people and keys.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Draft => "draft",
            Stage::Checking => "checking",
            Stage::Waiting => "queued",
            Stage::Boarding => "boarding",
            Stage::Preparing => "preparing",
            Stage::Landing => "landing",
            Stage::Building => "building",
            Stage::BuildRed => "build red",
            Stage::Qualifying => "qualifying",
            Stage::Ready => "ready",
            Stage::CanaryStarting => "canary starting",
            Stage::CanaryWatching => "canary watched",
            Stage::CanaryBad => "canary bad",
            Stage::Rolling => "rolling",
            Stage::RollBad => "rollout bad",
            Stage::Soaking => "soaking",
            Stage::Held => "held",
            Stage::Undoing => "undoing",
            Stage::Stuck => "stuck",
            Stage::Ended => "ended",
        }
    }
}

impl State {
    /// Returns it in one word.
    pub fn stage(&self) -> Stage {
        match self {
            State::Boarding => Stage::Boarding,
            State::Preparing { .. } => Stage::Preparing,
            State::Landing { .. } => Stage::Landing,
            State::Building { .. } => Stage::Building,
            State::BuildRed { .. } => Stage::BuildRed,
            State::Qualifying { .. } => Stage::Qualifying,
            State::Ready => Stage::Ready,
            State::CanaryStarting => Stage::CanaryStarting,
            State::CanaryWatching { .. } => Stage::CanaryWatching,
            State::CanaryBad { .. } => Stage::CanaryBad,
            State::Rolling { .. } => Stage::Rolling,
            State::RollBad { .. } => Stage::RollBad,
            State::Soaking => Stage::Soaking,
            State::Held { .. } => Stage::Held,
            State::Undoing { .. } => Stage::Undoing,
            State::Stuck { .. } => Stage::Stuck,
        }
    }

    /// Returns where a held one goes on, and any other where it is.
    pub fn beneath(&self) -> &State {
        match self {
            State::Held { was, .. } => was,
            state => state,
        }
    }

    /// Tells whether it is on its way back.
    pub fn goes_back(&self) -> bool {
        matches!(self.beneath(), State::Undoing { .. } | State::Stuck { .. })
    }
}
