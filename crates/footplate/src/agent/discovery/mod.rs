//! This host's services in a catalog where programs look them up that are none of ours.
//!
//! Invariants: an instance takes requests there only while its route says so, its service is ready here and this agent lives;
//! the new one is in before the old one is out; nothing is asked while nothing changes but that the agent lives; losing the
//! catalog or the store stops nothing.

mod doors;
mod ledger;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::{HostName, ReleaseId, TargetName};
use footplate_core::record::{Key, Written};
use footplate_core::target::{Readiness, Up};
use footplate_core::traffic::{DiscoveryReport, DiscoveryTrouble, EndpointState};
use footplate_drivers::chain;
use footplate_drivers::discovery::{self, Catalog, DiscoveryError, Instance, InstanceName, Reason, Standing};
use footplate_drivers::store::{Backoff, Store, Troubles};
use tokio::sync::watch;

pub use doors::{Doors, Leaving};
use ledger::{Ledger, Wanted};
use view::{Bells, Place, View};

use super::presence::Membership;
use super::reporter::Reporter;
use super::services::Services;
use super::worker::Shared;

/// A sign of life comes so many times in a time to live: two may be lost.
const SIGNS_PER_TTL: u32 = 3;
/// How long one poll of a route lasts. There is one for each service, and an idle agent asks seldom.
const POLL_PATIENCE: Duration = Duration::from_secs(300);
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Enters the services of one host in a catalog.
pub struct Discovery {
    /// The host.
    host: HostName,
    /// Where routes come from.
    store: Arc<dyn Store>,
    /// What is said when the store does not answer.
    troubles: Troubles,
    /// The catalog.
    catalog: Arc<dyn Catalog>,
    /// How long instances outlive a sign of life.
    ttl: Duration,
    /// The services of the host.
    services: Arc<Services>,
    /// Whether this agent speaks for it.
    membership: watch::Receiver<Membership>,
    /// Who leaves.
    doors: Arc<Doors>,
    /// Where it is said how the agent gets on with the catalog.
    reporter: Arc<Reporter>,
}

/// All services of a host that are up.
type AllUp = BTreeMap<TargetName, BTreeMap<ReleaseId, Up>>;

/// Keeps the catalog right until it is dropped, if there is one.
pub async fn run(discovery: Option<Discovery>) {
    if let Some(discovery) = discovery {
        discovery.run().await;
    }
}

impl Discovery {
    /// Opens the catalog for a host, if one is configured; nothing is sent yet.
    pub fn open(
        config: Option<&discovery::Config>,
        shared: &Shared,
        membership: watch::Receiver<Membership>,
    ) -> Result<Option<Self>, DiscoveryError> {
        let (Some(config), Some(doors)) = (config, &shared.doors) else { return Ok(None) };
        Ok(Some(Self {
            host: shared.host.clone(),
            store: Arc::clone(&shared.store),
            troubles: shared.troubles.clone(),
            catalog: discovery::open(config, &shared.host)?,
            ttl: config.ttl,
            services: Arc::clone(&shared.services),
            membership,
            doors: Arc::clone(doors),
            reporter: Arc::clone(&shared.reporter),
        }))
    }

    /// Keeps the catalog right until it is dropped.
    pub async fn run(mut self) {
        let mut bells =
            Bells::new(self.host.clone(), Arc::clone(&self.store), self.troubles.clone(), POLL_PATIENCE);
        let mut view = View::new(self.host.clone());
        let mut ledger = Ledger::new(Arc::clone(&self.catalog), self.ttl / SIGNS_PER_TTL);
        let mut trouble = Trouble::new(&self);
        let mut reading = self.troubles.of("read the routes of this host's services");
        let (mut news, mut wishes) = (self.services.subscribe(), self.doors.wishes());
        let (mut is_stale, mut has_held) = (true, false);
        loop {
            let standing = self.membership.borrow_and_update().clone();
            has_held |= matches!(standing, Membership::Held(_));
            news.mark_unchanged();
            wishes.mark_unchanged();
            let mut pause = Duration::MAX;
            if standing == Membership::Taken {
                ledger.forget();
            } else {
                let up = self.services.all_up();
                let targets: BTreeSet<TargetName> = up.keys().cloned().collect();
                bells.hang(&targets);
                if has_held && (is_stale || !view.covers(&targets)) {
                    match view.refresh(self.store.as_ref(), &targets).await {
                        Ok(()) => {
                            reading.is_over();
                            is_stale = false;
                        }
                        Err(error) => pause = reading.failed(&error),
                    }
                }
                let wanted = (has_held && view.covers(&targets)).then(|| self.wanted(&up, &view));
                let kept = ledger.keep(wanted.as_ref()).await;
                if wanted.is_some() {
                    self.doors.note(&ledger.outside(up_names(&up)));
                }
                pause = pause.min(trouble.note(kept)).min(ledger.next_due()).min(view.next_end());
            }
            tokio::select! {
                () = bells.ring() => is_stale = true,
                Ok(()) = news.changed() => (),
                Ok(()) = wishes.changed() => (),
                Ok(()) = self.membership.changed() => (),
                () = tokio::time::sleep(pause) => (),
            }
        }
    }

