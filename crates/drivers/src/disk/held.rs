//! A folder that one process at a time works in.
//!
//! Invariant: the lock is held by one descriptor that cannot write, so that the disk can still be mounted read-only under
//! us, and falls with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DiskError, create_folder, failed};

/// The file that is locked, in the folder itself.
const LOCK: &str = "lock";

/// A folder that this process holds, or one inside it; free again when the last of its clones is dropped.
#[derive(Clone, Debug)]
pub struct HeldFolder {
    path: PathBuf,
    _lock: Arc<File>,
}

impl HeldFolder {
    /// Makes the folder when it is missing and takes it; `None` when another process, or this one, holds it already.
    ///
    /// Blocking.
    pub fn take(path: &Path) -> Result<Option<Self>, DiskError> {
        create_folder(path)?;
        let file = path.join(LOCK);
        let created = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&file);
        drop(created.map_err(failed("create", &file))?);
        let lock = File::open(&file).map_err(failed("open", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), _lock: Arc::new(lock) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed("lock", &file)(error)),
        }
    }

    /// Returns a folder inside this one, held by the same lock. Makes nothing.
    #[must_use]
    pub fn inside(&self, name: &str) -> Self {
        Self { path: self.path.join(name), _lock: Arc::clone(&self._lock) }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once_until_all_of_it_is_dropped() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("agent");
        let held = HeldFolder::take(&folder).unwrap().expect("nobody holds it");
        let inside = held.inside("apps");
        assert_eq!(inside.path(), folder.join("apps"));
        drop(held);
        assert!(HeldFolder::take(&folder).unwrap().is_none(), "a part of it is in use");
        drop(inside);
        assert!(HeldFolder::take(&folder).unwrap().is_some());
    }
}
