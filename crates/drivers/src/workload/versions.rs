//! The folders, marks and links of one target. Blocking.
//!
//! Invariants: the mark is made last and removed first, each durably before the next step; `live` is only ever replaced
//! by a rename. Mark and `live` are symlinks, so that name and content come into being at one instant and one fsync of
//! their folder makes both durable.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use footplate_core::artifact::ArtifactRef;
use footplate_core::moment::Moment;
use footplate_core::name::ReleaseId;

use super::Observed;
use crate::disk::{self, DiskError};
use crate::failpoint;

const MARK_SUFFIX: &str = ".complete";
const FETCH_SUFFIX: &str = ".fetch";

/// One target's folder.
#[derive(Clone, Debug)]
pub(super) struct Versions {
    folder: PathBuf,
}

impl Versions {
    /// Makes the folders and removes what a former life left half-made.
    pub(super) fn open(folder: PathBuf) -> Result<Self, DiskError> {
        let versions = Self { folder };
        for name in ["versions", "output", "run"] {
            disk::create_folder(&versions.folder.join(name))?;
        }
        Ok(versions)
    }

    /// Removes every directory without a mark, and half-fetched files; but never what `live` points at.
    pub(super) fn remove_unmarked(&self) -> Result<(), DiskError> {
        let live = self.live_target()?;
        let marked = self.marked()?;
        let folder = self.folder.join("versions");
        for name in names(&folder)? {
            let path = folder.join(&name);
            let is_mark = release_of_mark(&name).is_some();
            let is_complete = name.parse().is_ok_and(|id| marked.contains(&id));
            let is_live = live.as_ref().is_some_and(|target| self.folder.join(target) == path);
            if !is_mark && !is_complete && !is_live {
                disk::remove_tree(&path)?;
            }
        }
        Ok(())
    }

    /// Returns the target's own folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns where a release's files are.
    pub(super) fn release(&self, id: &ReleaseId) -> PathBuf {
        self.folder.join("versions").join(id.as_str())
    }

    /// Returns where a release's archive is while it is unpacked.
    pub(super) fn fetched(&self, id: &ReleaseId) -> PathBuf {
        self.folder.join("versions").join(format!(".{id}{FETCH_SUFFIX}"))
    }

    /// Returns the link that names the live release.
    pub(super) fn live_link(&self) -> PathBuf {
        self.folder.join("live")
    }

    fn mark(&self, id: &ReleaseId) -> PathBuf {
        self.folder.join("versions").join(format!(".{id}{MARK_SUFFIX}"))
    }

    fn activating(&self) -> PathBuf {
        self.folder.join("activating")
    }

    /// Returns what the completion mark of a release says, when there is one and the directory too.
    pub(super) fn completed(&self, id: &ReleaseId) -> Result<Option<String>, DiskError> {
        let said = disk::read_link(&self.mark(id))?.map(|said| said.to_string_lossy().into_owned());
        Ok(said.filter(|_| self.release(id).is_dir()))
    }

    /// Removes whatever there is of a release that is not complete.
    pub(super) fn remove_leftover(&self, id: &ReleaseId) -> Result<(), DiskError> {
        disk::remove_file(&self.mark(id))?;
        disk::remove_file(&self.fetched(id))?;
        disk::remove_tree(&self.release(id))
    }

    /// Makes everything that was written for a release durable, then marks it as complete, durably.
    pub(super) fn complete(&self, id: &ReleaseId, artifact: Option<&ArtifactRef>) -> Result<(), DiskError> {
        disk::sync_all_below(&self.release(id))?;
        failpoint!("prepare.synced");
        disk::make_link(&self.mark(id), Path::new(&mark_text(artifact)))?;
        failpoint!("prepare.marked");
        Ok(())
    }

    /// Removes the mark, durably, then the files.
    pub(super) fn remove(&self, id: &ReleaseId) -> Result<(), DiskError> {
        let mark = self.mark(id);
        if disk::read_link(&mark)?.is_some() {
            disk::remove_file(&mark)?;
            disk::sync_folder(&self.folder.join("versions"))?;
        }
        failpoint!("clean.unmarked");
        self.remove_leftover(id)?;
        failpoint!("clean.removed");
        Ok(())
    }

