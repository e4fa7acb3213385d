//! A text that is never printed: tokens and passwords.

use std::fmt;
use std::path::Path;

use crate::failure::{Exit, Failure};

/// A token or a password. `Debug` and error messages show only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed by accident.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads a file that holds a token; white space around it does not count.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let what = || format!("cannot read the token in `{}`", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::new(Exit::Usage, what()).because(&error).next("name the right file with `--token-file`")
        })?;
        match text.trim() {
            "" => Err(Failure::new(Exit::Usage, what()).because_of("the file is empty")),
            token => Ok(Self::new(token)),
        }
    }

    /// Returns the text itself, to send it and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(Secret(…))");
    }
}
