//! Services as processes of this machine: one process (with its children) for each release of a process group.
//!
//! Invariants: starting and stopping may be repeated; what was started runs until it is stopped, whoever else ends or is
//! replaced, the agent and the machine's boot included; what a service said is kept until it is forgotten.
//! Two drivers: `keeper`, one small process for each service, and `systemd`, one unit for each.

mod folder;
mod folders;
pub mod keeper;
mod logs;
mod order;
mod ports;
mod status;
pub mod systemd;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use footplate_core::release::service::StopSignal;

use crate::disk::DiskError;
use crate::shell::ShellError;

pub use folder::{Folder, State};
pub use logs::{Log, tail};
pub use order::{HEARTBEAT, NOTIFY_SOCKET, NotAService, Order, ServiceName};
pub use ports::{PortError, PortRegister, nobody_listens};
pub use status::{Enforcement, Exit, Phase, Status};

/// A service, and how it stands, unless that cannot be seen.
pub type Look = (ServiceName, Result<Status, ServiceError>);

/// Keeps services running. Every call may be repeated.
#[async_trait]
pub trait Supervisor: Send + Sync {
    /// Starts a service, or leaves it as it is when it runs already, and returns how it stands.
    ///
    /// It is started, not yet healthy. What was started stays so across restarts of the agent and the machine.
    async fn start(&self, order: &Order) -> Result<Status, ServiceError>;

    /// Asks a service to end, kills all of it after its grace, and returns when it is gone. One that does not run is fine.
    async fn stop(&self, name: &ServiceName) -> Result<(), ServiceError>;

    /// Ends a service like [`Supervisor::stop`] and starts it again.
    async fn restart(&self, name: &ServiceName) -> Result<(), ServiceError>;

    /// Sends a signal to the whole process group of a service. One that does not run is fine.
    async fn signal(&self, name: &ServiceName, signal: StopSignal) -> Result<(), ServiceError>;

    /// Looks at every service that was started and not forgotten: how each stands, or why that cannot be seen.
    ///
    /// # Errors
    /// It cannot be seen which there are.
    async fn look(&self) -> Result<Vec<Look>, ServiceError>;

    /// Says how one service stands; `None` when it was never started, or is forgotten.
    async fn status(&self, name: &ServiceName) -> Result<Option<Status>, ServiceError>;

    /// Lists how every service stands, for whoever needs them all.
    ///
    /// # Errors
    /// One of them cannot be looked at.
    async fn list(&self) -> Result<Vec<Status>, ServiceError> {
        self.look().await?.into_iter().map(|(_, status)| status).collect()
    }

    /// Starts again whatever was started, not stopped, and is not looked after: after a boot, or the end of its keeper.
    ///
    /// A process that survived its keeper goes on undisturbed. Returns what was taken up; what could not be is said in the log, and
    /// keeps nothing else from it.
    async fn revive(&self) -> Result<Vec<ServiceName>, ServiceError>;

    /// Removes what is kept of a stopped service, its logs too. Running ones are stopped first.
    async fn forget(&self, name: &ServiceName) -> Result<(), ServiceError>;
}

/// A service that could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its folder cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A program that we need for it could not be run.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// A program that we need for it failed.
    #[error("cannot {what} the service {name}: {said}")]
    Refused {
        /// What was tried: `start`, `stop`.
        what: &'static str,
        /// The service.
        name: Box<ServiceName>,
        /// What it said.
        said: String,
    },
    /// Its keeper does not answer.
    #[error("the keeper of the service {name} does not answer")]
    Silent {
        /// The service.
        name: Box<ServiceName>,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// It did not end in time.
    #[error("the service {0} was killed and does not end")]
    Undead(Box<ServiceName>),
}

impl ServiceError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            ServiceError::Disk(error) => error.next(),
            ServiceError::Shell(error) => error.next(),
            ServiceError::Refused { .. } => "mend what it says; it is tried again by itself".to_owned(),
            ServiceError::Silent { .. } => "look at the system's log; it is tried again by itself".to_owned(),
            ServiceError::Undead(_) => {
                "see what its process waits for, most often a lost disk; it is tried again by itself"
                    .to_owned()
            }
        }
    }
}

/// Opens the supervisor of this machine: systemd's where systemd runs it and we are root, else keepers.
///
/// `folder` is the agent's folder of services; `program` is footplate's own executable.
pub fn open(folder: &Path, program: PathBuf) -> Result<Arc<dyn Supervisor>, ServiceError> {
    if systemd::runs_this_machine() && rustix::process::geteuid().is_root() {
        crate::disk::create_folder(folder)?;
        return Ok(Arc::new(systemd::Systemd::new(folder)));
    }
    open_keepers(folder, program)
}

/// Opens keepers, whatever runs this machine.
pub fn open_keepers(folder: &Path, program: PathBuf) -> Result<Arc<dyn Supervisor>, ServiceError> {
    crate::disk::create_folder(folder)?;
    Ok(Arc::new(keeper::Keepers::new(folder, program)))
}

/// Takes from a round of looks what nobody looks after; says of the others only when they could not be seen.
fn forsaken(looks: Vec<Look>) -> impl Iterator<Item = ServiceName> {
    looks.into_iter().filter_map(|(name, looked)| match looked {
        Ok(status) => (status.phase == Phase::Forsaken).then_some(name),
        Err(error) => {
            tracing::error!(service = %name, "cannot see whether it must be started again: {}", crate::chain(&error));
            None
        }
    })
}

/// Notes a service that was taken up again, or says why it could not be.
fn revived(name: ServiceName, done: Result<(), ServiceError>) -> Option<ServiceName> {
    match done {
        Ok(()) => Some(name),
        Err(error) => {
            tracing::error!(service = %name, "cannot start it again: {}", crate::chain(&error));
            None
        }
    }
}
