//! Artifacts as files: `tar.zst` packed reproducibly, unpacked safely, named by SHA-256.
//!
//! Invariant: the same tree gives the same bytes on every machine, and no archive, however hostile, changes anything
//! outside the folder it is unpacked to or leaves anything behind when it is refused.

mod budget;
mod digest;
mod limits;
mod pack;
mod passing;
mod path;
mod sketch;
mod tree;
mod unpack;

use std::path::Path;

use async_trait::async_trait;
use footplate_core::artifact::ArtifactRef;
use tokio_util::sync::CancellationToken;

pub use digest::{Hasher, digest_file};
pub use limits::{Limits, Owner};
pub use pack::{PackError, Packed, pack};
pub use unpack::{UnpackError, Unpacked, check, create_empty, unpack};

/// Brings artifacts to this machine. A workload asks for one without knowing where it comes from.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// Writes the artifact to `destination`, which must not exist, and verifies its size and digest on the way.
    ///
    /// Not durable: whoever needs the file after a power loss makes it so. Leaves no file behind on failure.
    async fn fetch(
        &self,
        artifact: &ArtifactRef,
        destination: &Path,
        stop: &CancellationToken,
    ) -> Result<(), FetchError>;
}

/// An artifact that could not be brought here.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch artifact {}: {because}", .artifact.digest.short())]
pub struct FetchError {
    /// The artifact.
    pub artifact: ArtifactRef,
    /// Why, with every source that was tried.
    pub because: String,
    /// What to do about it.
    pub next: String,
    /// Whether no source answered at all, so that the same may work in a moment.
    pub is_absence: bool,
}
