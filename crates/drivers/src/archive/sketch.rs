//! The tree that an archive would make, kept as names alone: how one is judged without writing a byte.
//!
//! Invariant: it refuses what [`super::tree::Tree`] would refuse, for the same reasons. Deliberately absent: what only a
//! disk knows, such as how much room there is.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::tree::{Ground, Trouble};

/// The longest part of a name that Linux's file systems take.
const PART_BYTES_MAX: usize = 255;
/// The most bytes of all names together, folders that stand in no entry included.
const NAMES_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A folder that the archive gave no entry for yet.
    Implied,
    Folder,
    File,
    Link,
}

#[derive(Default)]
pub(super) struct Sketch {
    known: HashMap<PathBuf, Kind>,
    /// How many of the known are implied.
    implied: u64,
    names_bytes: usize,
}

impl Sketch {
    fn note(&mut self, path: &Path, kind: Kind) -> Result<(), Trouble> {
        self.names_bytes += path.as_os_str().len();
        if self.names_bytes > NAMES_BYTES_MAX {
            return Err(Trouble::Refused("with it the names have more than 64 MiB"));
        }
        self.known.insert(path.to_owned(), kind);
        Ok(())
    }

    /// Notes what must be a folder for `path` to lie in it.
    fn imply(&mut self, path: &Path) -> Result<(), Trouble> {
        if path.iter().any(|part| part.as_bytes().len() > PART_BYTES_MAX) {
            return Err(Trouble::Refused("its name is too long for the file system"));
        }
        for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            match self.known.get(folder) {
                // What lies above it was noted with it.
                Some(Kind::Folder | Kind::Implied) => return Ok(()),
                Some(Kind::File | Kind::Link) => {
                    return Err(Trouble::Refused("it lies behind a link or a file"));
                }
                None => {
                    self.note(folder, Kind::Implied)?;
                    self.implied += 1;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, kind: Kind) -> Result<(), Trouble> {
        self.imply(path)?;
        match (self.known.get(path), kind) {
            (None, _) => self.note(path, kind),
            (Some(Kind::Implied), Kind::Folder) => {
                self.known.insert(path.to_owned(), kind);
                self.implied -= 1;
                Ok(())
            }
            _ => Err(Trouble::Refused("it is in the archive twice")),
        }
    }
}

impl Ground for Sketch {
    type File = io::Sink;

    fn folder(&mut self, path: &Path) -> Result<(), Trouble> {
        self.add(path, Kind::Folder)
    }

    fn file(&mut self, path: &Path, _: bool) -> Result<io::Sink, Trouble> {
        self.add(path, Kind::File).map(|()| io::sink())
    }

    fn symlink(&mut self, path: &Path, _: &OsStr) -> Result<(), Trouble> {
        self.add(path, Kind::Link)
    }

    fn hard_link(&mut self, path: &Path, existing: &Path) -> Result<(), Trouble> {
        match self.known.get(existing) {
            None => Err(Trouble::Refused("it is a hard link to something that is not in the tree")),
            Some(Kind::File) => self.add(path, Kind::File),
            Some(_) => Err(Trouble::Refused("it is a hard link to something that is not a file")),
        }
    }

    fn set_modified(&self, _: &io::Sink, _: SystemTime) -> io::Result<()> {
        Ok(())
    }

    fn implied(&self) -> u64 {
        self.implied
    }
}
