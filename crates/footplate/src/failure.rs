//! What went wrong, in three parts: what we could not do, why, and what to do next.
//!
//! Invariants: [`Failure::report`] is the only place that prints an error and the exit code is decided by [`Exit`]
//! alone; a message has no control characters, so that no host can repaint an operator's terminal.

use std::error::Error;
use std::process::ExitCode;

use serde::Serialize;

/// How a command ended, as scripts see it. `docs/reference/exit-codes.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// It failed, or a rollout was rolled back.
    Failed = 1,
    /// The command line or a configuration file is wrong; nothing was tried.
    Usage = 2,
    /// It was understood and refused; nothing was changed.
    Refused = 3,
    /// A deadline passed.
    Deadline = 4,
    /// The controller or the store could not be reached.
    Unreachable = 5,
    /// The person stopped watching (Ctrl-C); what was begun goes on.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What we could not do: "cannot promote `shop`".
    #[serde(rename = "error")]
    what: String,
    /// Why, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    because: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Text to show as it is: underlined mistakes of a file, the output of a hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
    /// The exit code it ends with.
    #[serde(serialize_with = "exit_as_number")]
    exit: Exit,
}

fn exit_as_number<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*exit as u8)
}

impl Failure {
    /// Says what could not be done, and the exit code that stands for it.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { what: what.into(), because: Vec::new(), next: None, details: None, exit }
    }

    /// Says what was being done when this failed; what was said first becomes the first reason.
    #[must_use]
    pub fn during(mut self, what: impl Into<String>) -> Self {
        self.because.insert(0, std::mem::replace(&mut self.what, what.into()));
        self
    }

    /// Adds an error and everything that caused it.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        self.because.extend(footplate_drivers::causes(error));
        self.because.dedup();
        self
    }

    /// Adds a reason in words.
    #[must_use]
    pub fn because_of(mut self, reason: impl Into<String>) -> Self {
        self.because.push(reason.into());
        self
    }

    /// Says what to do about it; the last call counts.
    #[must_use]
    pub fn next(mut self, advice: impl Into<String>) -> Self {
        self.next = Some(advice.into());
        self
    }

    /// Adds text that is shown as it is, below the reasons.
    #[must_use]
    pub fn details(mut self, text: impl Into<String>) -> Self {
        self.details = Some(text.into());
        self
    }

    /// Returns the innermost thing that is known: the first reason, or else what could not be done.
    pub fn gist(&self) -> &str {
        self.because.first().unwrap_or(&self.what)
    }

    /// Returns the exit code it ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the error as people read it, without colour.
    pub fn render(&self) -> String {
        let mut lines = format!("error: {}\n", hang(&self.what, 7));
        for reason in &self.because {
            lines.push_str(&format!("  because: {}\n", hang(reason, 11)));
        }
        if let Some(details) = &self.details {
            lines.push_str(&format!("\n{}\n\n", printable(details.trim_end())));
        }
        if let Some(next) = &self.next {
            lines.push_str(&format!("  next: {}\n", hang(next, 8)));
        }
        lines
    }

    /// Prints the error to stderr, as JSON when `json` is set, and returns the process's exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        if json {
            anstream::eprintln!("{}", as_json(self));
        } else {
            anstream::eprint!("{}", painted(&self.render()));
        }
        self.exit.into()
    }
}

/// Returns a value as JSON for people's terminals too: what could steer one is escaped inside its texts, the only place where it can be.
///
/// JSON itself demands that only of characters below U+0020.
pub fn as_json<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value).expect("what we say has text keys only");
    let is_control = |c: char| c.is_control() && c != '\n';
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_control(c) {
            true => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => safe.push(c),
        }
    }
    safe
}

/// Returns `text` without characters that steer a terminal; line breaks and tabs stay.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// Returns `text` as one line that steers no terminal.
pub fn printable_line(text: &str) -> String {
    printable(text).replace('\n', " ")
}

fn hang(text: &str, width: usize) -> String {
    printable(text).trim_end().replace('\n', &format!("\n{}", " ".repeat(width)))
}

/// Colours the three words that open a part; `anstream` takes the colours away where they do not belong.
fn painted(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let painted =
            [("error:", "\x1b[1;31m"), ("  because:", "\x1b[33m"), ("  next:", "\x1b[36m")].iter().find_map(
                |(word, colour)| line.strip_prefix(word).map(|rest| format!("{colour}{word}\x1b[0m{rest}")),
            );
        lines.push_str(&painted.unwrap_or_else(|| line.to_owned()));
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot reach consul at 127.0.0.1:8500")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let refused = Outer(std::io::Error::other("connection refused"));
        let failure = Failure::new(Exit::Unreachable, "cannot deploy `shop`")
            .because(&refused)
            .next("check `store` in controller.toml");
        assert_eq!(
            failure.render(),
            "error: cannot deploy `shop`\n  because: cannot reach consul at 127.0.0.1:8500\n  \
             because: connection refused\n  next: check `store` in controller.toml\n"
        );
        assert_eq!(failure.exit(), Exit::Unreachable);
    }

    #[test]
    fn a_failure_as_json_carries_its_exit_code() {
        let failure = Failure::new(Exit::Refused, "no").because_of("it is locked");
        let json = serde_json::to_value(&failure).expect("text only");
        assert_eq!(json, serde_json::json!({ "error": "no", "because": ["it is locked"], "exit": 3 }));
    }

    #[test]
    fn json_steers_no_terminal_and_means_the_same() {
        let said = "a\u{1b}[2J\u{7f}\u{9b}31m\u{85}é\n";
        let text = as_json(&[said]);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).expect("it is JSON"), [said]);
    }

    #[test]
    fn a_host_can_not_repaint_the_terminal() {
        let failure = Failure::new(Exit::Failed, "hook failed").details("\x1b[2Jall is well\n");
        assert!(!failure.render().contains('\x1b'));
    }
}
