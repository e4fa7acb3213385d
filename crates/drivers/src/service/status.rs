//! How a service stands, as its keeper or systemd sees it: facts, no judgement.

use std::fmt;
use std::path::PathBuf;

use footplate_core::health::Event;
use footplate_core::moment::Moment;
use serde::{Deserialize, Serialize};

use super::ServiceName;

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The file that is there once its process has said that it is ready.
    #[serde(default)]
    pub notified: PathBuf,
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

impl Exit {
    /// How a process ends that was asked to, and did not in time.
    pub const UNWILLING: &str = "it did not end within its grace and was killed";

    /// Tells whether it was asked to end, and had to be killed.
    pub fn was_unwilling(&self) -> bool {
        self.why == Self::UNWILLING
    }
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
        self.pid().is_some()
    }

    /// Returns the process id of its leader, when it runs.
    pub fn pid(&self) -> Option<i32> {
        match self.phase {
            Phase::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Tells whether no process of its ran between this look and a later one: it waited to be started again all the while.
    pub fn waited_until(&self, later: &Status) -> bool {
        let waits = |status: &Status| matches!(status.phase, Phase::Waiting { .. });
        waits(self) && waits(later) && (self.restarts, &self.last_exit) == (later.restarts, &later.last_exit)
    }

    /// Lists what happened to its process since it stood as `before`: every crash, and the start of the present process.
    ///
    /// Nothing happened before the first look: what runs then was started by whoever began its `Condition`.
    pub fn since(&self, before: &Status) -> Vec<Event> {
        let exit = self.last_exit.as_ref().filter(|exit| !exit.is_fine && self.last_exit != before.last_exit);
        let crash = exit.map(|exit| Event::Crashed(exit.why.clone()));
        let count = self.ends().saturating_sub(before.ends()).max(1);
        let crashes = crash.into_iter().flat_map(|crash| (0..count).map(move |_| crash.clone()));
        let is_new = self.is_running() && self.pid() != before.pid();
        crashes.chain(is_new.then_some(Event::Started)).collect()
    }

    /// Counts how often its process ended and was, or will be, started again.
    fn ends(&self) -> u64 {
        self.restarts + u64::from(matches!(self.phase, Phase::Waiting { .. }))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(phase: Phase, restarts: u64, ended: Option<(&str, u64)>) -> Status {
        let exit = |(why, at): (&str, u64)| Exit {
            is_fine: why == "fine",
            why: why.to_owned(),
            at: Moment::from_millis(at),
        };
        Status {
            name: "production.shop.web.1".parse().expect("a name"),
            phase,
            restarts,
            last_exit: ended.map(exit),
            port: None,
            enforced: Enforcement::default(),
            log: PathBuf::new(),
            heartbeat: PathBuf::new(),
            notified: PathBuf::new(),
        }
    }

    #[test]
    fn it_waited_all_the_while_only_if_nothing_was_started_in_between() {
        let waiting = |until| Phase::Waiting { until: Moment::from_millis(until) };
        let first = at(waiting(1), 3, Some(("boom", 5)));
        assert!(
            first.waited_until(&at(waiting(2), 3, Some(("boom", 5)))),
            "systemd says when, by its own clock"
        );
        for later in [
            at(waiting(9), 4, Some(("boom", 8))),
            at(Phase::Running { pid: 1, since: Moment::default() }, 4, Some(("boom", 5))),
            at(Phase::Stopped, 3, Some(("boom", 5))),
        ] {
            assert!(!first.waited_until(&later) && !later.waited_until(&first), "{later:?}");
        }
    }

    #[test]
    fn every_crash_is_told_once_whenever_one_looks() {
        let running = |pid| Phase::Running { pid, since: Moment::default() };
        let waiting = || Phase::Waiting { until: Moment::default() };
        let crashed = || Event::Crashed("boom".to_owned());
        let first = at(running(1), 0, None);
        let ended = at(waiting(), 0, Some(("boom", 5)));
        let again = at(running(2), 1, Some(("boom", 5)));
        let later = at(running(9), 4, Some(("boom", 9)));
        assert_eq!(first.since(&first), []);
        assert_eq!(ended.since(&first), [crashed()]);
        assert_eq!(again.since(&ended), [Event::Started], "its crash was told already");
        assert_eq!(again.since(&first), [crashed(), Event::Started]);
        assert_eq!(later.since(&again), [crashed(), crashed(), crashed(), Event::Started]);
        let restarted = at(running(2), 1, Some(("fine", 5)));
        assert_eq!(restarted.since(&first), [Event::Started], "somebody asked for it");
    }
}
