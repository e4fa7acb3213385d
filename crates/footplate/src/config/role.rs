//! Finding and reading the file of a role: the one that is named, else the one in `/etc/footplate`, else none.

use std::path::Path;

use super::mistake::Mistakes;
use crate::failure::{Exit, Failure};

/// The folder of the roles' files.
const SYSTEM_FOLDER: &str = "/etc/footplate";

/// Tells whether a role has a file: one that is named counts whether it can be read or not.
pub fn is_there(named: Option<&Path>, name: &str) -> bool {
    named.is_some() || Path::new(SYSTEM_FOLDER).join(name).is_file()
}

/// Reads a role's file with `parse(path, text, folder of the file)`; none at all is an empty one.
pub fn read<T: Default>(
    named: Option<&Path>,
    name: &str,
    parse: impl FnOnce(&str, &str, &Path) -> Result<T, Mistakes>,
) -> Result<T, Failure> {
    let usual = Path::new(SYSTEM_FOLDER).join(name);
    let path = named.unwrap_or(&usual);
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let folder = path.parent().unwrap_or(Path::new(""));
            Ok(parse(&path.display().to_string(), &text, folder)?)
        }
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(Failure::new(Exit::Usage, format!("cannot read `{}`", path.display()))
            .because(&error)
            .next("name the right file with `--config`")),
    }
}
