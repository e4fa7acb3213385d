//! Why a `depro` command ends without success: its exit code, the original's line, and what a person needs beside it.
//!
//! Invariant: the line goes to stdout, as everything did in the original; reason and advice go to stderr.

use std::process::ExitCode;

use super::talk;

/// The end of a command that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    code: u8,
    line: Option<String>,
    what: String,
    because: Option<String>,
    next: Option<String>,
}

impl Stop {
    /// A wrong flag or configuration: exit code 1, nothing was tried.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { code: 1, line: None, what: what.into(), because: None, next: None }
    }

    /// A deploy that failed, a deadline, or a store that cannot be used: exit code 2.
    pub fn failed(what: impl Into<String>) -> Self {
        Self { code: 2, ..Self::usage(what) }
    }

    /// An address of the store that cannot be used.
    pub fn address(why: impl Into<String>) -> Self {
        Self::usage("cannot use the store's address").because(why).next(
            "give `-server HOST:PORT`, or over the open internet `-server https://HOST:PORT` with `-token`",
        )
    }

    /// Adds the line that the original would print.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.line = Some(line.into());
        self
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.because = Some(why.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, advice: impl Into<String>) -> Self {
        self.next = Some(advice.into());
        self
    }

    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Prints it and returns the exit code.
    pub fn report(&self) -> ExitCode {
        if let Some(line) = &self.line {
            talk::say(line);
        }
        talk::explain(format!("error: {}", self.what));
        if let Some(why) = &self.because {
            talk::explain(format!("  because: {why}"));
        }
        if let Some(advice) = &self.next {
            talk::explain(format!("  next: {advice}"));
        }
        ExitCode::from(self.code)
    }
}
