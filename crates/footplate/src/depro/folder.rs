//! One deployment's folder on this node: `path/V` for each version, `path/current`, and what we remember in `path/.depro`.
//!
//! Invariants: a version without its completion mark is not there; a mark counts only in the boot that wrote it, or
//! once the disk was synchronised after it, so that no power loss makes half a version look whole; what has no mark of
//! ours is never removed, unless its version is deployed; `.depro` is invisible to the original and to `*` in a shell.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use footplate_drivers::disk::{
    DiskError, HeldFolder, create_folder, failed, remove_file, remove_tree, sync_all_below,
};

use super::plan::{Copy, Local, Rollout};
use super::tree::{Version, parse_current};

/// The second line of a mark that survives a reboot.
const DURABLE: &str = "durable";

/// A deployment's folder, locked for this process.
pub struct Folder {
    path: PathBuf,
    own: PathBuf,
    boot: String,
    lives: Mutex<Lives>,
    /// Held for as long as the agent lives.
    _held: HeldFolder,
}

/// How often each version's directory was begun anew or removed: what a mark is about. Its lock is held while a mark is
/// written, so that no mark outlives what it vouches for.
pub type Lives = BTreeMap<Version, u64>;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another agent works in it.
    #[error("another agent works in {}", .0.display())]
    Taken(PathBuf),
}

