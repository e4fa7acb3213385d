//! A `tar.zst` into a folder, or past one to see whether it could be, as if a stranger had made it.
//!
//! Refused: names that leave the tree or hold control characters, links (symbolic or hard) that do, entries behind a link, devices, fifos, sparse
//! files, times before 1970 or after 9999, set-user-id and set-group-id bits, entries that come twice, too many entries or bytes, bytes out of all
//! proportion to the archive, anything cut off or corrupt, anything after the end.
//! Invariant: after a failure the destination does not exist.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::limits::{Limits, Owner};
use super::passing::Passing;
use super::path;
use super::sketch::Sketch;
use super::tree::{Ground, Tree, Trouble};
use crate::disk::{self, DiskError};

/// The most bytes of an extension header (a long name, a pax record) that we read into memory.
const EXTENSION_BYTES_MAX: u64 = 64 * 1024;
/// The largest window the decoder may keep, as a power of two: 128 MiB, zstd's own default limit.
const WINDOW_LOG_MAX: u32 = 27;
/// The last second of the year 9999; what is later no file system and no HTTP header can say.
const MODIFIED_SECONDS_MAX: u64 = 253_402_300_799;
/// A tar ends with two empty blocks.
const END_BYTES: u64 = 1024;

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// How many files, folders and links.
    pub entries: u64,
    /// The size of the files, in bytes.
    pub content_bytes: u64,
}

/// An archive that was not unpacked. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The disk is full, read-only, not ours, …
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// One entry is not allowed.
    #[error("refused an archive: `{}`: {because}", .name.escape_debug())]
    Entry {
        /// The entry's name as it stands in the archive.
        name: String,
        /// What is wrong with it.
        because: String,
    },
    /// The archive as a whole is too much.
    #[error("refused an archive: {0}")]
    TooMuch(String),
    /// The bytes are no `tar.zst`, or not a whole one.
    #[error("cannot read an archive")]
    Corrupt(#[source] io::Error),
    /// Nobody wants it any more.
    #[error("stopped unpacking an archive")]
    Stopped,
}

impl UnpackError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            UnpackError::Disk(error) => error.next(),
            UnpackError::Entry { .. } => {
                "pack the release with `footplate push`, which makes none such".to_owned()
            }
            UnpackError::TooMuch(_) => "check what the build puts into its output folder".to_owned(),
            UnpackError::Corrupt(_) => "build and push the release again".to_owned(),
            UnpackError::Stopped => "none; it was stopped on purpose".to_owned(),
        }
    }
}

