//! From a commit's files to an artifact.
//!
//! Contract of every driver: it works only in the folder it is given, within a deadline, and what it makes is packed
//! reproducibly. [`Workshop`] gives such folders and removes what a killed process left of them.

pub mod command;
mod workshop;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::archive::{PackError, Packed};
use crate::disk::DiskError;
use crate::shell::{End, ShellError};

pub use command::Command;
pub use workshop::{Workplace, Workshop};

/// What is to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The command line, run by `sh -c` in the commit's files; nothing to run when absent.
    pub command: Option<String>,
    /// The folder that becomes the artifact, below the files; all of them when absent.
    pub output: Option<PathBuf>,
    /// Further variables: `VERSION`, `COMMIT`, …
    pub environment: Vec<(String, OsString)>,
    /// How long the command may run.
    pub deadline: Duration,
    /// The modification time of everything in the artifact, in seconds since 1970: the commit's.
    pub modified: u64,
}

/// Takes the lines of a build's log.
pub type EachLine<'a> = dyn Fn(&str) + Send + Sync + 'a;

/// Something that builds.
#[async_trait]
pub trait Build: Send + Sync {
    /// Builds what lies in `tree` and packs the result into the new file `destination`.
    ///
    /// `each_line` gets the log, line by line, as it comes.
    async fn build(
        &self,
        tree: &Path,
        order: &Order,
        destination: &Path,
        each_line: &EachLine<'_>,
        stop: &CancellationToken,
    ) -> Result<Packed, BuildError>;
}

/// A build that failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The command failed.
    #[error("the build command failed: {end}")]
    Command {
        /// How it ended.
        end: End,
        /// What it said, cut in the middle when long.
        output: String,
    },
    /// The command made nothing where it should have.
    #[error("the build left no folder `{}`", .0.display())]
    NoOutput(PathBuf),
    /// The output folder is not among the commit's files.
    #[error("the output folder `{}` lies outside of the repository", .0.display())]
    OutputOutside(PathBuf),
    /// The result has no place in an artifact.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The command could not be started or ended.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The disk failed us.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl BuildError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            BuildError::Command { end: End::DeadlinePassed, .. } => {
                "raise `[build] deadline` in footplate.toml, or make the build faster".to_owned()
            }
            BuildError::Command { .. } => "read the log, mend the build and commit".to_owned(),
            BuildError::NoOutput(_) | BuildError::OutputOutside(_) => {
                "set `[build] output` in footplate.toml to the folder that the build fills".to_owned()
            }
            BuildError::Pack(error) => error.next(),
            BuildError::Shell(error) => error.next(),
            BuildError::Disk(error) => error.next(),
        }
    }
}
