//! Finds and ends what a former life of the agent left running.
//!
//! A run file exists while its script runs and holds an id that the script and its children carry in their environment.
//! It is written before the script starts, so no moment is uncovered. Processes are recognised through a pidfd by the id
//! they carry, so a number that went to somebody else is never hit, and children that called `setsid` are found as well.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::disk::{self, DiskError};

/// The variable by which a script and its children are recognised after a crash of their agent.
pub const RUN_VARIABLE: &str = "FOOTPLATE_RUN";

/// A file that says which script runs now; removed when dropped.
pub(super) struct RunFile {
    path: PathBuf,
    id: String,
}

impl RunFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        fs::write(path, &id)?;
        Ok(Self { path: path.to_owned(), id })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        if let Err(error) = disk::remove_file(&self.path) {
            tracing::warn!(%error, "cannot remove a run file; the next start does it");
        }
    }
}

/// Kills every process that belongs to a run file in `folder`, waits until it is gone and removes the file.
///
/// Returns the names of the run files found. Blocking, for at most `patience`. An absent folder is fine.
///
/// # Errors
/// When the folder cannot be read, or a process is still there when `patience` is over.
pub fn end_leftovers(folder: &Path, patience: Duration) -> Result<Vec<String>, DiskError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(disk::failed("read the folder", folder))?,
    };
    let mut ended = Vec::new();
    for entry in entries {
        let path = entry.map_err(disk::failed("read the folder", folder))?.path();
        let id = fs::read_to_string(&path).map_err(disk::failed("read", &path))?;
        if id.len() == 32 {
            end_all(&id, patience).map_err(disk::failed("end the script of", &path))?;
        }
        disk::remove_file(&path)?;
        ended.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    Ok(ended)
}

/// Kills every process that carries this id in [`RUN_VARIABLE`], and waits until all are gone. Blocking, for at most `patience`.
pub fn end_all(id: &str, patience: Duration) -> io::Result<()> {
    let marker = format!("{RUN_VARIABLE}={id}");
    let begun = Instant::now();
    while kill_round(&marker)? > 0 {
        if begun.elapsed() > patience {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it was killed and does not end"));
        }
        // A killed process needs a moment to vanish, and a fork may have escaped the last round.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Kills every process that carries the marker and returns how many there were.
fn kill_round(marker: &str) -> io::Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // A process that is gone, or that is another user's, is none of ours.
        let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else { continue };
        let Ok(environment) = fs::read(Path::new("/proc").join(&name).join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes()) {
            found += 1;
            match pidfd_send_signal(&handle, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(found)
}
