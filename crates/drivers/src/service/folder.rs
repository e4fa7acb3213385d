//! A service's folder: what was ordered, how it stands, what it said. `docs/reference/services.md` lists the files.
//!
//! Invariants: order, state and the mark `stopped` are written as a whole and durably; only the holder of the lock writes
//! the state; a folder without an order does not exist.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::status::{Enforcement, Exit, Phase, Status};
use super::{Order, ServiceName};
use crate::disk::{self, DiskError};
use crate::shell::Identity;

/// A service's folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// What a keeper writes down, so that its successor goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The boot in which the process was started.
    pub boot: String,
    /// The process, from before it begins until it was reaped.
    pub process: Option<Identity>,
    /// What the process does.
    pub phase: Option<Phase>,
    /// How often it was started again.
    pub restarts: u64,
    /// How many short runs there were one after the other.
    pub short_runs: u32,
    /// How it ended last.
    pub last_exit: Option<Exit>,
    /// Who holds its limits.
    pub enforced: Enforcement,
}

impl Folder {
    /// Returns the folder of a service below the agent's folder of services. Makes nothing.
    pub fn of(services: &Path, name: &ServiceName) -> Self {
        Self { path: services.join(name.to_string()) }
    }

    /// Returns the folder at this path. Makes nothing.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes the folder, which others may pass through but not list: the service's own user touches its heartbeat there.
    pub fn create(&self) -> Result<(), DiskError> {
        disk::create_folder(&self.path)?;
        let mode = fs::Permissions::from_mode(0o711);
        fs::set_permissions(&self.path, mode).map_err(disk::failed("set the mode of", &self.path))
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the socket that its keeper takes orders from.
    pub fn socket(&self) -> PathBuf {
        self.path.join("orders.sock")
    }

    /// Returns the pipe that the service writes to.
    pub fn pipe(&self) -> PathBuf {
        self.path.join("pipe")
    }

    /// Returns the file that the service's last words end in.
    pub fn log(&self) -> PathBuf {
        self.path.join("output.log")
    }

    /// Returns the file that the service touches.
    pub fn heartbeat(&self) -> PathBuf {
        self.path.join("heartbeat")
    }

    /// Returns the socket to which the service says that it is ready.
    pub fn notices(&self) -> PathBuf {
        self.path.join("notices.sock")
    }

    /// Returns the file that is there once the process that runs now has said so.
    pub fn notified(&self) -> PathBuf {
        self.path.join("notified")
    }

    /// Reads what was ordered; `None` when there is no such service.
    pub fn order(&self) -> Result<Option<Order>, DiskError> {
        self.read("order.json")
    }

    /// Writes down what is ordered, durably.
    pub fn write_order(&self, order: &Order) -> Result<(), DiskError> {
        self.write("order.json", order)
    }

    /// Reads how it stands.
    pub fn state(&self) -> Result<State, DiskError> {
        Ok(self.read("state.json")?.unwrap_or_default())
    }

    /// Writes down how it stands, durably.
    pub fn write_state(&self, state: &State) -> Result<(), DiskError> {
        self.write("state.json", state)
    }

    /// Tells whether it was told to stop, and not to start since.
    pub fn is_stopped(&self) -> bool {
        self.path.join("stopped").exists()
    }

    /// Writes down, durably, that it must not run, or that it must.
    pub fn set_stopped(&self, stopped: bool) -> Result<(), DiskError> {
        let mark = self.path.join("stopped");
        if stopped {
            return disk::write_atomically(&mark, b"");
        }
        disk::remove_file(&mark)?;
        disk::sync_folder(&self.path)
    }

    /// Returns the id by which all processes of the service are recognised, making one for the first time.
    pub fn run_id(&self) -> Result<String, DiskError> {
        let path = self.path.join("run");
        match fs::read_to_string(&path) {
            Ok(id) if id.len() == 32 => Ok(id),
            Ok(_) => self.new_run_id(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.new_run_id(&path),
            Err(error) => Err(disk::failed("read", &path)(error)),
        }
    }

    fn new_run_id(&self, path: &Path) -> Result<String, DiskError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        disk::write_atomically(path, id.as_bytes())?;
        Ok(id)
    }

    /// Returns how it stands by what is written down, when nobody looks after it.
    pub fn forsaken(&self, order: &Order) -> Result<Status, DiskError> {
        let phase = if self.is_stopped() { Phase::Stopped } else { Phase::Forsaken };
        Ok(self.status(order, &self.state()?, phase))
    }

    /// Returns how it stands.
    pub fn status(&self, order: &Order, state: &State, phase: Phase) -> Status {
        Status {
            name: order.name.clone(),
            phase,
            restarts: state.restarts,
            last_exit: state.last_exit.clone(),
            port: order.port,
            enforced: state.enforced,
            log: self.log(),
            heartbeat: self.heartbeat(),
            notified: self.notified(),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, DiskError> {
        let path = self.path.join(name);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(disk::failed_often("read", &path))?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| disk::failed("read", &path)(error.into()))
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), DiskError> {
        let bytes = serde_json::to_vec_pretty(value).expect("our own types have a form in JSON");
        disk::write_atomically(&self.path.join(name), &bytes)
    }
}
