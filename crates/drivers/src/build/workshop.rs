//! Folders to build in: each used once, gone afterwards, also after a crash.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::disk::{self, DiskError};

/// A folder for workplaces.
#[derive(Clone, Debug)]
pub struct Workshop {
    folder: PathBuf,
}

/// One folder to work in; removed when dropped.
#[derive(Debug)]
pub struct Workplace {
    folder: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl Workshop {
    /// Opens the workshop and removes every workplace that nobody works in any more. Blocking.
    pub fn open(folder: &Path) -> Result<Self, DiskError> {
        disk::create_folder(folder)?;
        for entry in fs::read_dir(folder).map_err(disk::failed("read the folder", folder))? {
            let lock = entry.map_err(disk::failed("read the folder", folder))?.path();
            let abandoned = lock.extension().is_some_and(|extension| extension == "lock")
                && File::open(&lock).is_ok_and(|file| file.try_lock().is_ok());
            if abandoned {
                disk::remove_tree(&lock.with_extension(""))?;
                disk::remove_file(&lock)?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Makes an empty workplace. Blocking.
    pub fn workplace(&self) -> Result<Workplace, DiskError> {
        let folder = self.folder.join(uuid::Uuid::new_v4().simple().to_string());
        let lock = folder.with_extension("lock");
        let held = File::create_new(&lock).map_err(disk::failed("create", &lock))?;
        held.lock().map_err(disk::failed("lock", &lock))?;
        disk::create_folder(&folder)?;
        Ok(Workplace { folder, lock, _held: held })
    }
}

impl Workplace {
    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let removed = disk::remove_tree(&self.folder).and_then(|()| disk::remove_file(&self.lock));
        if let Err(error) = removed {
            tracing::warn!(error = crate::chain(&error), "cannot remove a workplace; the next start does it");
        }
    }
}
