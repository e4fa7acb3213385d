//! A token or a password, which nothing prints by accident.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
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

    /// Reads a file that holds one and that its owner alone may read; white space around it does not count.
    pub fn read(file: &Path) -> Result<Secret, SecretError> {
        let cannot = |source| SecretError { file: file.to_owned(), is_exposed: false, source };
        let mut opened = fs::File::open(file).map_err(cannot)?;
        let mode = opened.metadata().map_err(cannot)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let source = io::Error::other(format!("others may read or write it: its mode is 0{mode:o}"));
            return Err(SecretError { is_exposed: true, ..cannot(source) });
        }
        let mut text = String::new();
        opened.read_to_string(&mut text).map_err(cannot)?;
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

/// A file that holds no secret that we can read, or that others can read too.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the token or password in `{}`", .file.display())]
pub struct SecretError {
    /// The file.
    file: PathBuf,
    /// Whether others may read or write it.
    is_exposed: bool,
    /// Why.
    #[source]
    source: io::Error,
}

impl SecretError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self.is_exposed {
            true => format!(
                "`chmod 600 {}`, and change the secret in it if others use this machine",
                self.file.display()
            ),
            false => "name the right file, one that this user may read".to_owned(),
        }
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
            said.starts_with("cannot use the token or password in `/") && said.ends_with("the file is empty"),
            "{said}"
        );
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "hunter2").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let error = Secret::read(file.path()).unwrap_err();
            let said = crate::chain(&error);
            assert!(said.ends_with(&format!("others may read or write it: its mode is 0{mode:o}")), "{said}");
            assert!(error.next().starts_with(&format!("`chmod 600 {}`", file.path().display())));
        }
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(Secret::read(file.path()).unwrap().expose(), "hunter2");
    }
}
