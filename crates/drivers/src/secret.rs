//! A token or a password, which nothing prints by accident.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// A token or a password. `Debug` shows only that it is there, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed by accident.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Reads a file that holds one; white space around it does not count.
    pub fn read(file: &Path) -> Result<Secret, SecretError> {
        let cannot = |source| SecretError { file: file.to_owned(), source };
        let text = fs::read_to_string(file).map_err(cannot)?;
        match text.trim() {
            "" => Err(cannot(io::Error::other("the file is empty"))),
            text => Ok(Secret::new(text)),
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

/// A file that holds no secret that we can read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the token or password in `{}`", .file.display())]
pub struct SecretError {
    /// The file.
    file: PathBuf,
    /// Why.
    #[source]
    source: io::Error,
}

impl SecretError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        "name the right file, one that this user may read".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(Secret(…))");
    }

    #[test]
    fn a_file_with_a_secret_is_read_and_one_without_says_why() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), " hunter2\n").unwrap();
        assert_eq!(Secret::read(file.path()).unwrap().expose(), "hunter2");
        fs::write(file.path(), "\n").unwrap();
        let said = crate::chain(&Secret::read(file.path()).unwrap_err());
        assert!(
            said.starts_with("cannot read the token or password in `/")
                && said.ends_with("the file is empty"),
            "{said}"
        );
    }
}
