//! What an administrator adds to the generated configuration: files of lines for its sections.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk::{self, DiskError};

/// The files, without `.cfg`: the first four add to the section of that name, the last holds sections of its own.
const PARTS: [&str; 5] = ["global", "defaults", "frontend", "backend", "sections"];

/// The text of each file that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Extension {
    parts: BTreeMap<String, String>,
}

impl Extension {
    /// Reads the files of a folder; those that are absent add nothing.
    pub(super) fn read(folder: Option<&Path>) -> Result<Self, DiskError> {
        let mut extension = Self::default();
        let Some(folder) = folder else { return Ok(extension) };
        for part in PARTS {
            let path = folder.join(format!("{part}.cfg"));
            match std::fs::read_to_string(&path) {
                Ok(text) => extension.parts.insert(part.to_owned(), text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(disk::failed("read", &path)(error)),
            };
        }
        Ok(extension)
    }

    /// Returns the lines for a section, between marks; nothing when there are none.
    pub(super) fn part(&self, part: &str) -> String {
        let Some(text) = self.parts.get(part).filter(|text| !text.trim().is_empty()) else {
            return String::new();
        };
        let indent = if part == "sections" { "" } else { "    " };
        let lines = text.lines().map(|line| match line.trim() {
            "" => "\n".to_owned(),
            trimmed if !indent.is_empty() => format!("{indent}{trimmed}\n"),
            _ => format!("{line}\n"),
        });
        format!("{indent}# From {part}.cfg\n{}{indent}# End of {part}.cfg\n", lines.collect::<String>())
    }
}
