//! How a rollout ended, in one sentence and one class; every place that shows it prints these words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Rollout;
use crate::name::{Actor, ReleaseId, Target};

/// The most failed targets that an outcome names; the reports hold them all.
pub const NAMED_MAX: usize = 20;

/// The most characters of a target's reason that a rollout repeats; its report holds the rest.
pub const REASON_CHARS_MAX: usize = 160;

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Every target that takes part runs `to`.
    Done,
    /// `to` runs, except on targets whose activation failed (policy `keep`); their agents go on trying.
    DoneExcept {
        /// Failed targets (`host/group`) with the reason of each; at most [`NAMED_MAX`].
        failed: BTreeMap<String, String>,
        /// How many failed besides.
        #[serde(default)]
        more: u32,
    },
    /// Nothing was switched, because this failed.
    Failed {
        /// Why.
        why: Why,
        /// Whether a deadline passed (exit code 4) rather than something failing (exit code 1).
        deadline: bool,
    },
    /// A person stopped it before the switch; nothing was switched.
    Aborted {
        /// Who.
        by: Actor,
    },
    /// Targets were switched and taken back.
    TurnedBack {
        /// Why.
        why: Why,
        /// Targets that had not come back when it ended; at most [`NAMED_MAX`]. Their agents go on trying.
        missing: BTreeSet<Target>,
        /// How many besides.
        #[serde(default)]
        more: u32,
    },
    /// It failed after the switch, and nothing ran before that it could go back to: what was activated stays.
    LeftAsIs {
        /// Why.
        why: Why,
    },
    /// A person rolled back to another release or deployed one in its place; the rollout after it does so.
    Replaced {
        /// Who.
        by: Actor,
        /// Where to.
        to: ReleaseId,
    },
}

/// Why something ended or turned back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Why {
    /// In a sentence without a full stop.
    pub sentence: String,
    /// The last lines that the failed script printed, if one did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

impl From<String> for Why {
    fn from(sentence: String) -> Self {
        Self { sentence, output: String::new() }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Returns as much of a target's reason as a rollout repeats, without control characters.
pub(super) fn short(reason: &str) -> String {
    reason.chars().filter(|character| !character.is_control()).take(REASON_CHARS_MAX).collect()
}

/// What an outcome means to a program that waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The new release runs. Exit code 0.
    Done,
    /// Something failed or was rolled back. Exit code 1.
    Failed,
    /// A person stopped it. Exit code 1.
    Aborted,
    /// A deadline passed. Exit code 4.
    Deadline,
}

impl Class {
    /// Returns the exit code of a command that waited for this end.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Done => 0,
            Class::Failed | Class::Aborted => 1,
            Class::Deadline => 4,
        }
    }
}

impl Outcome {
    /// Returns the end of a rollout that went back, with the targets that had not come back by then.
    pub(super) fn turned_back(why: Why, missing: BTreeSet<Target>) -> Self {
        let more = u32::try_from(missing.len().saturating_sub(NAMED_MAX)).unwrap_or(u32::MAX);
        Outcome::TurnedBack { why, missing: missing.into_iter().take(NAMED_MAX).collect(), more }
    }

    /// Returns the class. `DoneExcept` counts as failed: something does not run what was asked for.
    pub fn class(&self) -> Class {
        match self {
            Outcome::Done => Class::Done,
            Outcome::Failed { deadline: true, .. } => Class::Deadline,
            Outcome::Aborted { .. } => Class::Aborted,
            Outcome::DoneExcept { .. }
            | Outcome::Failed { .. }
            | Outcome::TurnedBack { .. }
            | Outcome::LeftAsIs { .. }
            | Outcome::Replaced { .. } => Class::Failed,
        }
    }

