//! The router's folder: the table in force, the control socket, the lock. Only its owner can look into it.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::fs::{FlockOperation, flock};

use crate::control;
use crate::failure::Failure;
use crate::report::Report;
use crate::table::Table;

/// The name of the control socket.
pub const SOCKET: &str = "control.sock";
/// The name of the table's file.
pub const TABLE: &str = "table.json";
const LOCK: &str = "lock";
/// How long a lock may stay held before it counts as somebody's.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// An opened folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// What this router is called once it was replaced.
    name: String,
}

impl Folder {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> Result<Folder, Failure> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
            let next = "check the path and the permissions above it";
            Failure::new(format!("cannot make the router's folder {}", path.display()), error, next)
        })?;
        let name = format!("{}-{:08x}", std::process::id(), SmallRng::from_os_rng().random::<u32>());
        Ok(Folder { path: path.to_owned(), name })
    }

    /// Returns what this router is called once it was replaced.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where this router listens before it is in charge: no longer than the control socket's path, which has a limit.
    pub fn hidden_socket(&self) -> PathBuf {
        let (_, random) = self.name.split_once('-').expect("a name has two parts");
        self.path.join(format!(".{random}"))
    }

    /// Removes the sockets of routers that were killed on their way here: a router comes so far only when no other does.
    pub fn remove_hidden(&self) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let is_hidden = |name: &str| name.len() == 9 && u32::from_str_radix(&name[1..], 16).is_ok();
        for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_hidden)) {
            if let Err(error) = fs::remove_file(entry.path()) {
                tracing::debug!(%error, path = %entry.path().display(), "cannot remove what a killed router left");
            }
        }
    }

    /// Returns where the control socket is.
    pub fn socket(&self) -> PathBuf {
        control::socket(&self.path)
    }

    /// Returns where a router listens that was replaced and still finishes.
    pub fn elder_socket(&self, name: &str) -> PathBuf {
        self.path.join(format!("control.{name}.sock"))
    }

    /// Lists the routers that were replaced, by their sockets and by the counts that they have left.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn elders(&self) -> std::io::Result<BTreeSet<String>> {
        let entries = fs::read_dir(&self.path)?.collect::<std::io::Result<Vec<_>>>()?;
        let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        let name_of = |file: String| {
            let socket = file.strip_prefix("control.").and_then(|rest| rest.strip_suffix(".sock"));
            let counts = || file.strip_prefix("counts.").and_then(|rest| rest.strip_suffix(".json"));
            socket.or_else(counts).map(str::to_owned)
        };
        Ok(names.filter_map(name_of).collect())
    }

    /// Gives up the name of the control socket: from here on this process is an elder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn retire(&self) -> std::io::Result<()> {
        fs::rename(self.socket(), self.elder_socket(&self.name))
    }

    /// Takes the name of the control socket again: whoever was to have it is gone.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn come_back(&self) -> std::io::Result<()> {
        fs::rename(self.elder_socket(&self.name), self.socket())
    }

    /// Leaves the last counts of an elder to the one in charge, and its name to nobody.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn leave_counts(&self, report: &Report) -> std::io::Result<()> {
        let text = serde_json::to_vec(report)?;
        self.write(&format!("counts.{}.json", self.name), &text)?;
        fs::remove_file(self.elder_socket(&self.name))
    }

    /// Takes what an elder has left, and removes its traces.
    pub fn take_counts(&self, name: &str) -> Option<Report> {
        let path = self.path.join(format!("counts.{name}.json"));
        let left = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        for path in [path, self.elder_socket(name)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(%error, path = %path.display(), "cannot remove what a replaced router left");
                }
                _ => {}
            }
        }
        left
    }

    /// Locks it for this process and those that the lock is handed to.
    ///
    /// # Errors
    /// Another process has it, or the lock cannot be written.
    pub fn lock(&self) -> Result<File, Failure> {
        let path = self.path.join(LOCK);
        let what = format!("cannot lock the router's folder {}", self.path.display());
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file =
            open.map_err(|error| Failure::new(&what, error, "check the folder's owner and permissions"))?;
        // A router that was just killed takes a moment to let go.
        let patience = Instant::now() + LOCK_PATIENCE;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            tracing::debug!(%error, "the lock is held");
            let because = "another router has it, and does not answer at its control socket";
            return Err(Failure::new(
                &what,
                because,
                "wait until that one has ended, or give this one another folder",
            ));
        }
        Ok(file)
    }

    /// Reads the table that was in force last; nothing when there was none.
    ///
    /// # Errors
    /// The file cannot be read, or holds no table.
    pub fn read_table(&self) -> Result<Option<Table>, Failure> {
        let path = self.path.join(TABLE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(&path, &error))
    }

    /// Writes the table so that it is there after a power loss: whole, or the one before.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write_table(&self, table: &Table) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(table).expect("a table has only text and numbers");
        self.write(TABLE, &text).map_err(|error| {
            let what = format!("cannot keep the table in {}", self.path.display());
            Failure::new(
                what,
                error,
                "the table before stays in force; check the folder's free space and owner",
            )
        })
    }

    /// Replaces a file as a whole, synced with its folder.
    pub fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let draft = self.path.join(format!(".{name}.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> Failure {
    let next = "mend or remove the file; without it the router begins with an empty table";
    Failure::new(format!("cannot read the table in {}", path.display()), error, next)
}
