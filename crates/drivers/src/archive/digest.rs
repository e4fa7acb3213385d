//! SHA-256 of what passes by.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use footplate_core::artifact::{ArtifactRef, Digest};

use crate::disk::{self, DiskError};

/// Counts and hashes bytes as they pass.
pub struct Hasher {
    context: ring::digest::Context,
    bytes: u64,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { context: ring::digest::Context::new(&ring::digest::SHA256), bytes: 0 }
    }
}

impl Hasher {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Returns how many bytes were taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the name of everything taken.
    pub fn finish(self) -> ArtifactRef {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.context.finish().as_ref());
        ArtifactRef { digest: Digest::from_bytes(digest), bytes: self.bytes }
    }
}

/// Reads a file and returns its name as an artifact. Blocking.
pub fn digest_file(path: &Path) -> Result<ArtifactRef, DiskError> {
    let mut file = File::open(path).map_err(disk::failed("open", path))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer).map_err(disk::failed("read", path))? {
            0 => return Ok(hasher.finish()),
            bytes => hasher.push(&buffer[..bytes]),
        }
    }
}
