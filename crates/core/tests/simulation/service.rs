//! The services of one target: processes that outlive their agent, and what the agent sees of them.

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::name::ReleaseId;
use footplate_core::target::{Readiness, Up};

/// A process, restarted by its keeper.
#[derive(Clone, Debug)]
pub struct Process {
    pub since: Moment,
    /// When it becomes healthy, or healthy again.
    pub ready_at: Moment,
    /// When it counts as failed unless it is healthy by then.
    pub fails_at: Option<Moment>,
    pub accepted: u32,
    pub address: Option<String>,
    /// What the agent saw last.
    pub readiness: Readiness,
}

/// How long a service may be unhealthy before it has failed.
pub const PATIENCE: Duration = Duration::from_secs(15);

impl Process {
    pub fn start(now: Moment, ready_at: Moment, address: Option<String>) -> Self {
        let fails_at = Some(now + PATIENCE);
        Self { since: now, ready_at, fails_at, accepted: 0, address, readiness: Readiness::Starting }
    }

    /// Takes its health away for a while; one that fails is said to have failed.
    pub fn sicken(&mut self, now: Moment, until: Moment, dies: bool) {
        self.ready_at = until;
        self.fails_at = Some(if dies { now } else { now + PATIENCE });
    }

    /// Looks at it, and tells whether it has just failed.
    pub fn look(&mut self, now: Moment) -> bool {
        if now >= self.ready_at {
            self.readiness = Readiness::Ready;
            self.fails_at = None;
            return false;
        }
        if self.readiness == Readiness::Ready {
            self.readiness = Readiness::Unready;
        }
        self.fails_at.take_if(|at| *at <= now).is_some()
    }
}

pub fn reported(up: &BTreeMap<ReleaseId, Process>) -> BTreeMap<ReleaseId, Up> {
    let told = |process: &Process| Up {
        readiness: process.readiness,
        address: process.address.clone(),
        since: process.since,
        accepted: process.accepted,
    };
    up.iter().map(|(id, process)| (id.clone(), told(process))).collect()
}
