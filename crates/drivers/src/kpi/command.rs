//! A program of the controller's folder for such: it prints one JSON object as its last line.
//!
//! Invariants: only a file of that folder is run, which nobody but its owner and group may write; it has a clean environment, an empty
//! standard input, a deadline, and is killed with all that it started.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::verdict::source::{self, Asked, Names};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::http::read;
use super::{ASK_WITHIN, Ask, KpiError, KpiOpenError, Settings, Told};
use crate::http::excerpt;
use crate::shell::{self, Script};

/// How much earlier than whoever asks the program's time is over, so that it is said what it was.
const EARLIER: Duration = Duration::from_millis(200);

/// A program, and what its output must have.
pub(super) struct Command {
    name: String,
    folder: PathBuf,
    arguments: Vec<OsString>,
    says_events: bool,
}

impl Command {
    /// Prepares to run it; runs nothing.
    pub fn open(
        source: &source::Command,
        says_events: bool,
        names: &Names,
        settings: &Settings,
    ) -> Result<Self, KpiOpenError> {
        let folder = settings.commands.clone().ok_or(KpiOpenError::NoCommands)?;
        let arguments = source.arguments.iter().map(|text| names.fill(text, str::to_owned).into()).collect();
        Ok(Self { name: source.name.clone(), folder, arguments, says_events })
    }

    fn failed(&self, why: impl Into<String>) -> KpiError {
        KpiError::Command { name: self.name.clone(), why: why.into() }
    }

    /// Finds the program, and that strangers could not have written it.
    fn program(&self) -> Result<PathBuf, String> {
        let path = self.folder.join(&self.name);
        for place in [&self.folder, &path] {
            let found = std::fs::metadata(place);
            let found = found.map_err(|error| format!("{} cannot be looked at: {error}", place.display()))?;
            if found.permissions().mode() & 0o002 != 0 {
                return Err(format!("anybody may write {}", place.display()));
            }
        }
        Ok(path)
    }
}

#[async_trait]
impl Ask for Command {
    async fn fetch(&self) -> Result<Told, KpiError> {
        let program = self.program().map_err(|why| self.failed(why))?;
        let mut script = Script::new(program, &self.folder)
            .arguments(self.arguments.iter().cloned())
            .deadline(ASK_WITHIN - EARLIER);
        script.grace = Duration::ZERO;
        let run = shell::run(&script, &CancellationToken::new()).await;
        let finished = run.map_err(|error| self.failed(crate::chain(&error)))?;
        let last = finished.output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !finished.succeeded() {
            let said = excerpt(last);
            let colon = if said.is_empty() { "" } else { ": " };
            return Err(self.failed(format!("{}{colon}{said}", finished.end)));
        }
        let answer: Value =
            serde_json::from_str(last).map_err(|_| self.failed("its last line is no JSON"))?;
        let text = |key: &str| format!("/{key}");
        let ask = match self.says_events {
            true => Asked::Counters {
                canary: text("canary"),
                canary_of: text("canary_of"),
                baseline: text("baseline"),
                baseline_of: text("baseline_of"),
            },
            false => {
                let baseline = answer.get("baseline").map(|_| text("baseline"));
                Asked::Number { canary: text("canary"), baseline }
            }
        };
        read(&answer, &ask).map_err(|why| self.failed(why))
    }
}