/// Unpacks the archive `file` into the new folder `destination`. Blocking. Modes become 0755 and 0644. Not yet durable.
///
/// When `stop` fires it ends at the next bytes it reads.
///
/// # Errors
/// [`UnpackError`]; the destination is gone then. An existing destination is an error and stays.
pub fn unpack(
    file: &Path,
    destination: &Path,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<Unpacked, UnpackError> {
    let archive = Packed::open(file)?;
    std::fs::create_dir(destination).map_err(disk::failed("create the folder", destination))?;
    let tree = Tree::open(destination, limits.owner).map_err(disk::failed("open the folder", destination));
    let unpacked =
        tree.map_err(UnpackError::Disk).and_then(|tree| walk(archive, tree, destination, limits, stop));
    if unpacked.is_err() {
        disk::remove_tree(destination)?;
    }
    unpacked
}

/// Reads the archive `file` as [`unpack`] would and writes nothing: whoever stores it for others refuses early what they
/// would refuse. Blocking.
///
/// # Errors
/// [`UnpackError`], as of [`unpack`]; [`UnpackError::Disk`] only when `file` cannot be opened.
pub fn check(file: &Path, limits: &Limits, stop: &CancellationToken) -> Result<Unpacked, UnpackError> {
    walk(Packed::open(file)?, Sketch::default(), file, limits, stop)
}

/// Makes the folder of a release that has no artifact, with the same mode and owner as one that has. Blocking.
pub fn create_empty(destination: &Path, owner: Option<Owner>) -> Result<(), DiskError> {
    std::fs::create_dir(destination).map_err(disk::failed("create the folder", destination))?;
    Tree::open(destination, owner).map(drop).map_err(disk::failed("prepare the folder", destination))
}

struct Packed {
    file: File,
    bytes: u64,
}

impl Packed {
    fn open(file: &Path) -> Result<Self, DiskError> {
        let opened = File::open(file).map_err(disk::failed("open", file))?;
        let bytes = opened.metadata().map_err(disk::failed("look at", file))?.len();
        Ok(Self { file: opened, bytes })
    }
}

/// Puts the archive's entries on `ground`, which stands for the folder `destination`.
fn walk(
    archive: Packed,
    ground: impl Ground,
    destination: &Path,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<Unpacked, UnpackError> {
    let walked = read(archive, ground, destination, limits, stop);
    walked.map_err(|error| if stop.is_cancelled() { UnpackError::Stopped } else { error })
}

fn read(
    archive: Packed,
    ground: impl Ground,
    destination: &Path,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<Unpacked, UnpackError> {
    let packed_bytes = archive.bytes;
    let mut decoder = zstd::Decoder::new(archive.file).map_err(UnpackError::Corrupt)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(UnpackError::Corrupt)?;
    let in_proportion = packed_bytes.saturating_mul(limits.ratio_max).max(limits.ratio_floor_bytes);
    let budget = Budget { limits, packed_bytes, bytes_max: limits.bytes_max.min(in_proportion) };
    let mut tar = tar::Archive::new(Passing { inner: decoder, stop, bytes: 0, zeros: 0 });
    let mut unpacker = Unpacker {
        ground,
        destination,
        budget,
        next: Extension::default(),
        seen: 0,
        done: Unpacked::default(),
    };
    for entry in tar.entries().map_err(UnpackError::Corrupt)?.raw(true) {
        unpacker.entry(entry.map_err(UnpackError::Corrupt)?)?;
    }
    let (budget, done) = (unpacker.budget, unpacker.done);
    expect_the_end(tar.into_inner(), &budget)?;
    Ok(done)
}

/// Reads what follows the last entry: nothing but zeros, and enough of them.
fn expect_the_end(mut rest: Passing<'_, impl Read>, budget: &Budget<'_>) -> Result<(), UnpackError> {
    let mut buffer = [0; 8192];
    loop {
        let bytes = rest.read(&mut buffer).map_err(UnpackError::Corrupt)?;
        let corrupt = |why| Err(UnpackError::Corrupt(io::Error::new(io::ErrorKind::InvalidData, why)));
        if bytes == 0 && rest.zeros < END_BYTES {
            return corrupt("it is cut off: its end is missing");
        }
        if bytes == 0 {
            return Ok(());
        }
        if buffer[..bytes].iter().any(|byte| *byte != 0) {
            return corrupt("something follows its end");
        }
        budget.check_bytes(rest.bytes)?;
    }
}

/// What the headers before an entry said about it.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

struct Unpacker<'a, G> {
    ground: G,
    destination: &'a Path,
    budget: Budget<'a>,
    next: Extension,
    /// Headers of any kind.
    seen: u64,
    done: Unpacked,
}

impl<G: Ground> Unpacker<'_, G> {
    fn entry<R: Read>(&mut self, mut entry: tar::Entry<'_, R>) -> Result<(), UnpackError> {
        self.seen += 1;
        // Each entry may bring an extension or two; more of them are an attack.
        self.budget.check_entries(self.seen / 3)?;
        // Checked by what the header promises, so that a bomb is refused before it is written.
        self.budget.check_bytes(entry.raw_file_position().saturating_add(entry.size()))?;
        match entry.header().entry_type() {
            EntryType::GNULongName => self.next.name = Some(long_text(&mut entry)?),
            EntryType::GNULongLink => self.next.target = Some(long_text(&mut entry)?),
            EntryType::XHeader => self.next.take_pax(&extension(&mut entry)?)?,
            EntryType::XGlobalHeader => Extension::default().take_pax(&extension(&mut entry)?)?,
            kind => {
                let said = std::mem::take(&mut self.next);
                let name = said.name.unwrap_or_else(|| entry.path_bytes().into_owned());
                let target =
                    said.target.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned));
                self.done.entries += 1;
                self.budget.check_entries(self.done.entries)?;
                self.place(kind, &name, target.as_deref().unwrap_or_default(), &mut entry)?;
                self.budget.check_entries(self.done.entries.saturating_add(self.ground.implied()))?;
            }
        }
        Ok(())
    }

    fn place<R: Read>(
        &mut self,
        kind: EntryType,
        name: &[u8],
        target: &[u8],
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<(), UnpackError> {
        let refused = |because| refuse(name, because);
        let at = path::inside(name).map_err(refused)?;
        let mode = entry.header().mode().map_err(UnpackError::Corrupt)?;
        if mode & 0o6000 != 0 {
            return Err(refuse(name, "it has the set-user-id or set-group-id bit".to_owned()));
        }
        let top = at.as_os_str().is_empty();
        let made = match kind {
            EntryType::Directory if top => Ok(()),
            _ if top => Err(Trouble::Refused("it stands for the whole tree and is no folder")),
            EntryType::Directory => self.ground.folder(&at),
            EntryType::Regular | EntryType::Continuous => {
                return self.file(&at, name, mode & 0o100 != 0, entry);
            }
            EntryType::Symlink => {
                path::link_stays_inside(&at, target).map_err(refused)?;
                self.ground.symlink(&at, OsStr::from_bytes(target))
            }
            EntryType::Link => {
                let existing =
                    path::inside(target).map_err(|why| refuse(name, format!("its hard link: {why}")))?;
                match existing.file_name() {
                    None => Err(Trouble::Refused("it is a hard link to the whole tree")),
                    Some(_) => self.ground.hard_link(&at, &existing),
                }
            }
            EntryType::Char | EntryType::Block => Err(Trouble::Refused("it is a device")),
            EntryType::Fifo => Err(Trouble::Refused("it is a fifo")),
            _ => Err(Trouble::Refused("it is of a kind that no release needs")),
        };
        made.map_err(|trouble| self.trouble(trouble, name, &at))
    }

    fn file<R: Read>(
        &mut self,
        at: &Path,
        name: &[u8],
        executable: bool,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<(), UnpackError> {
        let modified = modified(entry.header(), name)?;
        let mut file = self.ground.file(at, executable).map_err(|trouble| self.trouble(trouble, name, at))?;
        let full = self.destination.join(at);
        let copied = copy(entry, &mut file, &full)?;
        if copied != entry.size() {
            let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off in the middle of a file");
            return Err(UnpackError::Corrupt(cut));
        }
        self.done.content_bytes += copied;
        let Some(modified) = modified else { return Ok(()) };
        Ok(self.ground.set_modified(&file, modified).map_err(disk::failed("set the time of", &full))?)
    }

    fn trouble(&self, trouble: Trouble, name: &[u8], at: &Path) -> UnpackError {
        match trouble {
            Trouble::Refused(because) => refuse(name, because.to_owned()),
            Trouble::Disk(error) => {
                UnpackError::Disk(disk::failed("create", &self.destination.join(at))(error))
            }
        }
    }
}

impl Extension {
    /// Takes the records we know; a size that differs from the header's would hide entries from other readers.
    fn take_pax(&mut self, records: &[u8]) -> Result<(), UnpackError> {
        for record in tar::PaxExtensions::new(records) {
            let record = record.map_err(UnpackError::Corrupt)?;
            match record.key_bytes() {
                b"path" => self.name = Some(record.value_bytes().to_owned()),
                b"linkpath" => self.target = Some(record.value_bytes().to_owned()),
                b"size" => {
                    return Err(UnpackError::TooMuch("a pax header changes the size of a file".to_owned()));
                }
                key if key.starts_with(b"GNU.sparse") => {
                    return Err(UnpackError::TooMuch("it holds a sparse file".to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns a file's modification time; none for 0, which leaves the time of unpacking: web servers build their validators
/// from it, and two releases must not look the same to them.
fn modified(header: &tar::Header, name: &[u8]) -> Result<Option<SystemTime>, UnpackError> {
    match header.mtime().map_err(UnpackError::Corrupt)? {
        0 => Ok(None),
        seconds if seconds <= MODIFIED_SECONDS_MAX => {
            Ok(UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        }
        _ => Err(refuse(name, "its modification time is not between the years 1970 and 9999".to_owned())),
    }
}

fn refuse(name: &[u8], because: String) -> UnpackError {
    let shown = String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned();
    UnpackError::Entry { name: shown, because }
}

/// Copies an entry's bytes, telling the archive's faults from the disk's.
fn copy(entry: &mut impl Read, file: &mut impl io::Write, full: &Path) -> Result<u64, UnpackError> {
    let mut buffer = [0; 32 * 1024];
    let mut copied = 0;
    loop {
        match entry.read(&mut buffer).map_err(UnpackError::Corrupt)? {
            0 => return Ok(copied),
            bytes => {
                let written = file.write_all(&buffer[..bytes]);
                written.map_err(disk::failed("write", full))?;
                copied += bytes as u64;
            }
        }
    }
}

fn extension<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    if entry.size() > EXTENSION_BYTES_MAX {
        let bytes = entry.size();
        return Err(UnpackError::TooMuch(format!(
            "a name in it has {bytes} bytes; {EXTENSION_BYTES_MAX} is the most"
        )));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(UnpackError::Corrupt)?;
    Ok(bytes)
}

/// Reads a GNU long name; it ends with one NUL.
fn long_text<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let mut text = extension(entry)?;
    if text.last() == Some(&0) {
        text.pop();
    }
    Ok(text)
}
