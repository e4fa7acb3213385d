//! What scripts said, kept on the host: `output/RELEASE.VERB.log`, the run before it as `.log.1`.
//!
//! Invariant: bounded in size (each file is what was captured) and in number; the oldest go first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use footplate_core::name::ReleaseId;
use footplate_core::target::Verb;

use crate::disk::{self, DiskError};
use crate::shell::Finished;

/// Writes what a script said beside what earlier ones said; nothing when it was silent and all was well.
///
/// Blocking. Not durable: it is talk, not state.
pub(super) fn write(
    folder: &Path,
    id: &ReleaseId,
    verb: Verb,
    finished: &Finished,
    outputs_max: usize,
) -> Result<(), DiskError> {
    let path = file(folder, id, verb);
    match fs::rename(&path, disk::with_suffix(&path, ".1")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(disk::failed("rename", &path)(error));
        }
        _ => {}
    }
    if finished.output.is_empty() && finished.succeeded() {
        return Ok(());
    }
    let newline = if finished.output.is_empty() || finished.output.ends_with('\n') { "" } else { "\n" };
    let text = format!(
        "{}{newline}[{} after {:.1} s]\n",
        finished.output,
        finished.end,
        finished.elapsed.as_secs_f64()
    );
    fs::write(&path, text).map_err(disk::failed("write", &path))?;
    keep_newest(folder, outputs_max)
}

/// Reads what the script of a verb said when it last ran. Blocking.
pub(super) fn read(folder: &Path, id: &ReleaseId, verb: Verb) -> Result<Option<String>, DiskError> {
    let path = file(folder, id, verb);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk::failed("read", &path)(error)),
    }
}

fn file(folder: &Path, id: &ReleaseId, verb: Verb) -> PathBuf {
    folder.join(format!("{id}.{verb}.log"))
}

fn keep_newest(folder: &Path, outputs_max: usize) -> Result<(), DiskError> {
    let failed = disk::failed_often("read the folder", folder);
    let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        // A file that another verb of this target removed meanwhile is as good as removed by us.
        if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
            kept.push((modified, entry.path()));
        }
    }
    kept.sort_unstable();
    let over = kept.len().saturating_sub(outputs_max);
    kept[..over].iter().try_for_each(|(_, path)| disk::remove_file(path))
}
