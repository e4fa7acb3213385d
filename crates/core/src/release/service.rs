//! What a service is: a process group's command, its limits, its health and its end. Whole in the release.
//!
//! Invariants: every limit has a value; a service that takes connections has ports, any other has none; lengths of
//! time are stored as milliseconds. What a stored service does not say has the default of the version that reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_millis;
use super::entrance::{Entrance, Sticky};
use super::requests::Requests;
use super::schedule::Schedule;

/// Plain variables: names and values that are no secrets.
pub type Variables = BTreeMap<String, String>;

/// One process group of an app: how its process is started, watched, bounded and ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The command line, run by `sh -c`.
    pub command: String,
    /// The folder to start in, below the release's; empty for the release's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directory: String,
    /// Who it runs as; the agent's user for targets when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its variables in every environment; those of the environment win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Variables,
    /// What it does all day.
    pub kind: Kind,
    /// The requests that it answers, when it takes connections; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<BTreeSet<Entrance>>,
    /// By what a client stays with its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// What a request may take, when it takes connections.
    #[serde(default, skip_serializing_if = "Requests::are_usual")]
    pub requests: Requests,
    /// How one sees that it works.
    #[serde(default)]
    pub health: Health,
    /// How long requests that it has begun may take to end once it gets no new ones.
    #[serde(with = "duration_millis")]
    pub drain: Duration,
    /// How it is asked to end.
    #[serde(default)]
    pub stop: Stop,
    /// When it is started again after it ended by itself.
    #[serde(default)]
    pub restart: Restart,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// How much of what it prints is kept.
    #[serde(default)]
    pub logs: Logs,
}

/// What a service does all day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Kind {
    /// Takes connections on a port of this machine, which `PORT` names.
    Web {
        /// Where its ports come from: the old and the new release have one each.
        ports: Ports,
        /// Who opens the port.
        listen: Listen,
    },
    /// Takes its work from elsewhere: a queue, a table, a folder.
    Worker,
    /// Runs, ends, and runs again.
    Scheduled {
        /// When.
        schedule: Schedule,
    },
}

/// A range of TCP ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// Who opens a service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listen {
    /// The service itself, on the port in `PORT`.
    Port,
    /// Whoever starts it: the service finds the socket as descriptor 3, by systemd's protocol (`LISTEN_FDS`).
    Socket,
}

/// How one sees that a service works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Says that it has come up; readiness says so when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// Says whether it takes work now; a process that runs is ready when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Says whether it must be restarted: asked only after it came up; a process that runs is alive when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// How long it may take to come up.
    #[serde(with = "duration_millis")]
    pub start_deadline: Duration,
    /// How long it must have been ready without a break before it counts as settled.
    #[serde(with = "duration_millis")]
    pub healthy_time_min: Duration,
    /// How long an unready service may stay so before it has failed.
    #[serde(with = "duration_millis")]
    pub unready_deadline: Duration,
    /// How many crashes within `crash_window` make it fail.
    pub crashes_max: u32,
    /// The time that crashes are counted over.
    #[serde(with = "duration_millis")]
    pub crash_window: Duration,
}

/// One question, asked again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    #[serde(flatten)]
    pub check: Check,
    /// The time from one question to the next.
    #[serde(with = "duration_millis")]
    pub interval: Duration,
    /// How long an answer may take.
    #[serde(with = "duration_millis")]
    pub timeout: Duration,
    /// How many good answers in a row make it good.
    pub healthy_after: u32,
    /// How many bad answers in a row make it bad.
    pub unhealthy_after: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum Check {
    /// `GET PATH` on the service's port; a status from 200 to 399 is good.
    Http {
        /// The path, with a leading slash.
        path: String,
    },
    /// A connection to the service's port; accepted is good.
    Tcp,
    /// A command in the release's folder with the service's variables; status 0 is good.
    Command {
        /// The command line, run by `sh -c`.
        command: String,
    },
    /// The file in `HEARTBEAT`; touched within `within` is good.
    Heartbeat {
        /// The longest time between two touches.
        #[serde(with = "duration_millis")]
        within: Duration,
    },
    /// What it says of itself to the socket in `NOTIFY_SOCKET`, by systemd's protocol (sd_notify(3)): good from `READY=1` on, until
    /// `STOPPING=1`. Says nothing of whether it still works later on.
    Notify,
}

/// How a service is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stop {
    /// The polite signal, to the whole process group.
    pub signal: StopSignal,
    /// How long it has before the whole group is killed.
    #[serde(with = "duration_millis")]
    pub grace: Duration,
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// The usual one.
    Term,
    /// As if by Ctrl-C.
    Int,
    /// nginx and php-fpm finish their requests on it.
    Quit,
    /// The terminal is gone.
    Hup,
    /// The app's own meaning.
    Usr1,
    /// The app's own meaning.
    Usr2,
    /// Apache finishes its requests on it.
    Winch,
}

