//! What a service said: a file that is closed at its size, and older ones beside it. Blocking.
//!
//! Invariant: all files together hold at most `file_bytes_max` × `files_max` and one piece more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use footplate_core::release::service::Logs;

use crate::disk;

/// The open log of a service.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    rules: Logs,
    file: File,
    bytes: u64,
    /// Whether the last byte ended a line.
    is_at_line_start: bool,
}

impl Log {
    /// Opens the log for more.
    pub fn open(path: &Path, rules: Logs) -> io::Result<Self> {
        let file = append(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rules, file, bytes, is_at_line_start: true })
    }

    /// Adds what the service said, as it said it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(last) = bytes.last() else { return Ok(()) };
        if self.bytes > 0 && self.bytes + bytes.len() as u64 > self.rules.file_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.is_at_line_start = *last == b'\n';
        Ok(())
    }

    /// Adds a line of our own, which begins with `footplate:`.
    pub fn note(&mut self, line: &str) -> io::Result<()> {
        let start = if self.is_at_line_start { "" } else { "\n" };
        self.write(format!("{start}footplate: {line}\n").as_bytes())
    }

    fn rotate(&mut self) -> io::Result<()> {
        shift(&self.path, self.rules.files_max)?;
        self.file = append(&self.path)?;
        self.bytes = self.file.metadata()?.len();
        Ok(())
    }
}

/// Makes room for a new file: the oldest goes, each other one gets the next number.
fn shift(path: &Path, files_max: u32) -> io::Result<()> {
    match files_max {
        0 | 1 => fs::remove_file(path),
        _ => {
            shift_older(path, files_max)?;
            fs::rename(path, disk::with_suffix(path, ".1"))
        }
    }
}

/// Makes room for a new `.1`.
pub(super) fn shift_older(path: &Path, files_max: u32) -> io::Result<()> {
    let numbered = |number: u32| disk::with_suffix(path, &format!(".{number}"));
    for number in (1..files_max.max(1) - 1).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Returns the last words of a service: at most `bytes_max`, whole lines, from the open file and the one before it.
pub fn tail(log: &Path, bytes_max: usize) -> io::Result<String> {
    let mut bytes = end_of(log, bytes_max)?;
    if bytes.len() < bytes_max {
        let mut before = end_of(&disk::with_suffix(log, ".1"), bytes_max - bytes.len())?;
        before.append(&mut bytes);
        bytes = before;
    }
    let is_cut = bytes.len() >= bytes_max;
    let text = String::from_utf8_lossy(&bytes);
    let whole = if is_cut { text.split_once('\n').map_or(&*text, |(_, whole)| whole) } else { &text };
    Ok(whole.to_owned())
}

fn end_of(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max as u64)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_its_tail_crosses_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("output.log");
        let mut log = Log::open(&path, Logs { file_bytes_max: 100, files_max: 3 }).expect("open");
        for number in 0..100 {
            log.write(format!("line number {number:02}\n").as_bytes()).expect("written");
        }
        let mut files: Vec<_> =
            fs::read_dir(folder.path()).expect("read").map(|entry| entry.expect("read")).collect();
        files.sort_by_key(fs::DirEntry::file_name);
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|file| file.metadata().expect("there").len() <= 100));
        let last = tail(&path, 120).expect("read");
        assert!(last.starts_with("line number 9") && last.ends_with("line number 99\n"), "{last:?}");
        assert!(last.lines().count() >= 7, "{last:?}");
    }

    #[test]
    fn a_note_begins_its_own_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("output.log");
        let mut log = Log::open(&path, Logs::default()).expect("open");
        log.write(b"half a line").expect("written");
        log.note("it ended").expect("written");
        log.note("it began").expect("written");
        assert_eq!(
            tail(&path, 1000).expect("read"),
            "half a line\nfootplate: it ended\nfootplate: it began\n"
        );
    }
}
