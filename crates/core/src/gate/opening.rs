//! What somebody says who opens a halted gate: the cause, and the test that would have found it.

use serde::{Deserialize, Serialize};

use super::{Halted, TEXT_CHARS_MAX};
use crate::moment::Moment;
use crate::name::Actor;

/// The most questions that are asked, one "why" after the other.
///
/// Five are usual: T. Ohno, *Toyota Production System*, 1978.
const WHYS_MAX: usize = 5;

/// What somebody says who opens a halted gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Who opens it.
    pub by: Actor,
    /// When.
    pub at: Moment,
    /// Why it happened, why that did, and so on; one answer at least, five at most.
    pub whys: Vec<String>,
    /// The test that was written, or why there is none.
    pub test: Test,
}

/// Whether there is a test now that fails for what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Where it is: an address or a path.
    Written(String),
    /// Why none can be written.
    Impossible(String),
}

/// A halt that is over, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// What it had been.
    pub halted: Halted,
    /// What was said.
    pub opening: Opening,
}

impl Opening {
    /// Returns what is missing in it or too long, as (because, next).
    pub(super) fn mistake(&self) -> Option<(String, String)> {
        let count = self.whys.len();
        if count == 0 {
            let next = "say it with `--why \"…\"`, once for each why and because, or answer on a terminal";
            return Some(("nobody has said yet why it happened".to_owned(), next.to_owned()));
        }
        if count > WHYS_MAX {
            let because = format!("{count} answers were given, and {WHYS_MAX} are the most");
            return Some((because, "keep those that lead to the cause".to_owned()));
        }
        let test = match &self.test {
            Test::Written(test) => ("the test", test),
            Test::Impossible(why) => ("why no test is possible", why),
        };
        let whys = self.whys.iter().map(|why| ("an answer", why));
        let mut wrong = whys.chain([test]).filter_map(|(what, text)| Some((what, fault(text)?)));
        let (what, fault) = wrong.next()?;
        Some((format!("{what} {fault}"), "write it anew".to_owned()))
    }
}

impl std::fmt::Display for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, why) in (1..).zip(&self.whys) {
            write!(f, "why {number}: {why}; ")?;
        }
        match &self.test {
            Test::Written(test) => write!(f, "test: {test}"),
            Test::Impossible(why) => write!(f, "no test, because {why}"),
        }
    }
}

/// Returns what is wrong with a text that a person leaves at a gate.
pub(super) fn fault(text: &str) -> Option<String> {
    match text.chars().count() {
        _ if text.trim().is_empty() => Some("is empty".to_owned()),
        _ if text.chars().any(char::is_control) => Some("has control characters".to_owned()),
        count if count > TEXT_CHARS_MAX => {
            Some(format!("has {count} characters, and {TEXT_CHARS_MAX} are the most"))
        }
        _ => None,
    }
}
