//! Artifacts as files `sha256/HEX` in a folder.
//!
//! Invariant: a file under its digest's name is whole and durable; it is written beside it and renamed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use footplate_core::artifact::{ArtifactRef, Digest};
use tokio_util::sync::CancellationToken;

use super::{ArtifactError, ArtifactStore, Fetch, FetchError};
use crate::archive::Hasher;
use crate::disk::{self, DiskError};

/// A folder of artifacts.
#[derive(Clone, Debug)]
pub struct Directory {
    folder: PathBuf,
}

impl Directory {
    /// Opens the folder, made when it is missing. Removes what a killed `put` left behind. Blocking.
    pub fn open(folder: &Path) -> Result<Self, DiskError> {
        let opened = Self { folder: folder.join("sha256") };
        disk::create_folder(&opened.folder)?;
        for entry in fs::read_dir(&opened.folder).map_err(disk::failed("read the folder", &opened.folder))? {
            let path = entry.map_err(disk::failed("read the folder", &opened.folder))?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                disk::remove_file(&path)?;
            }
        }
        Ok(opened)
    }

    /// Returns where the artifact's file is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Lists the artifacts that are here. Blocking.
    pub fn list(&self) -> Result<Vec<ArtifactRef>, DiskError> {
        let failed = disk::failed_often("read the folder", &self.folder);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let name = format!("sha256:{}", entry.file_name().to_string_lossy());
            if let Ok(digest) = name.parse() {
                found.push(ArtifactRef { digest, bytes: entry.metadata().map_err(&failed)?.len() });
            }
        }
        found.sort_by_key(|artifact| artifact.digest);
        Ok(found)
    }

    /// Removes an artifact; an absent one is fine. Blocking.
    pub fn remove(&self, digest: &Digest) -> Result<(), DiskError> {
        disk::remove_file(&self.path(digest))
    }

    fn put_blocking(&self, artifact: &ArtifactRef, file: &Path) -> Result<(), ArtifactError> {
        let destination = self.path(&artifact.digest);
        if is_whole(&destination, artifact)? {
            return Ok(());
        }
        let part = disk::with_suffix(&destination, &format!(".{}.part", uuid::Uuid::new_v4().simple()));
        let stored = copy_verified(file, &part, artifact, true).and_then(|()| {
            fs::rename(&part, &destination).map_err(disk::failed("rename", &part))?;
            Ok(disk::sync_folder(&self.folder)?)
        });
        if stored.is_err() {
            disk::remove_file(&part)?;
        }
        stored
    }
}

#[async_trait]
impl ArtifactStore for Directory {
    fn describe(&self) -> String {
        self.folder.display().to_string()
    }

    async fn has(&self, artifact: &ArtifactRef) -> Result<bool, ArtifactError> {
        Ok(is_whole(&self.path(&artifact.digest), artifact)?)
    }

    async fn put(&self, artifact: &ArtifactRef, file: &Path) -> Result<(), ArtifactError> {
        let (store, artifact, file) = (self.clone(), artifact.clone(), file.to_owned());
        crate::blocking(move || store.put_blocking(&artifact, &file)).await
    }
}

#[async_trait]
impl Fetch for Directory {
    async fn fetch(
        &self,
        artifact: &ArtifactRef,
        destination: &Path,
        _stop: &CancellationToken,
    ) -> Result<(), FetchError> {
        let (source, wanted, to) = (self.path(&artifact.digest), artifact.clone(), destination.to_owned());
        let copied = crate::blocking(move || {
            let copied = copy_verified(&source, &to, &wanted, false);
            if copied.is_err() {
                disk::remove_file(&to)?;
            }
            copied
        });
        copied.await.map_err(|error| FetchError {
            artifact: artifact.clone(),
            because: crate::chain(&error),
            next: error.next(),
            is_absence: false,
        })
    }
}

fn is_whole(path: &Path, artifact: &ArtifactRef) -> Result<bool, DiskError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file() && metadata.len() == artifact.bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(disk::failed("look at", path)(error)),
    }
}

/// Copies a file and checks on the way that it is the named one.
fn copy_verified(from: &Path, to: &Path, artifact: &ArtifactRef, durably: bool) -> Result<(), ArtifactError> {
    let mut source = File::open(from).map_err(disk::failed("open", from))?;
    let mut target = File::create_new(to).map_err(disk::failed("create", to))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let bytes = source.read(&mut buffer).map_err(disk::failed("read", from))?;
        if bytes == 0 {
            break;
        }
        hasher.push(&buffer[..bytes]);
        target.write_all(&buffer[..bytes]).map_err(disk::failed("write", to))?;
    }
    let found = hasher.finish();
    if found != *artifact {
        let place = from.display().to_string();
        return Err(ArtifactError::Mismatch { place, expected: artifact.digest, found: found.digest });
    }
    if durably {
        target.sync_all().map_err(disk::failed("make durable", to))?;
    }
    Ok(())
}