    /// Makes a complete release live, durably; live already is made durable.
    pub(super) fn switch(&self, id: &ReleaseId) -> Result<(), DiskError> {
        let target = Path::new("versions").join(id.as_str());
        if self.live_target()?.as_deref() == Some(&*target) {
            disk::sync_folder(&self.folder)?;
        } else {
            disk::swap_link(&self.live_link(), &target)?;
        }
        failpoint!("activate.link_synced");
        Ok(())
    }

    /// Remembers, durably, that the activation of a release is not over when `live` points at it.
    pub(super) fn begin_activation(&self, id: &ReleaseId) -> Result<(), DiskError> {
        let activating = self.activating();
        if disk::read_link(&activating)?.as_deref() != Some(Path::new(id.as_str())) {
            disk::remove_file(&activating)?;
            disk::make_link(&activating, Path::new(id.as_str()))?;
        }
        failpoint!("activate.pending_marked");
        Ok(())
    }

    /// Forgets it. Not made durable: at worst a script runs once more.
    pub(super) fn end_activation(&self) -> Result<(), DiskError> {
        disk::remove_file(&self.activating())
    }

    /// Returns the complete release that `live` points at.
    pub(super) fn live(&self) -> Result<Option<ReleaseId>, DiskError> {
        let id = self.live_target()?.and_then(|target| release_of_link(&target));
        match id {
            Some(id) if self.completed(&id)?.is_some() => Ok(Some(id)),
            _ => Ok(None),
        }
    }

    /// Reads everything that there is to know.
    pub(super) fn observe(&self) -> Result<Observed, DiskError> {
        let live = self.live()?;
        let unfinished = disk::read_link(&self.activating())?.and_then(|id| id.to_str()?.parse().ok());
        Ok(Observed {
            live_since: live.as_ref().and(self.live_since()?),
            drift: if live.is_some() { None } else { self.drift()? },
            unfinished: unfinished.filter(|id| live.as_ref() == Some(id)),
            prepared: self.marked()?,
            live,
        })
    }

    /// Returns where the link `live` points.
    fn live_target(&self) -> Result<Option<PathBuf>, DiskError> {
        disk::read_link(&self.live_link())
    }

    fn live_since(&self) -> Result<Option<Moment>, DiskError> {
        let link = self.live_link();
        let metadata = match fs::symlink_metadata(&link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(disk::failed("look at", &link))?,
        };
        let changed = metadata.modified().map_err(disk::failed("look at", &link))?;
        let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Some(Moment::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))))
    }

    /// Says what is wrong with a `live` that names no complete release; nothing when there is none at all.
    fn drift(&self) -> Result<Option<String>, DiskError> {
        let link = self.live_link();
        match self.live_target()? {
            Some(target) => {
                Ok(Some(format!("`live` points at {}, which is no complete release", target.display())))
            }
            None if fs::symlink_metadata(&link).is_ok() => Ok(Some("`live` is not a link".to_owned())),
            None => Ok(None),
        }
    }

    /// Lists the releases with a mark and a directory.
    fn marked(&self) -> Result<BTreeSet<ReleaseId>, DiskError> {
        let ids = names(&self.folder.join("versions"))?.into_iter().filter_map(|name| release_of_mark(&name));
        Ok(ids.filter(|id| self.release(id).is_dir()).collect())
    }
}

/// Returns what a completion mark says: the artifact's digest, or `no-artifact`.
pub(super) fn mark_text(artifact: Option<&ArtifactRef>) -> String {
    artifact.map_or_else(|| "no-artifact".to_owned(), |artifact| artifact.digest.to_string())
}

fn release_of_mark(name: &str) -> Option<ReleaseId> {
    name.strip_prefix('.')?.strip_suffix(MARK_SUFFIX)?.parse().ok()
}

fn release_of_link(target: &Path) -> Option<ReleaseId> {
    target.to_str()?.strip_prefix("versions/")?.parse().ok()
}

/// Lists the names in a folder; those that are not UTF-8 are nobody's of ours.
fn names(folder: &Path) -> Result<Vec<String>, DiskError> {
    let failed = disk::failed_often("read the folder", folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(&failed)? {
        names.extend(entry.map_err(&failed)?.file_name().into_string().ok());
    }
    Ok(names)
}
