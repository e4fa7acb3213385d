//! The exclusive lock on a data directory. It goes away with the process, however that ends.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;

/// How long a lock may stay held before it counts as somebody's.
const PATIENCE: Duration = Duration::from_secs(1);

/// Locks the directory, or says who has it.
///
/// # Errors
/// Another server has it, or the lock file cannot be written.
pub async fn take(data_dir: &Path) -> Result<File, Failure> {
    let path = data_dir.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|error| {
        Failure::new(
            format!("cannot open the lock file {}", path.display()),
            error,
            "check the owner and the permissions of the data directory",
        )
    })?;
    // A server that was just killed takes a moment to let go.
    let patience = Instant::now() + PATIENCE;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= patience {
            return Err(held(data_dir, &path));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let note = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    // The note only helps people; a full disk must not keep the server from starting.
    if let Err(error) = note {
        tracing::debug!(%error, "cannot note the process in the lock file");
    }
    Ok(file)
}

fn held(data_dir: &Path, path: &Path) -> Failure {
    let holder = std::fs::read_to_string(path).unwrap_or_default();
    let who = if holder.is_empty() { "another process".into() } else { format!("process {holder}") };
    Failure::new(
        format!("cannot open the data directory {}", data_dir.display()),
        format!("{who} has it open; two servers on one directory would destroy it"),
        "stop that one first, or give this one another data directory",
    )
}
