//! Errors that a person reads: what could not be done, why, and what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why the router cannot start, take a table or keep on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What could not be done.
    #[serde(rename = "error")]
    pub what: String,
    /// Why.
    pub because: String,
    /// What to do about it.
    pub next: String,
}

impl Failure {
    /// Takes the three parts.
    pub fn new(what: impl fmt::Display, because: impl fmt::Display, next: impl fmt::Display) -> Self {
        Failure { what: what.to_string(), because: because.to_string(), next: next.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  because: {}\n  next: {}", self.what, self.because, self.next)
    }
}

impl std::error::Error for Failure {}
