//! The rules of a lane: when changes land, how many travel together, and how long everything may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::release::duration_millis;

/// The rules of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// When the mainline gets a trip's changes.
    pub land_at: LandAt,
    /// The most changes of one trip; merge first takes one.
    pub batch_max: usize,
    /// How many trips may be under way before production is done with them; merge first takes one.
    pub ahead_max: usize,
    /// How often what a build tool suspects to be a flake is tried again before it counts as red.
    pub flake_retries: u32,
    /// How often anything else is tried before it has failed.
    pub tries_max: u32,
    /// How often a candidate may be made anew before the trip ends.
    pub rounds_max: u32,
    /// What happens when nobody looks at a canary of which nothing bad is known.
    pub on_silence: OnSilence,
    /// Whether a trip that is watched after it arrived keeps others out of production.
    pub soak_holds: bool,
    /// How long everything may take.
    pub limits: Limits,
}

/// When the mainline gets a trip's changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LandAt {
    /// Before they are built: merge first. Taking them back takes a revert.
    First,
    /// Once they are green and have the right of way.
    #[default]
    AfterBuild,
    /// Once the canary is well.
    AfterCanary,
    /// Once they run everywhere.
    AfterRoll,
}

/// What nobody's word at a canary means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSilence {
    /// It is taken back when the time is over.
    #[default]
    TakeBack,
    /// It goes on as soon as it is proved not to be worse, and is taken back when the time is over without that.
    GoWhenProved,
}

/// How long everything may take; `docs/decisions/0016-the-train-orders-and-observes.md` says where the defaults come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// A draft is thrown away after this.
    #[serde(with = "duration_millis")]
    pub draft: Duration,
    /// One try to learn whether a change may ship.
    #[serde(with = "duration_millis")]
    pub checking: Duration,
    /// How often those who wait are told so.
    #[serde(with = "duration_millis")]
    pub reminder: Duration,
    /// How long a trip waits for company while another is under way.
    #[serde(with = "duration_millis")]
    pub boarding: Duration,
    /// One try to make a candidate.
    #[serde(with = "duration_millis")]
    pub preparing: Duration,
    /// One try to move the mainline.
    #[serde(with = "duration_millis")]
    pub landing: Duration,
    /// The least time that a build gets; otherwise three times what the slowest of twenty took.
    #[serde(with = "duration_millis")]
    pub building_min: Duration,
    /// How long a person may look at a red build.
    #[serde(with = "duration_millis")]
    pub build_red: Duration,
    /// All further stages of tests.
    #[serde(with = "duration_millis")]
    pub qualifying: Duration,
    /// How long canaries may take to start.
    #[serde(with = "duration_millis")]
    pub canary_starting: Duration,
    /// The least time that a canary is watched.
    #[serde(with = "duration_millis")]
    pub canary_watch_min: Duration,
    /// How long a person may look at a canary.
    #[serde(with = "duration_millis")]
    pub canary_watching: Duration,
    /// How long a person may stop what is bad from being taken back.
    #[serde(with = "duration_millis")]
    pub bad: Duration,
    /// How long a rollout may stand still.
    #[serde(with = "duration_millis")]
    pub rolling_still: Duration,
    /// How long a rollout may take.
    #[serde(with = "duration_millis")]
    pub rolling: Duration,
    /// How long a trip is watched once it has arrived.
    #[serde(with = "duration_millis")]
    pub soaking: Duration,
    /// When somebody is asked about what is held.
    #[serde(with = "duration_millis")]
    pub held_asked: Duration,
    /// How long anything may be held.
    #[serde(with = "duration_millis")]
    pub held: Duration,
    /// One try to undo one thing.
    #[serde(with = "duration_millis")]
    pub undoing: Duration,
    /// How often people are called to what is stuck.
    #[serde(with = "duration_millis")]
    pub stuck: Duration,
}

impl Settings {
    /// Returns how many changes may travel together.
    pub fn batch(&self) -> usize {
        match self.land_at {
            LandAt::First => 1,
            LandAt::AfterBuild | LandAt::AfterCanary | LandAt::AfterRoll => self.batch_max.max(1),
        }
    }

    /// Returns how many trips may be on their way to production at once.
    pub fn ahead(&self) -> usize {
        match self.land_at {
            LandAt::First => 1,
            LandAt::AfterBuild | LandAt::AfterCanary | LandAt::AfterRoll => self.ahead_max.max(1),
        }
    }
}

impl Default for Settings {
    /// Returns a candidate first, landed when it is green and has its right of way; four changes a trip, three trips ahead.
    fn default() -> Self {
        Self {
            land_at: LandAt::default(),
            batch_max: 4,
            ahead_max: 3,
            flake_retries: 1,
            tries_max: 3,
            rounds_max: 20,
            on_silence: OnSilence::default(),
            soak_holds: false,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        Self {
            draft: minutes(24 * 60),
            checking: minutes(2),
            reminder: minutes(60),
            boarding: minutes(2),
            preparing: minutes(5),
            landing: minutes(2),
            building_min: minutes(20),
            build_red: minutes(15),
            qualifying: minutes(30),
            canary_starting: minutes(10),
            canary_watch_min: minutes(5),
            canary_watching: minutes(20),
            bad: minutes(1),
            rolling_still: minutes(10),
            rolling: minutes(120),
            soaking: minutes(15),
            held_asked: minutes(30),
            held: minutes(120),
            undoing: minutes(10),
            stuck: minutes(15),
        }
    }
}