    /// Tells whether nothing is left of it: no target was switched, or every one of them came back.
    pub fn is_undone(&self) -> bool {
        match self {
            Outcome::Failed { .. } | Outcome::Aborted { .. } => true,
            Outcome::TurnedBack { missing, more, .. } => missing.is_empty() && *more == 0,
            Outcome::Done
            | Outcome::DoneExcept { .. }
            | Outcome::LeftAsIs { .. }
            | Outcome::Replaced { .. } => false,
        }
    }

    /// Returns the last lines of the script that failed it, if one did.
    pub fn output(&self) -> &str {
        match self {
            Outcome::Failed { why, .. } | Outcome::TurnedBack { why, .. } | Outcome::LeftAsIs { why } => {
                &why.output
            }
            _ => "",
        }
    }

    /// Tells whether `to` is what the app runs from now on.
    pub fn arrived(&self) -> bool {
        matches!(self, Outcome::Done | Outcome::DoneExcept { .. })
    }

    /// Tells whether the orders that lead to `to` still stand.
    pub(super) fn keeps_forward_orders(&self) -> bool {
        self.arrived() || matches!(self, Outcome::LeftAsIs { .. })
    }
}

/// Returns the sentence that says how this rollout ended.
pub fn describe(rollout: &Rollout, outcome: &Outcome) -> String {
    let (does, to) = (|one, several| rollout.subject_does(one, several), &rollout.to.id);
    let stays = rollout.former_does("stays live", "stay live");
    let stays = stays.unwrap_or_else(|| "nothing was switched".to_owned());
    let was_not_moved = || format!("{} not moved to `{to}`", does("was", "were"));
    match outcome {
        Outcome::Done => {
            format!("{} `{to}` on {}", does("runs", "run"), count(rollout.required().count(), "target"))
        }
        Outcome::DoneExcept { failed, more } => {
            format!("{} `{to}` except on {}", does("runs", "run"), reasons(failed, *more))
        }
        Outcome::Failed { why, .. } => format!("{}: {why}; {stays}", was_not_moved()),
        Outcome::Aborted { by } => format!("{}: {by} aborted it; {stays}", was_not_moved()),
        Outcome::TurnedBack { why, missing, more } => {
            let went = match rollout.former() {
                Some(former) => format!("{} back to {former}", does("went", "went")),
                None => format!("{} taken away again", does("was", "were")),
            };
            let missing = Few::new(missing.iter().map(Target::to_string), *more as usize);
            let tail = if missing.is_empty() { String::new() } else { format!("; not back yet: {missing}") };
            format!("{went}: {why}{tail}")
        }
        Outcome::Replaced { by, to: other } => {
            format!("{}: {by} ordered `{other}` instead", was_not_moved())
        }
        Outcome::LeftAsIs { why } => {
            format!(
                "{} everywhere: {why}; there is nothing to go back to, so `{to}` stays where it was activated",
                was_not_moved()
            )
        }
    }
}

/// A handful of names and how many more there are: `web-1, web-2 and 37 more`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Few {
    named: Vec<String>,
    more: usize,
}

impl Few {
    const NAMED: usize = 5;

    /// Returns the first names, counting the rest and `more`.
    pub fn new(names: impl IntoIterator<Item = String>, more: usize) -> Self {
        let mut names = names.into_iter();
        let named: Vec<String> = names.by_ref().take(Self::NAMED).collect();
        Self { named, more: more + names.count() }
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.more == 0
    }
}

impl fmt::Display for Few {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = (self.more > 0).then(|| format!("{} more", self.more));
        let names: Vec<&str> = self.named.iter().chain(&more).map(String::as_str).collect();
        match names.split_last() {
            None => f.write_str("none"),
            Some((last, [])) => f.write_str(last),
            Some((last, others)) => write!(f, "{} and {last}", others.join(", ")),
        }
    }
}

/// Returns `1 host`, `3 hosts`.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn reasons(failed: &BTreeMap<String, String>, more: u32) -> String {
    let each: Vec<String> = failed.iter().map(|(target, reason)| format!("{target} ({reason})")).collect();
    Few::new(each, more as usize).to_string()
}
