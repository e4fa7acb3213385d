//! One host and one router of the search: what is really up, what is really in force, what is really in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{ReleaseId, Target};
use footplate_core::target::{Action, Assignment, Failure, Readiness, Report, Up};
use footplate_core::traffic::{Busy, EndpointState, Followed, Route, Traffic};

/// A host: the order that its agent obeys, and its disk and services.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub obeys: Arc<Assignment>,
    pub is: Report,
}

impl Machine {
    pub fn succeed(&mut self, target: &Target, action: &Action, now: Moment) {
        let (_, release) = action.parts();
        self.is.failed.remove(release);
        match action {
            Action::Prepare(release) => drop(self.is.prepared.insert(release.clone())),
            Action::Activate(release) => self.is.live = Some(release.clone()),
            Action::Start(release) => {
                let address = Some(format!("{}:{release}", target.host));
                let up = Up { readiness: Readiness::Ready, address, since: now, accepted: 0 };
                self.is.up.insert(release.clone(), up);
            }
            Action::Accept(release) => {
                let times = self.obeys.accept.as_ref().map_or(0, |accept| accept.times);
                self.is.up.get_mut(release).expect("it is up").accepted = times;
            }
            Action::Stop(release) => drop(self.is.up.remove(release)),
            Action::Clean(release) => drop(self.is.prepared.remove(release)),
        }
    }

    pub fn fail(&mut self, action: &Action, now: Moment) {
        let (verb, release) = action.parts();
        let failure = Failure {
            verb,
            generation: self.is.generation,
            reason: "it ended with 1".to_owned(),
            output: String::new(),
            lapse: None,
            attempts: 1,
            at: now,
        };
        self.is.failed.insert(release.clone(), failure);
    }
}

/// The router: what it has read, what is in force, what is in flight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Router {
    /// The division of traffic as it read it; the routes come next.
    pub read: Option<Arc<Traffic>>,
    pub traffic: Option<Arc<Traffic>>,
    pub routes: Arc<BTreeMap<Target, Route>>,
    pub flights: BTreeSet<(Target, ReleaseId)>,
}

impl Router {
    /// Lists where it may send a request now.
    pub fn serving(&self) -> impl Iterator<Item = (&Target, &ReleaseId)> {
        self.routes.iter().flat_map(|(target, route)| {
            let serving = route.endpoints.iter().filter(|(_, one)| one.state == EndpointState::Serving);
            serving.map(move |(id, _)| (target, id))
        })
    }

    pub fn followed(&self) -> Followed {
        let serves = |flight: &(Target, ReleaseId)| {
            self.serving().any(|(target, id)| *target == flight.0 && *id == flight.1)
        };
        let leaving = self.flights.iter().filter(|flight| !serves(flight));
        Followed {
            revision: self.revision(),
            busy: leaving
                .map(|(target, release)| Busy { target: target.clone(), release: release.clone() })
                .collect(),
        }
    }

    pub fn revision(&self) -> Generation {
        self.traffic.as_ref().map(|traffic| traffic.revision).unwrap_or_default()
    }
}
