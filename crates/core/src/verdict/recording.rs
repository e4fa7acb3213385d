//! Everything a verdict rests on, as it was heard: replaying it gives the same verdict, bit by bit, on every machine.
//!
//! Invariant: a recording of an older format is either replayed as it was judged then, or refused; never judged by other rules.

use serde::{Deserialize, Serialize};

use super::cuts::Cuts;
use super::finding::Verdict;
use super::judge::{Judge, OutOfOrder};
use super::kpi::{Impossible, Plan};
use super::reading::Reading;
use crate::moment::Moment;

/// The format that is written, and the only one so far. It rises when the same readings would give another verdict.
pub const FORMAT: u32 = 1;

/// What was heard of one judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// By which rules it was judged.
    pub format: u32,
    /// By what it was judged.
    pub plan: Plan,
    /// When it began.
    pub began: Moment,
    /// The frozen times, in microseconds.
    #[serde(default)]
    pub cuts: Cuts,
    /// What was heard, in order.
    pub readings: Vec<Reading>,
}

/// Why a recording cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReplayed {
    /// It was judged by other rules.
    #[error("it is of format {0}, and this program replays format {FORMAT}; use the version that wrote it")]
    Format(u32),
    /// Nobody could have judged by its plan.
    #[error(transparent)]
    Plan(#[from] Impossible),
    /// Its readings are not in order.
    #[error(transparent)]
    Order(#[from] OutOfOrder),
}

impl Recording {
    /// Begins a recording.
    pub fn new(plan: Plan, began: Moment, cuts: Cuts) -> Self {
        Self { format: FORMAT, plan, began, cuts, readings: Vec::new() }
    }

    /// Judges it again, up to the last reading. Ask the judge for the verdict of any moment from then on.
    pub fn replay(&self) -> Result<Judge, NotReplayed> {
        if self.format != FORMAT {
            return Err(NotReplayed::Format(self.format));
        }
        let mut judge = Judge::new(self.plan.clone(), self.began)?;
        for reading in &self.readings {
            judge.hear(reading)?;
        }
        Ok(judge)
    }

    /// Returns the verdict at the end of it.
    pub fn verdict(&self) -> Result<Verdict, NotReplayed> {
        let judge = self.replay()?;
        Ok(judge.verdict(judge.latest()))
    }
}
