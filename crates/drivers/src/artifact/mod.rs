//! Where artifacts are kept, by digest.
//!
//! Contract of every driver: what [`ArtifactStore::has`] affirms is whole and durable; the same bytes put twice, also at
//! once, are there once; [`Fetch::fetch`] never leaves bytes that do not match their name.

pub mod directory;
pub mod http;

use std::path::Path;

use async_trait::async_trait;
use footplate_core::artifact::ArtifactRef;

pub use crate::archive::{Fetch, FetchError};
pub use directory::Directory;
pub use http::Http;

/// A place that keeps artifacts.
#[async_trait]
pub trait ArtifactStore: Fetch {
    /// Says which place this is, for people.
    fn describe(&self) -> String;

    /// Tells whether the artifact is there, whole.
    async fn has(&self, artifact: &ArtifactRef) -> Result<bool, ArtifactError>;

    /// Stores the bytes of `file` under their name, durably; fine when they are there already.
    ///
    /// # Errors
    /// [`ArtifactError::Mismatch`] when the file's bytes are not the named ones.
    async fn put(&self, artifact: &ArtifactRef, file: &Path) -> Result<(), ArtifactError>;
}

/// An artifact that could not be looked for or stored.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The disk failed us.
    #[error(transparent)]
    Disk(#[from] crate::disk::DiskError),
    /// The bytes are not what their name says.
    #[error("{place} holds bytes of {found}, not of {expected}")]
    Mismatch {
        /// The file or address.
        place: String,
        /// The name they should have.
        expected: footplate_core::artifact::Digest,
        /// The name they have.
        found: footplate_core::artifact::Digest,
    },
}

impl ArtifactError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            ArtifactError::Disk(error) => error.next(),
            ArtifactError::Mismatch { .. } => "build and push the release again".to_owned(),
        }
    }
}
