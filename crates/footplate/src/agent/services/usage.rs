//! What services use, as `/proc` says.

use std::collections::BTreeMap;
use std::sync::Arc;

use footplate_core::name::{ReleaseId, TargetName};
use footplate_core::usage::Usage;
use footplate_drivers::service::Status;
use footplate_drivers::shell::census;
use rustix::process::Pid;

use super::{Services, blocking};

impl Services {
    /// Says what each service that is up uses, by target.
    pub async fn usage(&self) -> BTreeMap<TargetName, BTreeMap<ReleaseId, Usage>> {
        let statuses = Arc::clone(&self.statuses.borrow());
        let up: Vec<Status> = {
            let tended = self.tended();
            statuses.values().filter(|status| tended.contains_key(&status.name)).cloned().collect()
        };
        blocking(move || used(up)).await
    }
}

/// Looks at each of these services. Blocking.
fn used(services: Vec<Status>) -> BTreeMap<TargetName, BTreeMap<ReleaseId, Usage>> {
    let mut all: BTreeMap<TargetName, BTreeMap<ReleaseId, Usage>> = BTreeMap::new();
    for status in services {
        let usage = Usage { restarts: status.restarts, memory_bytes: memory_bytes(&status) };
        all.entry(status.name.target).or_default().insert(status.name.release, usage);
    }
    all
}

/// Returns what a service's process and all that it started have in memory; nothing when it does not run.
fn memory_bytes(status: &Status) -> Option<u64> {
    let used = census::used(&[Pid::from_raw(status.pid()?)?]);
    (used.memory_bytes > 0).then_some(used.memory_bytes)
}
