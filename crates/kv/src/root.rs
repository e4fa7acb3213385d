//! The root token: made on the first start with tokens, written to a file that only its owner can read.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::command::Command;
use crate::failure::Failure;
use crate::shared::Shared;
use crate::token::{Kind, Randomness, Token};

/// The file's name in the data directory.
pub const FILE: &str = "root.token";

/// Makes a root token unless the file holds one that is valid. Deleting the file and starting again makes a new one
/// and revokes the old.
///
/// # Errors
/// The file cannot be read or written, or the store not be written.
pub async fn ensure(shared: &Shared, data_dir: &Path) -> Result<(), Failure> {
    let path = data_dir.join(FILE);
    let trouble = |error: &dyn std::fmt::Display| {
        Failure::new(
            format!("cannot keep the root token in {}", path.display()),
            error,
            "check the data directory's permissions and its free space",
        )
    };
    match std::fs::read_to_string(&path) {
        Ok(text) if is_valid(shared, text.trim()) => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(trouble(&error)),
    }
    let random = Randomness::read().map_err(|error| trouble(&error))?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (token, text) = Token::new(&random, FILE, Kind::Root, created);
    write(&path, &text).map_err(|error| trouble(&error))?;
    let older: Vec<String> = {
        let state = shared.read();
        state.tokens().filter(|token| token.name == FILE).map(|token| token.id.clone()).collect()
    };
    shared.submit(Command::SetToken(token)).await.map_err(|error| trouble(&error))?;
    for id in older {
        shared.submit(Command::RevokeToken(id)).await.map_err(|error| trouble(&error))?;
    }
    Ok(())
}

fn is_valid(shared: &Shared, text: &str) -> bool {
    let state = shared.read();
    let token = crate::token::id_of(text).and_then(|id| state.token(id));
    token.is_some_and(|token| token.kind == Kind::Root && token.is(text))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}