impl Folder {
    /// Opens the folder, making it when it is missing, and takes its lock.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let own = path.join(".depro");
        let held = HeldFolder::take(&own)?.ok_or_else(|| FolderError::Taken(path.to_owned()))?;
        for folder in [own.join("versions"), own.join("running")] {
            create_folder(&folder)?;
        }
        remove_unfinished(&own)?;
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        Ok(Self { path: path.to_owned(), own, boot, lives: Mutex::default(), _held: held })
    }

    /// Returns the directory of a version.
    pub fn version(&self, version: &Version) -> PathBuf {
        self.path.join(version.as_str())
    }

    /// Returns the folder of the files that say which scripts run.
    pub fn running(&self) -> PathBuf {
        self.own.join("running")
    }

    /// Reads what stood here when the last agent ended.
    pub fn read(&self) -> Result<Local, DiskError> {
        let mut local = Local::default();
        let marks = self.own.join("versions");
        for entry in fs::read_dir(&marks).map_err(failed("read", &marks))? {
            let name = entry.map_err(failed("read", &marks))?.file_name();
            if let Some(version) = name.to_str().and_then(|name| name.parse().ok()) {
                let whole = self.is_whole(&version)?;
                let copy = if whole { Copy::Complete } else { Copy::Failed { again: true } };
                local.copies.insert(version, copy);
            }
        }
        local.served = self.recall("live")?.and_then(|(version, _)| version.parse().ok());
        if self.vouches_for_live()? {
            local.active.clone_from(&local.served);
            local.rollout = local.served.clone().map_or(Rollout::Unknown, Rollout::Live);
        }
        Ok(local)
    }

    /// Tells whether a version has a completion mark that counts, and its directory.
    pub fn is_whole(&self, version: &Version) -> Result<bool, DiskError> {
        let mark = self.recall(&format!("versions/{version}"))?;
        let counts =
            mark.is_some_and(|(word, when)| word == "complete" && (when == DURABLE || when == self.boot));
        Ok(counts && self.version(version).is_dir())
    }

    /// A rollout's effect is known when it ended, in this boot (a reboot stops what it started), and when nobody else
    /// has written another version into `path/current` since.
    fn vouches_for_live(&self) -> Result<bool, DiskError> {
        let Some((live, boot)) = self.recall("live")? else { return Ok(false) };
        let said = self.said_current();
        Ok(boot == self.boot
            && self.recall("rolling")?.is_none()
            && said.is_none_or(|said| said.as_str() == live))
    }

    /// Returns what the file `path/current` says. A symbolic link of that name is a script's own business.
    fn said_current(&self) -> Option<Version> {
        let file = self.path.join("current");
        let is_file = fs::symlink_metadata(&file).is_ok_and(|metadata| metadata.is_file());
        is_file.then(|| fs::read(&file).ok()).flatten().and_then(|text| parse_current(&text))
    }

    /// Makes an empty directory for a version. From here to [`Folder::complete`] the version is not there.
    pub fn begin_deploy(&self, version: &Version) -> Result<(), DiskError> {
        self.end_life(version)?;
        let directory = self.version(version);
        remove_tree(&directory)?;
        create_folder(&directory)
    }

    /// Notes that a version is whole, in this boot.
    pub fn complete(&self, version: &Version) -> Result<(), DiskError> {
        let _lives = self.lives();
        self.remember(&format!("versions/{version}"), "complete", &self.boot)
    }

    /// Makes the versions that are whole now survive a power loss. Slow: it waits for the disk.
    pub fn make_durable(&self, versions: &[Version]) -> Result<(), DiskError> {
        let before = self.lives().clone();
        sync_all_below(&self.path)?;
        self.mark_durable(versions, &before)
    }

    /// Marks the versions that have not been touched since `before`.
    fn mark_durable(&self, versions: &[Version], before: &Lives) -> Result<(), DiskError> {
        let lives = self.lives();
        for version in versions.iter().filter(|version| lives.get(version) == before.get(version)) {
            if self.is_whole(version)? {
                self.remember(&format!("versions/{version}"), "complete", DURABLE)?;
            }
        }
        Ok(())
    }

    /// Removes a version's directory, then its mark.
    pub fn remove(&self, version: &Version) -> Result<(), DiskError> {
        self.end_life(version)?;
        remove_tree(&self.version(version))?;
        remove_file(&self.own.join("versions").join(version.as_str()))
    }

    fn end_life(&self, version: &Version) -> Result<(), DiskError> {
        let mut lives = self.lives();
        *lives.entry(version.clone()).or_default() += 1;
        self.remember(&format!("versions/{version}"), "partial", &self.boot)
    }

    fn lives(&self) -> MutexGuard<'_, Lives> {
        self.lives.lock().expect("no holder of this lock panics")
    }

    /// Notes that a rollout runs: until it has ended well, nobody vouches for what is live.
    pub fn begin_rollout(&self, version: &Version) -> Result<(), DiskError> {
        self.remember("rolling", version.as_str(), &self.boot)
    }

    /// Notes that a version is live, for us and in `path/current`.
    pub fn rolled_out(&self, version: &Version) -> Result<(), DiskError> {
        self.remember("live", version.as_str(), &self.boot)?;
        remove_file(&self.own.join("rolling"))?;
        let file = self.path.join("current");
        let is_script_s_own = fs::symlink_metadata(&file).is_ok_and(|metadata| !metadata.is_file());
        if is_script_s_own || self.said_current().as_ref() == Some(version) {
            return Ok(());
        }
        self.replace(&file, version.as_str().as_bytes())
    }

    /// Tells whether no agent of ours has decided yet which of the original's directories are whole.
    pub fn is_new(&self) -> bool {
        !self.own.join("adopted").exists()
    }

    /// Takes over directories that the original made: those that `confirmed` names, and the one in `path/current`.
    /// All others of the original are deployed again. Done once.
    pub fn adopt(
        &self,
        wanted: impl IntoIterator<Item = Version>,
        confirmed: impl Fn(&Version) -> bool,
    ) -> Result<Vec<Version>, DiskError> {
        let said = self.said_current();
        let mut adopted = Vec::new();
        for version in wanted {
            let known = self.recall(&format!("versions/{version}"))?.is_some();
            if !known
                && self.version(&version).is_dir()
                && (confirmed(&version) || said.as_ref() == Some(&version))
            {
                self.complete(&version)?;
                adopted.push(version);
            }
        }
        self.remember("adopted", "yes", &self.boot)?;
        Ok(adopted)
    }

    /// Returns the session of the last agent here, which a crash may have left open.
    pub fn last_session(&self) -> Result<Option<String>, DiskError> {
        Ok(self.recall("session")?.map(|(session, _)| session))
    }

    /// Notes the session, so that the next start can end it.
    pub fn remember_session(&self, session: &str) -> Result<(), DiskError> {
        self.remember("session", session, &self.boot)
    }

    /// Notes that the session was closed.
    pub fn forget_session(&self) -> Result<(), DiskError> {
        remove_file(&self.own.join("session"))
    }

    fn recall(&self, name: &str) -> Result<Option<(String, String)>, DiskError> {
        let file = self.own.join(name);
        match fs::read_to_string(&file) {
            Ok(text) => {
                Ok(text.split_once('\n').map(|(word, when)| (word.to_owned(), when.trim_end().to_owned())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &file)(error)),
        }
    }

    fn remember(&self, name: &str, word: &str, when: &str) -> Result<(), DiskError> {
        self.replace(&self.own.join(name), format!("{word}\n{when}\n").as_bytes())
    }

    /// Atomic for whoever reads, without waiting for the disk: a mark's own boot tells whether it counts.
    fn replace(&self, file: &Path, content: &[u8]) -> Result<(), DiskError> {
        let fresh = self.own.join(format!("new~{}", uuid::Uuid::new_v4()));
        let write = || File::create(&fresh)?.write_all(content).and_then(|()| fs::rename(&fresh, file));
        write().map_err(failed("write", file))
    }
}

/// Removes what a crash left behind of marks that were being written.
fn remove_unfinished(own: &Path) -> Result<(), DiskError> {
    for entry in fs::read_dir(own).map_err(failed("read", own))? {
        let entry = entry.map_err(failed("read", own))?;
        if entry.file_name().to_string_lossy().starts_with("new~") {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
