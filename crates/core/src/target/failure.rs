//! What failed on one target, and what is said of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Verb;
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::ReleaseId;

/// Why a release could not be prepared, activated or cleaned on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was tried.
    pub verb: Verb,
    /// The generation it was tried for.
    pub generation: Generation,
    /// Why it failed, in a sentence.
    pub reason: String,
    /// The last lines it printed; at most [`OUTPUT_TAIL_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// That it had succeeded before, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapse: Option<Lapse>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was last tried.
    pub at: Moment,
}

/// What came of a service that had been healthy for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lapse {
    /// It has failed.
    Failed,
    /// It crashed so many times, and is started again each time: only who watches a new release need care.
    Crashed(u32),
}

impl Failure {
    /// Says it of a release in a sentence about whoever `subject` names.
    pub fn blame(&self, subject: &impl fmt::Display, release: &ReleaseId, reason: &str) -> String {
        match self.lapse {
            None => format!("{subject} could not {} `{release}`: {reason}", self.verb),
            Some(_) => format!("{subject} started `{release}`, but {reason}"),
        }
    }
}

/// The most of a script's output that goes into a report; the whole of it is read with `footplate logs`.
pub const OUTPUT_TAIL_BYTES_MAX: usize = 2048;
