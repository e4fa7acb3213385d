//! What a developer command could not do, why, and what to do next.

use std::fmt;

/// A failure in three parts, printed as three lines.
#[derive(Debug)]
pub struct Failure {
    what: String,
    because: String,
    next: String,
    /// Failures of the same run that do not come from this one.
    others: Vec<Failure>,
}

impl Failure {
    /// Takes what we could not do, why, and what the reader can do about it.
    pub fn new(what: impl Into<String>, because: impl fmt::Display, next: impl Into<String>) -> Failure {
        Failure { what: what.into(), because: because.to_string(), next: next.into(), others: Vec::new() }
    }

    /// Puts a second, independent failure behind this one.
    pub fn and(mut self, other: Failure) -> Failure {
        self.others.push(other);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error: {}\n  because: {}\n  next: {}", self.what, self.because, self.next)?;
        self.others.iter().try_for_each(|other| write!(out, "\n\n{other}"))
    }
}