/// When a service that ended by itself is started again: after `delay_min`, doubled each time, at most `delay_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// The first delay.
    #[serde(with = "duration_millis")]
    pub delay_min: Duration,
    /// The longest delay.
    #[serde(with = "duration_millis")]
    pub delay_max: Duration,
    /// A run that lasted this long begins the delays anew.
    #[serde(with = "duration_millis")]
    pub calm_after: Duration,
}

/// What a service may use, all its processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory; over it the service is killed and started again.
    pub memory_bytes: u64,
    /// Processor time, in thousandths of one processor.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub tasks_max: u32,
    /// Open files of each process.
    pub files_max: u32,
}

/// How much of what a service prints is kept, for each of its releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logs {
    /// A file of this size is closed and the next begun.
    pub file_bytes_max: u64,
    /// How many files there are at most, the one that is written included.
    pub files_max: u32,
}

impl Service {
    /// Returns a service that takes connections, with the defaults of everything and no health check.
    pub fn web(command: impl Into<String>) -> Self {
        Self::new(command, Kind::Web { ports: Ports::default(), listen: Listen::Port })
    }

    /// Returns a service without a port, with the defaults of everything and no health check.
    pub fn worker(command: impl Into<String>) -> Self {
        Self::new(command, Kind::Worker)
    }

    /// Returns a service of this kind with the defaults of everything and no health check.
    pub fn new(command: impl Into<String>, kind: Kind) -> Self {
        Self {
            command: command.into(),
            directory: String::new(),
            user: None,
            env: Variables::new(),
            kind,
            routes: None,
            sticky: None,
            requests: Requests::default(),
            health: Health::default(),
            drain: Duration::from_secs(20),
            stop: Stop::default(),
            restart: Restart::default(),
            limits: Limits::default(),
            logs: Logs::default(),
        }
    }

    /// Returns where its ports come from, when it takes connections.
    pub fn ports(&self) -> Option<Ports> {
        match self.kind {
            Kind::Web { ports, .. } => Some(ports),
            Kind::Worker | Kind::Scheduled { .. } => None,
        }
    }

    /// Tells whether traffic is sent to it.
    pub fn takes_connections(&self) -> bool {
        self.ports().is_some()
    }
}

impl Probe {
    /// Returns a probe once a second with five seconds to answer, good after one good answer, bad after three bad ones.
    pub fn new(check: Check) -> Self {
        Self {
            check,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            healthy_after: 1,
            unhealthy_after: 3,
        }
    }
}

impl Health {
    /// Tells whether the service says by itself that it is ready ([`Check::Notify`]).
    pub fn is_told(&self) -> bool {
        let probes = [&self.startup, &self.readiness, &self.liveness].into_iter().flatten();
        probes.into_iter().any(|probe| probe.check == Check::Notify)
    }
}

impl Default for Ports {
    /// Returns 20000 to 29999: below the range that Linux takes outgoing connections from.
    fn default() -> Self {
        Self { first: 20_000, last: 29_999 }
    }
}

impl Default for Health {
    /// Returns: no probes, 60 s to come up, settled after 5 s, failed after 60 s unready or 3 crashes in 10 min.
    fn default() -> Self {
        Self {
            startup: None,
            readiness: None,
            liveness: None,
            start_deadline: Duration::from_secs(60),
            healthy_time_min: Duration::from_secs(5),
            unready_deadline: Duration::from_secs(60),
            crashes_max: 3,
            crash_window: Duration::from_secs(600),
        }
    }
}

impl Default for Stop {
    /// Returns: SIGTERM, and 10 s.
    fn default() -> Self {
        Self { signal: StopSignal::Term, grace: Duration::from_secs(10) }
    }
}

impl Default for Restart {
    /// Returns: 1 s to 60 s, anew after a minute.
    fn default() -> Self {
        Self {
            delay_min: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
            calm_after: Duration::from_secs(60),
        }
    }
}

impl Default for Limits {
    /// Returns: 512 MiB, one processor, 512 tasks, 8192 open files.
    fn default() -> Self {
        Self { memory_bytes: 512 << 20, cpu_millis: 1000, tasks_max: 512, files_max: 8192 }
    }
}

impl Default for Logs {
    /// Returns: 5 files of 10 MiB.
    fn default() -> Self {
        Self { file_bytes_max: 10 << 20, files_max: 5 }
    }
}
