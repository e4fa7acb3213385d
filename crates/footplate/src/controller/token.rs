//! The controller's tokens: the operator's, in a file that only its owner may read, and the agents', derived from it.
//!
//! Invariant: a token is compared in constant time and never printed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Who shows which token.
#[derive(Clone)]
pub struct Tokens {
    operator: String,
    agents: String,
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Everything.
    Operate,
    /// Fetch artifacts and hand in output.
    Fetch,
}

impl Tokens {
    /// Reads the operator's token from `file`, or makes one there (mode 0600).
    pub fn open(file: &Path) -> io::Result<Tokens> {
        let operator = match fs::read_to_string(file) {
            Ok(text) => checked(file, text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(file)?,
            Err(error) => return Err(error),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, operator.as_bytes());
        let agents = hex(hmac::sign(&key, b"footplate agents 1").as_ref());
        Ok(Tokens { operator, agents })
    }

    /// Returns the token that agents show; it goes into their assignments.
    pub fn agents(&self) -> &str {
        &self.agents
    }

    /// Returns the operator's token, for the command line of the same process.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// Returns what the bearer of `shown` may do, if anything.
    pub fn right(&self, shown: &str) -> Option<Right> {
        if same(shown, &self.operator) {
            Some(Right::Operate)
        } else if same(shown, &self.agents) {
            Some(Right::Fetch)
        } else {
            None
        }
    }
}

fn checked(file: &Path, text: String) -> io::Result<String> {
    let mode = fs::metadata(file)?.permissions().mode() & 0o077;
    if mode != 0 {
        let why = format!("{} can be read by others; `chmod 600` it, and change the token", file.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let token = text.trim().to_owned();
    if token.len() < 32 {
        let why = format!("{} holds no token of at least 32 characters", file.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(token)
}

fn create(file: &Path) -> io::Result<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let token = hex(&bytes);
    // Whole or not at all: half a token would stop every later start.
    let draft = file.with_extension("new");
    let mut opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    opened.write_all(token.as_bytes())?;
    opened.write_all(b"\n")?;
    opened.sync_all()?;
    fs::rename(&draft, file)?;
    Ok(token)
}

/// Compares keyed digests of both, so that the time taken tells nothing of the token.
fn same(shown: &str, token: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"footplate token comparison");
    hmac::verify(&key, shown.as_bytes(), hmac::sign(&key, token.as_bytes()).as_ref()).is_ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("token");
        let first = Tokens::open(&file).expect("a new token");
        let again = Tokens::open(&file).expect("the same token");
        assert_eq!(first.operator, again.operator);
        assert_eq!(first.right(first.operator()), Some(Right::Operate));
        assert_eq!(first.right(first.agents()), Some(Right::Fetch));
        assert_eq!(first.right("no"), None);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(Tokens::open(&file).is_err(), "a token that others can read is refused");
    }
}