    /// Returns what should stand in the catalog.
    fn wanted(&self, up: &AllUp, view: &View) -> Wanted {
        let mut wanted = Wanted::new();
        for (target, releases) in up {
            let places = view.places(target);
            for (release, up) in releases {
                let name = InstanceName { target: target.clone(), release: release.clone() };
                let address = up.address.as_ref().and_then(|address| address.parse().ok());
                let (Some(address), Some(place)) = (address, places.get(release)) else { continue };
                if !self.doors.is_leaving(&name) {
                    wanted.insert(name, Instance { address, standing: standing(up.readiness, *place) });
                }
            }
        }
        wanted
    }
}

fn up_names(up: &AllUp) -> impl Iterator<Item = InstanceName> {
    up.iter().flat_map(|(target, releases)| {
        releases.keys().map(|release| InstanceName { target: target.clone(), release: release.clone() })
    })
}

fn standing(readiness: Readiness, place: Place) -> Standing {
    match (place.state, readiness, place.weight) {
        (EndpointState::Standby, ..) => Standing::Out(Reason::Standby),
        (EndpointState::Draining, ..) => Standing::Out(Reason::Draining),
        (EndpointState::Serving, Readiness::Starting | Readiness::Unready, _) => {
            Standing::Out(Reason::Unready)
        }
        (EndpointState::Serving, Readiness::Ready, 0) => Standing::Out(Reason::NoShare),
        (EndpointState::Serving, Readiness::Ready, weight) => Standing::Serving(weight),
    }
}

/// Says once that the catalog does not take what the agent says, and once that it does again; here, and in the store.
struct Trouble {
    catalog: String,
    key: String,
    reporter: Arc<Reporter>,
    pauses: Backoff,
    said: Option<DiscoveryTrouble>,
}

impl Trouble {
    fn new(discovery: &Discovery) -> Self {
        let trouble = Self {
            catalog: discovery.catalog.describe(),
            key: Key::Discovery(discovery.host.clone()).to_string(),
            reporter: Arc::clone(&discovery.reporter),
            pauses: Backoff::new(PAUSE_FIRST, PAUSE_MAX, u64::from(std::process::id())),
            said: None,
        };
        trouble.report();
        trouble
    }

    /// Notes how it went, and returns how long to wait before the next try.
    fn note(&mut self, kept: Result<(), DiscoveryError>) -> Duration {
        let trouble = kept
            .err()
            .map(|error| DiscoveryTrouble { because: chain(&error), next: error.next().to_owned() });
        let pause = match &trouble {
            Some(_) => self.pauses.step(),
            None => {
                self.pauses.reset();
                Duration::MAX
            }
        };
        let before = std::mem::replace(&mut self.said, trouble);
        match (&before, &self.said) {
            (before, Some(DiscoveryTrouble { because, next })) if before.as_ref() != self.said.as_ref() => {
                tracing::warn!(
                    "cannot keep this host's services in {}\n  because: {because}\n  next: {next}",
                    self.catalog
                );
            }
            (Some(_), None) => tracing::info!("this host's services stand in {} again", self.catalog),
            _ => return pause,
        }
        self.report();
        pause
    }

    fn report(&self) {
        let report = DiscoveryReport { catalog: self.catalog.clone(), trouble: self.said.clone() };
        let value = serde_json::to_vec(&Written(&report)).expect("a report is text");
        self.reporter.publish(&self.key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_let_in_and_ready_and_has_a_share_takes_requests() {
        use EndpointState::{Draining, Serving, Standby};
        use Readiness::{Ready, Starting, Unready};
        for (state, readiness, weight, expected) in [
            (Serving, Ready, 1000, Standing::Serving(1000)),
            (Serving, Ready, 0, Standing::Out(Reason::NoShare)),
            (Serving, Unready, 1000, Standing::Out(Reason::Unready)),
            (Serving, Starting, 1000, Standing::Out(Reason::Unready)),
            (Standby, Ready, 1000, Standing::Out(Reason::Standby)),
            (Draining, Ready, 1000, Standing::Out(Reason::Draining)),
            (Draining, Unready, 0, Standing::Out(Reason::Draining)),
        ] {
            assert_eq!(
                standing(readiness, Place { state, weight }),
                expected,
                "{state:?} {readiness:?} {weight}"
            );
        }
    }
}
