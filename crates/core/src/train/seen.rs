//! What the controller saw of a lane in one look: whole, so that a lost, repeated or late look does no harm.

use std::collections::{BTreeMap, BTreeSet};

use super::WorkKey;
use crate::gate::Door;
use crate::moment::Moment;
use crate::name::{AppPath, ChangeId, Version};
use crate::rollout::{Judged, Phase, Rollout, describe};
use crate::verdict::Standing;

/// One look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it was taken.
    pub now: Moment,
    /// The gates of the apps; one that is not known is taken to be closed.
    pub doors: BTreeMap<AppPath, Door>,
    /// The changes as their source has them; of one that is not there nothing is known.
    pub changes: BTreeMap<ChangeId, ChangeSeen>,
    /// What is known of each work, by its key. Of a key that nobody asks for any more nothing is read.
    pub works: BTreeMap<WorkKey, Work>,
}

/// One change as its source has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSeen {
    /// Whether it still wants to ship.
    pub is_open: bool,
    /// Its newest commit.
    pub head: Version,
}

/// What is known of one work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is under way.
    Running {
        /// Whether there is an artifact by now, when it is a build.
        has_artifact: bool,
    },
    /// The change may ship, the build is green, the stages passed.
    Passed,
    /// It may not, it is red, or they failed.
    Red {
        /// Why, in a sentence without a full stop.
        why: String,
        /// Whether a flake is suspected.
        is_flaky: bool,
        /// Whether there is an artifact all the same.
        has_artifact: bool,
    },
    /// The candidate stands.
    Made {
        /// Upon which commit.
        base: Version,
        /// As which commit.
        commit: Version,
    },
    /// No candidate: a change does not go together with what is before it.
    Conflict {
        /// Which.
        change: ChangeId,
        /// With what, in a sentence without a full stop.
        why: String,
    },
    /// The mainline has it.
    Landed {
        /// The mainline's newest commit by that.
        tip: Version,
    },
    /// The mainline was moved by somebody else: it does not stand where the candidate was made.
    Moved,
    /// The rollouts that were ordered, by their apps.
    Moving(BTreeMap<AppPath, Moving>),
    /// It is undone, or there was nothing to undo.
    Undone,
    /// It was tried and did not come about.
    Failed {
        /// Why, in a sentence without a full stop.
        why: String,
    },
}

/// How far one rollout is, as the train counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moving {
    /// No user has anything of it.
    Starting,
    /// Some requests are the canary's.
    Canary {
        /// What its judge has proved.
        standing: Standing,
        /// How many steps are done.
        there: u32,
    },
    /// It goes on beyond the canary.
    Rolling {
        /// How many steps or targets are done.
        there: u32,
    },
    /// Every target runs it.
    Arrived,
    /// It goes back, went back, or does harm: it is not to stay.
    Bad {
        /// Why, in a sentence without a full stop.
        why: String,
    },
}

impl Moving {
    /// Returns how far all these apps are together: the worst of them, and of the well ones the one that is least far. One of which
    /// nothing is known has not started.
    pub fn together(moving: &BTreeMap<AppPath, Moving>, apps: &BTreeSet<AppPath>) -> Moving {
        let each = || apps.iter().map(|app| moving.get(app).unwrap_or(&Moving::Starting));
        let there = each().map(Moving::there).sum();
        let worst = each().min_by_key(|moving| moving.rank()).unwrap_or(&Moving::Starting);
        match worst {
            Moving::Rolling { .. } => Moving::Rolling { there },
            Moving::Canary { standing, .. } => Moving::Canary { standing: *standing, there },
            other => other.clone(),
        }
    }

    /// Reads a rollout's record, and what its judge says of it.
    pub fn of(rollout: &Rollout, judged: Option<&Judged>) -> Moving {
        let judged = judged.filter(|judged| judged.rollout == rollout.number);
        let standing = judged.map_or(Standing::Unknown, |judged| judged.standing);
        match &rollout.phase {
            Phase::Preparing { .. } | Phase::Holding { .. } => Moving::Starting,
            Phase::Switching { .. } => Moving::Rolling { there: 0 },
            Phase::Stepping { .. } if standing == Standing::Worse => {
                Moving::Bad { why: judged.map(|judged| judged.sentence.clone()).unwrap_or_default() }
            }
            Phase::Stepping { step, .. } if rollout.is_side_by_side() => {
                Moving::Canary { standing, there: *step }
            }
            Phase::Stepping { step, .. } if rollout.has_met_users() => Moving::Rolling { there: *step },
            Phase::Stepping { .. } => Moving::Starting,
            Phase::TurningBack { why, .. } => Moving::Bad { why: why.sentence.clone() },
            Phase::Ended { outcome, .. } if outcome.arrived() => Moving::Arrived,
            Phase::Ended { outcome, .. } => Moving::Bad { why: describe(rollout, outcome) },
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Moving::Bad { .. } => 0,
            Moving::Starting => 1,
            Moving::Canary { standing: Standing::Worse, .. } => 2,
            Moving::Canary { standing: Standing::Unknown, .. } => 3,
            Moving::Canary { standing: Standing::NotWorse, .. } => 4,
            Moving::Rolling { .. } => 5,
            Moving::Arrived => 6,
        }
    }

    fn there(&self) -> u32 {
        match self {
            Moving::Rolling { there } | Moving::Canary { there, .. } => *there,
            _ => 0,
        }
    }
}
