//! The few file system operations that deployments stand on, with errors that say what to do.
//!
//! Blocking: call them from `spawn_blocking`, or where a stall does no harm.
//! Invariant of [`swap_link`] and [`write_atomically`]: at every instant, also after power loss, the name holds the
//! old or the new content, and once the call has returned the new one.

mod held;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use held::HeldFolder;

/// A file operation that failed: what it was, on which path, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", .path.display())]
pub struct DiskError {
    /// What was tried, as a verb that fits before the path: `create`, `read`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        let path = self.path.display();
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!(
                    "free some space on the disk of {path}, for example with `footplate clean`; it is tried again by itself"
                )
            }
            io::ErrorKind::PermissionDenied => {
                format!("give the user that footplate runs as the right to do this on {path}")
            }
            io::ErrorKind::ReadOnlyFilesystem => format!("mount the disk of {path} for writing"),
            io::ErrorKind::Unsupported => {
                format!("use Linux 5.6 or newer, and a file system with links and renames for {path}")
            }
            io::ErrorKind::NotFound => format!("check that the folder of {path} exists"),
            _ => format!("look at {path} and at the system's log"),
        }
    }
}

/// Returns a function that turns an [`io::Error`] into a [`DiskError`] for this action and path.
pub fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DiskError + 'a {
    move |source| DiskError { action, path: path.to_owned(), source }
}

/// Like [`failed`], for several calls on one path.
pub fn failed_often<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> DiskError + 'a {
    move |source| DiskError { action, path: path.to_owned(), source }
}

/// Creates a folder and those above it; an existing one is fine.
pub fn create_folder(path: &Path) -> Result<(), DiskError> {
    fs::create_dir_all(path).map_err(failed("create the folder", path))
}

/// Makes the names in a folder durable: those created, renamed and removed before this call.
pub fn sync_folder(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("make durable", path))
}

/// Makes everything durable that was written to the file system of `path` before this call.
pub fn sync_all_below(path: &Path) -> Result<(), DiskError> {
    File::open(path)
        .and_then(|folder| rustix::fs::syncfs(&folder).map_err(io::Error::from))
        .map_err(failed("make durable", path))
}

/// Points the symlink `link` at `target`, atomically and durably, whatever stood there before.
///
/// A dangling or left-over `LINK.new` is in nobody's way.
pub fn swap_link(link: &Path, target: &Path) -> Result<(), DiskError> {
    let fresh = with_suffix(link, ".new");
    remove_file(&fresh)?;
    std::os::unix::fs::symlink(target, &fresh).map_err(failed("create the link", &fresh))?;
    crate::failpoint!("activate.link_made");
    fs::rename(&fresh, link).map_err(failed("switch the link", link))?;
    crate::failpoint!("activate.link_renamed");
    sync_folder(parent(link))
}

/// Creates the symlink `link`, durably. Replaces nothing: an existing one with the same target is fine.
pub fn make_link(link: &Path, target: &Path) -> Result<(), DiskError> {
    match std::os::unix::fs::symlink(target, link) {
        Err(error)
            if error.kind() == io::ErrorKind::AlreadyExists
                && read_link(link)?.as_deref() == Some(target) => {}
        other => other.map_err(failed("create the link", link))?,
    }
    sync_folder(parent(link))
}

/// Returns where a symlink points, or `None` when there is none of this name or it is something else.
pub fn read_link(link: &Path) -> Result<Option<PathBuf>, DiskError> {
    match fs::read_link(link) {
        Ok(target) => Ok(Some(target)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(error) => Err(failed("read the link", link)(error)),
    }
}

/// Writes a file as a whole, durably: a reader sees the old bytes or the new ones. The file's mode is 0600.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let fresh = with_suffix(path, ".new");
    let written =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).and_then(
            |mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            },
        );
    if let Err(error) = written {
        remove_file(&fresh)?;
        return Err(failed("write", &fresh)(error));
    }
    fs::rename(&fresh, path).map_err(failed("replace", path))?;
    sync_folder(parent(path))
}

/// Removes a file or symlink; an absent one is fine.
pub fn remove_file(path: &Path) -> Result<(), DiskError> {
    absent_is_fine(fs::remove_file(path)).map_err(failed("remove", path))
}

/// Removes a folder with everything in it; an absent one is fine, links are removed and not followed.
///
/// Folders that a script made unreadable are made writable first when we own them.
pub fn remove_tree(path: &Path) -> Result<(), DiskError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if !metadata.is_dir() => return remove_file(path),
        _ => {}
    }
    match absent_is_fine(fs::remove_dir_all(path)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            absent_is_fine(fs::remove_dir_all(path)).map_err(failed("remove the folder", path))
        }
        other => other.map_err(failed("remove the folder", path)),
    }
}

/// Returns the bytes that we may still write to the disk of `path`.
pub fn free_bytes(path: &Path) -> Result<u64, DiskError> {
    let stat =
        rustix::fs::statvfs(path).map_err(|error| failed("measure the free space of", path)(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns `path` with `suffix` at the end of its last part.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives ourselves the right to empty every folder below `path`. What cannot be changed is reported by the removal.
fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        if let Err(error) = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)) {
            tracing::debug!(folder = %folder.display(), %error, "cannot change the mode");
        }
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_common_refusal_of_a_disk_says_what_to_do() {
        let next = |errno: rustix::io::Errno| failed("write", Path::new("/srv/a"))(errno.into()).next();
        assert!(next(rustix::io::Errno::NOSPC).starts_with("free some space on the disk of /srv/a"));
        assert!(next(rustix::io::Errno::DQUOT).starts_with("free some space"));
        assert!(next(rustix::io::Errno::ACCESS).starts_with("give the user that footplate runs as"));
        assert!(next(rustix::io::Errno::PERM).starts_with("give the user that footplate runs as"));
        assert!(next(rustix::io::Errno::ROFS).starts_with("mount the disk of /srv/a"));
        assert!(next(rustix::io::Errno::NOSYS).starts_with("use Linux 5.6"));
        let error = failed("write", Path::new("/srv/a"))(rustix::io::Errno::NOSPC.into());
        assert_eq!(crate::chain(&error), "cannot write /srv/a: No space left on device (os error 28)");
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for text in ["one", "two"] {
            write_atomically(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_was_made_unreadable_is_removed_all_the_same() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_folder(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        fs::set_permissions(deep.parent().unwrap(), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&folder.path().join("a")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
