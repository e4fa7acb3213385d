//! How a service stands, as its keeper or systemd sees it: facts, no judgement.

use std::fmt;
use std::path::PathBuf;

use footplate_core::moment::Moment;
use serde::{Deserialize, Serialize};

use super::ServiceName;

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which service.
    pub name: ServiceName,
    /// What its process does.
    pub phase: Phase,
    /// How often its process was started again.
    pub restarts: u64,
    /// How its process ended last.
    pub last_exit: Option<Exit>,
    /// Its port, when it takes connections.
    pub port: Option<u16>,
    /// Who holds its limits.
    pub enforced: Enforcement,
    /// The file that it writes to now; older ones lie beside it as `.1`, `.2`, …
    pub log: PathBuf,
    /// The file that it touches to show that it works.
    pub heartbeat: PathBuf,
}

/// What a service's process does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// It runs.
    Running {
        /// The process id of its leader.
        pid: i32,
        /// Since when.
        since: Moment,
    },
    /// It ended and is started again.
    Waiting {
        /// When.
        until: Moment,
    },
    /// It waits for its hour.
    Resting {
        /// When that is.
        until: Moment,
    },
    /// It is being ended.
    Stopping {
        /// When it is killed.
        until: Moment,
    },
    /// It was ended, and stays so.
    Stopped,
    /// It should run, and nobody looks after it: see [`super::Supervisor::revive`].
    Forsaken,
}

/// How a process ended, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How, in a sentence that begins with `it`.
    pub why: String,
    /// Whether that is as it should be: it was told to, or it is a scheduled run that ended well.
    pub is_fine: bool,
    /// When.
    pub at: Moment,
}

/// Who holds a service's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// The kernel: memory, processor time and tasks, by a control group.
    Kernel,
    /// Its keeper, by looking at memory and tasks twice a second; nobody holds its processor time.
    #[default]
    Sampled,
    /// Nobody: systemd runs the machine, and its kernel has no control groups for memory and processor time.
    Nobody,
}

impl Status {
    /// Tells whether its process runs now.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
