//! A folder into a `tar.zst`, the same bytes on every machine.
//!
//! Sorted by name; owner 0, one modification time for all; modes 0755 (folders, and files that their owner may execute)
//! and 0644. Symlinks that stay inside are kept; anything that [`super::unpack`] would refuse is refused here already.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use footplate_core::artifact::ArtifactRef;

use super::{Hasher, path};
use crate::disk::{self, DiskError};

/// zstd's own default: in our measures higher levels cost much more time than they save bytes.
const LEVEL: i32 = 3;

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The name of the bytes.
    pub artifact: ArtifactRef,
    /// How many files, folders and links it holds.
    pub entries: u64,
    /// The size of the files in it, in bytes.
    pub content_bytes: u64,
}

/// A folder that could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file could not be read, or the archive not written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Something in the folder has no place in an artifact.
    #[error("cannot pack `{}`: {because}", .path.to_string_lossy().escape_debug())]
    Unfit {
        /// Where it is, below the packed folder.
        path: PathBuf,
        /// Why it cannot be packed.
        because: String,
    },
    /// The folder holds nothing.
    #[error("cannot pack {}: there is nothing in it", .0.display())]
    Empty(PathBuf),
}

impl PackError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            PackError::Disk(error) => error.next(),
            PackError::Unfit { path, .. } => {
                format!(
                    "remove `{}` from what is packed, or build into a folder of its own (`[build] output`)",
                    path.to_string_lossy().escape_debug()
                )
            }
            PackError::Empty(_) => {
                "check `[build] output` in footplate.toml, and that the build writes there".to_owned()
            }
        }
    }
}

/// Packs what is in `folder` into the new file `destination`. Blocking. Leaves no file behind on failure.
///
/// `modified` is the modification time of everything, in seconds since 1970: the commit's, or 0. `.git` at the top is
/// left out.
pub fn pack(folder: &Path, destination: &Path, modified: u64) -> Result<Packed, PackError> {
    let packed = write(folder, destination, modified);
    if packed.is_err() {
        disk::remove_file(destination)?;
    }
    packed
}

fn write(folder: &Path, destination: &Path, modified: u64) -> Result<Packed, PackError> {
    let written = disk::failed_often("write", destination);
    let file = File::create_new(destination).map_err(&written)?;
    let tee = Tee { file: BufWriter::with_capacity(256 * 1024, file), hasher: Hasher::default() };
    let compress = zstd::Encoder::new(tee, LEVEL).map_err(&written)?;
    let mut packer = Packer { tar: tar::Builder::new(compress), modified, entries: 0, content_bytes: 0 };
    packer.folder(folder, Path::new(""))?;
    if packer.entries == 0 {
        return Err(PackError::Empty(folder.to_owned()));
    }
    let (entries, content_bytes) = (packer.entries, packer.content_bytes);
    let compress = packer.tar.into_inner().map_err(&written)?;
    let mut tee = compress.finish().map_err(&written)?;
    tee.file.flush().map_err(&written)?;
    Ok(Packed { artifact: tee.hasher.finish(), entries, content_bytes })
}

struct Packer<W: Write> {
    tar: tar::Builder<W>,
    modified: u64,
    entries: u64,
    content_bytes: u64,
}

impl<W: Write> Packer<W> {
    /// Packs everything below `top`/`below`, sorted by the bytes of its names.
    fn folder(&mut self, top: &Path, below: &Path) -> Result<(), PackError> {
        let here = top.join(below);
        let listed = fs::read_dir(&here).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let mut names: Vec<_> = listed
            .map_err(disk::failed("list the folder", &here))?
            .iter()
            .map(fs::DirEntry::file_name)
            .collect();
        names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for name in names {
            let below = below.join(name);
            if below.as_os_str() != OsStr::new(".git") {
                self.entry(top, &below)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, top: &Path, below: &Path) -> Result<(), PackError> {
        let unfit = |because| PackError::Unfit { path: below.to_owned(), because };
        path::inside(below.as_os_str().as_bytes()).map_err(unfit)?;
        let full = top.join(below);
        let metadata = fs::symlink_metadata(&full).map_err(disk::failed("look at", &full))?;
        self.entries += 1;
        let kind = metadata.file_type();
        if kind.is_dir() {
            let mut header = self.header(tar::EntryType::Directory, 0o755, 0);
            self.tar.append_data(&mut header, below, io::empty()).map_err(disk::failed("pack", &full))?;
            self.folder(top, below)
        } else if kind.is_symlink() {
            let target = fs::read_link(&full).map_err(disk::failed("read the link", &full))?;
            path::link_stays_inside(below, target.as_os_str().as_bytes()).map_err(unfit)?;
            let mut header = self.header(tar::EntryType::Symlink, 0o777, 0);
            Ok(self.tar.append_link(&mut header, below, &target).map_err(disk::failed("pack", &full))?)
        } else if kind.is_file() {
            self.file(&full, below)
        } else {
            Err(unfit("it is neither a file nor a folder nor a link".to_owned()))
        }
    }

    fn file(&mut self, full: &Path, below: &Path) -> Result<(), PackError> {
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let opened = fs::OpenOptions::new().read(true).custom_flags(no_follow).open(full);
        let file = opened.map_err(disk::failed("open", full))?;
        let metadata = file.metadata().map_err(disk::failed("look at", full))?;
        let mode = if metadata.mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        let mut header = self.header(tar::EntryType::Regular, mode, metadata.len());
        self.content_bytes += metadata.len();
        let mut exactly = Exactly { file, left: metadata.len() };
        Ok(self.tar.append_data(&mut header, below, &mut exactly).map_err(disk::failed("pack", full))?)
    }

    fn header(&self, kind: tar::EntryType, mode: u32, bytes: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes);
        header.set_mtime(self.modified);
        header.set_uid(0);
        header.set_gid(0);
        header
    }
}

/// Reads as many bytes as the header promises, and fails when the file has grown or shrunk meanwhile.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        let changed = || io::Error::new(io::ErrorKind::InvalidData, "its size changed while it was packed");
        self.left = self.left.checked_sub(bytes as u64).ok_or_else(changed)?;
        if bytes == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(changed());
        }
        Ok(bytes)
    }
}

/// Writes to the file and hashes what is written.
struct Tee {
    file: BufWriter<File>,
    hasher: Hasher,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.push(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
