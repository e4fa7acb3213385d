//! Entries as plain lines of JSON, for backups and for moving a site to another store: `{"key", "flags", "value"}`,
//! the value in base64. Sessions and locks are not exported: they belong to living clients.

use std::io::{BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entry::Entry;
use crate::failure::Failure;

/// One exported entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The full key.
    pub key: String,
    /// The client's number.
    #[serde(default)]
    pub flags: u64,
    /// The bytes.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub value: Vec<u8>,
}

impl Line {
    /// Returns an entry as a line.
    pub fn of(entry: &Entry) -> Line {
        Line { key: entry.key.to_string(), flags: entry.flags, value: entry.value.to_vec() }
    }
}

/// Writes lines of JSON.
///
/// # Errors
/// `out` takes no more.
pub fn write<'a>(lines: impl IntoIterator<Item = &'a Line>, out: &mut impl Write) -> std::io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads lines of JSON; empty ones are skipped.
///
/// # Errors
/// A line cannot be read or is no entry, with its number.
pub fn read(input: impl BufRead) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for (number, text) in input.lines().enumerate() {
        let trouble = |error: &dyn std::fmt::Display| {
            Failure::new(
                format!("cannot read line {} of the export", number + 1),
                error,
                "nothing was imported; export again, or repair the line",
            )
        };
        let text = text.map_err(|error| trouble(&error))?;
        if text.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&text).map_err(|error| trouble(&error))?;
        if line.key.is_empty() {
            return Err(trouble(&"its key is empty"));
        }
        lines.push(line);
    }
    Ok(lines)
}

fn to_base64<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(value))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::{Line, read, write};

    #[test]
    fn lines_survive_writing_and_reading() {
        let line = |key: &str, value: &[u8]| Line { key: key.into(), flags: u64::MAX, value: value.into() };
        let lines = vec![line("a/b c/ü", &[0, 255, 10]), line("empty", b"")];
        let mut text = Vec::new();
        write(&lines, &mut text).unwrap();
        assert_eq!(read(&text[..]).unwrap(), lines);
    }

    #[test]
    fn a_broken_line_is_named() {
        let failure = read("{\"key\":\"a\",\"flags\":0,\"value\":\"\"}\n\nnonsense".as_bytes()).unwrap_err();
        assert!(failure.what.contains("line 3"), "{failure}");
        assert!(read("{\"key\":\"\",\"value\":\"\"}".as_bytes()).is_err());
    }
}
