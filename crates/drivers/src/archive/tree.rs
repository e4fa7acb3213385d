//! A folder that is being filled from an archive.
//!
//! Invariant: every name is resolved by the kernel (`openat2`) below the folder's own descriptor and through no symlink,
//! so nothing an archive says can reach outside, and nothing that exists is ever written over.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::limits::Owner;

pub(super) struct Tree {
    top: OwnedFd,
    owner: Option<Owner>,
    /// The folder of the last entry: archives come folder by folder.
    here: Option<(PathBuf, OwnedFd)>,
    /// Folders that the archive gave no entry for yet.
    implied: HashSet<PathBuf>,
}

/// Why an entry could not be made.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The archive is at fault.
    Refused(&'static str),
    /// The disk is.
    Disk(io::Error),
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Trouble::Refused("it lies behind a link or a file"),
            Errno::EXIST => Trouble::Refused("it is in the archive twice"),
            Errno::NAMETOOLONG => Trouble::Refused("its name is too long for the file system"),
            other => Trouble::Disk(other.into()),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble::Disk(error)
    }
}

/// What an archive's entries are put on: a folder of the disk, or a sketch of one.
pub(super) trait Ground {
    /// A file that is being filled.
    type File: io::Write;

    /// Makes a folder; one that was made because something lies in it is fine, once.
    fn folder(&mut self, path: &Path) -> Result<(), Trouble>;

    /// Makes a file and returns it, open for writing and empty.
    fn file(&mut self, path: &Path, executable: bool) -> Result<Self::File, Trouble>;

    /// Makes a symlink; its target was checked before.
    fn symlink(&mut self, path: &Path, target: &OsStr) -> Result<(), Trouble>;

    /// Makes a further name for a file that the archive brought before.
    fn hard_link(&mut self, path: &Path, existing: &Path) -> Result<(), Trouble>;

    /// Sets a file's modification time.
    fn set_modified(&self, file: &Self::File, modified: SystemTime) -> io::Result<()>;

    /// Counts the folders that were made although the archive gave no entry for them yet.
    fn implied(&self) -> u64;
}

impl Ground for Tree {
    type File = File;

    fn folder(&mut self, path: &Path) -> Result<(), Trouble> {
        if self.implied.remove(path) {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
        self.settle_folder(path)
    }

    fn file(&mut self, path: &Path, executable: bool) -> Result<File, Trouble> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
        self.settle(file.as_fd(), if executable { 0o755 } else { 0o644 })?;
        Ok(File::from(file))
    }

    fn symlink(&mut self, path: &Path, target: &OsStr) -> Result<(), Trouble> {
        let owner = self.owner;
        let (parent, name) = self.parent(path)?;
        rustix::fs::symlinkat(target, parent.as_fd(), name)?;
        if let Some(owner) = owner {
            rustix::fs::chownat(
                parent,
                name,
                Some(owner.uid()),
                Some(owner.gid()),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, existing: &Path) -> Result<(), Trouble> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = self.open_below(existing, flags);
        let source =
            source.map_err(|_| Trouble::Refused("it is a hard link to something that is not in the tree"))?;
        if FileType::from_raw_mode(rustix::fs::fstat(&source)?.st_mode) != FileType::RegularFile {
            return Err(Trouble::Refused("it is a hard link to something that is not a file"));
        }
        let (folder, source_name) = split(existing);
        let folder = self.open_below(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        let source_name = source_name.to_owned();
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::linkat(folder, source_name, parent, name, AtFlags::empty())?)
    }

    fn set_modified(&self, file: &File, modified: SystemTime) -> io::Result<()> {
        file.set_modified(modified)
    }

    fn implied(&self) -> u64 {
        self.implied.len() as u64
    }
}

impl Tree {
    /// Opens a folder that is ours and empty.
    pub(super) fn open(top: &Path, owner: Option<Owner>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = rustix::fs::open(top, flags, Mode::empty())?;
        let tree = Self { top, owner, here: None, implied: HashSet::new() };
        tree.settle(tree.top.as_fd(), 0o755)?;
        Ok(tree)
    }

    /// Returns the descriptor of the folder that `path` lies in, made if need be, and the last part of `path`.
    fn parent<'a>(&mut self, path: &'a Path) -> Result<(&OwnedFd, &'a OsStr), Trouble> {
        let (folder, name) = split(path);
        if self.here.as_ref().is_none_or(|(here, _)| here != folder) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = match self.open_below(folder, flags) {
                Err(Errno::NOENT) => {
                    self.imply(folder)?;
                    self.open_below(folder, flags)
                }
                other => other,
            };
            self.here = Some((folder.to_owned(), opened?));
        }
        let (_, opened) = self.here.as_ref().expect("it was set two lines above");
        Ok((opened, name))
    }

    fn imply(&mut self, folder: &Path) -> Result<(), Trouble> {
        let above: Vec<_> = folder.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for path in above.into_iter().rev() {
            let (parent, name) = split(path);
            let parent = self.open_below(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
            match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                Err(Errno::EXIST) => {}
                made => {
                    made?;
                    self.settle_folder(path)?;
                    self.implied.insert(path.to_owned());
                }
            }
        }
        Ok(())
    }

    fn open_below(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let safely = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.top, path, flags, Mode::empty(), safely)
    }

    fn settle_folder(&self, path: &Path) -> Result<(), Trouble> {
        let folder = self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        self.settle(folder.as_fd(), 0o755).map_err(Trouble::Disk)
    }

    /// Sets mode and owner, whatever our umask is. The owner first: a change of it may clear mode bits.
    fn settle(&self, file: rustix::fd::BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        if let Some(owner) = self.owner {
            rustix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(Permissions::from_mode(mode).mode()))?)
    }
}

fn split(path: &Path) -> (&Path, &OsStr) {
    (path.parent().unwrap_or(Path::new("")), path.file_name().expect("a checked name has a last part"))
}
