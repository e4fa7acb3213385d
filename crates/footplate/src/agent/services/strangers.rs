//! Services whose port somebody else has taken: they end as soon as they begin, and would for ever.
//!
//! Invariant: a service that may have a process of its own is none of them, as that may be what listens.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use footplate_core::name::{ReleaseId, TargetName};
use footplate_core::release::service::Listen;
use footplate_drivers::service::{Phase, ServiceName, Status, Supervisor, nobody_listens};

/// What the operating system says to who opens a port that is taken.
const IN_USE: &str = "Address already in use";

/// The services that wait to be started again while their port is taken.
#[derive(Default)]
pub struct Strangers(Mutex<BTreeSet<ServiceName>>);

impl Strangers {
    /// Looks for them; `listen` says who opens the port of a service that is tended. Tells whether there are any.
    pub async fn look(
        &self,
        list: &[Status],
        listen: impl Fn(&Status) -> Option<Listen>,
        supervisor: &dyn Supervisor,
    ) -> bool {
        let suspects: Vec<&Status> = list
            .iter()
            .filter(|status| listen(status).is_some_and(|listen| is_kept_out(status, listen)))
            .collect();
        if suspects.is_empty() {
            self.displaced_all().clear();
            return false;
        }
        // It may have begun since the first look, and be what listens. What cannot be looked at is looked at later.
        let mut displaced = BTreeSet::new();
        for status in suspects {
            let again = supervisor.status(&status.name).await;
            if again.is_ok_and(|later| later.is_some_and(|later| status.waited_until(&later))) {
                displaced.insert(status.name.clone());
            }
        }
        let are_there = !displaced.is_empty();
        *self.displaced_all() = displaced;
        are_there
    }

    /// Returns one of a target.
    pub fn displaced(&self, target: &TargetName) -> Option<ReleaseId> {
        let displaced = self.displaced_all();
        displaced.iter().find(|name| name.target == *target).map(|name| name.release.clone())
    }

    /// Forgets a service that was stopped.
    pub fn forget(&self, name: &ServiceName) {
        self.displaced_all().remove(name);
    }

    fn displaced_all(&self) -> MutexGuard<'_, BTreeSet<ServiceName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a service waits to be started again while somebody listens on its port. A socket that is handed over stays open
/// meanwhile: it is somebody else's only if it could not be opened.
fn is_kept_out(status: &Status, listen: Listen) -> bool {
    let could_not_open = || status.last_exit.as_ref().is_some_and(|exit| exit.why.contains(IN_USE));
    matches!(status.phase, Phase::Waiting { .. })
        && (listen == Listen::Port || could_not_open())
        && status.port.is_some_and(|port| !nobody_listens(port))
}
