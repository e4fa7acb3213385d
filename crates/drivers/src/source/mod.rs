//! Where an app's code comes from.
//!
//! Contract of every driver: a commit is named by its full id wherever it is passed on; what is checked out is exactly
//! that commit, and the source itself is never changed by it.

pub mod git;

use std::path::Path;

use async_trait::async_trait;
use footplate_core::moment::Moment;

use crate::disk::DiskError;
use crate::shell::ShellError;

pub use git::Git;

/// One state of the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The full id, in lower-case hex.
    pub id: String,
    /// The first line of its message.
    pub summary: String,
    /// The author's name.
    pub author: String,
    /// When it was committed.
    pub committed_at: Moment,
}

/// A repository.
#[async_trait]
pub trait Source: Send + Sync {
    /// Says which repository this is, for people.
    fn describe(&self) -> String;

    /// Returns the newest commit of a branch; of the one that is checked out when none is named.
    async fn head(&self, branch: Option<&str>) -> Result<Commit, SourceError>;

    /// Returns the commit that a tag, a branch, or a full or shortened commit id names.
    async fn resolve(&self, name: &str) -> Result<Commit, SourceError>;

    /// Puts the files of a commit into `folder`, which must not exist; with a `.git` of its own, so that builds can ask it.
    async fn check_out(&self, commit: &Commit, folder: &Path) -> Result<(), SourceError>;
}

/// A repository that could not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no repository.
    #[error("{place} is not a git repository")]
    NotARepository {
        /// The folder or address.
        place: String,
        /// What git said.
        said: String,
    },
    /// It has no such branch, tag or commit.
    #[error("{place} has no commit named `{}`", .name.escape_debug())]
    Unknown {
        /// The repository.
        place: String,
        /// The name as given.
        name: String,
    },
    /// git failed.
    #[error("cannot {action} {place}: {said}")]
    Git {
        /// What was tried, as a verb.
        action: &'static str,
        /// The repository.
        place: String,
        /// What git said, and how it ended.
        said: String,
    },
    /// git could not be started or ended.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// The disk failed us.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl SourceError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            SourceError::NotARepository { said, .. } if said.contains("dubious ownership") => {
                "run footplate as the repository's owner, or allow it with `git config --global --add safe.directory`"
                    .to_owned()
            }
            SourceError::NotARepository { place, .. } => format!("name another folder, or run `git init` in {place}"),
            SourceError::Unknown { .. } => "see `git log` and `git tag`; a new repository needs a first commit".to_owned(),
            SourceError::Git { .. } => "run the same git command by hand to see more".to_owned(),
            SourceError::Shell(error) => error.next(),
            SourceError::Disk(error) => error.next(),
        }
    }
}
