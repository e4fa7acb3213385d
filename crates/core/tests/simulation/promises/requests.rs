//! No request is lost by what a rollout does: when its order stops a service, no router sends anything there any more and
//! nothing is in flight, unless the time to drain is over, or the router was given up. Held where neither the store nor routers have misfortunes.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::moment::Moment;
use footplate_core::name::{ReleaseId, Target};
use footplate_core::record::Key;
use footplate_core::rollout::{At, Position, Rollout, WayBack};
use footplate_core::target::Action;

use super::{Fact, Promise, Scene, hold};
use crate::controller::rollout;
use crate::machine::Disk;
use crate::routers::Router;
use crate::store::Value;

/// Remembers since when every living router knows that an endpoint takes no new request.
#[derive(Default)]
pub struct Requests {
    left: BTreeMap<(Target, ReleaseId), Moment>,
}

impl Promise for Requests {
    fn name(&self) -> &'static str {
        "no request is lost"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Passed => {
                self.remember(scene);
                Ok(())
            }
            Fact::Begun { target, action: Action::Stop(release), disk } if scene.in_order => {
                let Some(rollout) = rollout(&scene.store)
                    .filter(|one| moves(one, target, release) && has_ordered(one, target, disk))
                else {
                    return Ok(());
                };
                let left = self.left.get(&(Target::clone(target), release.clone()));
                let drained = left.is_some_and(|left| *left + rollout.policy.pace.drain <= scene.now);
                let known = scene.routers.iter().filter(|router| is_known(rollout, router, scene));
                for router in known {
                    hold(!router.sends_to(target, release), || {
                        format!("{target} stops {release}, and {} sends requests to it", router.name)
                    })?;
                    let mut flights = router.flights.iter();
                    let busy = flights.any(|flight| flight.target == **target && flight.release == *release);
                    hold(!busy || drained, || {
                        format!("{target} stops {release} with requests of {} in flight", router.name)
                    })?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Requests {
    fn remember(&mut self, scene: &Scene) {
        let known = self.left.keys().cloned();
        let flights = scene.routers.iter().flat_map(|router| &router.flights);
        let used = flights.map(|flight| (flight.target.clone(), flight.release.clone()));
        let places: BTreeSet<(Target, ReleaseId)> = known.chain(used).collect();
        for (target, release) in places {
            let sent = scene.routers.iter().any(|router| router.sends_to(&target, &release));
            if sent {
                self.left.remove(&(target, release));
            } else {
                self.left.entry((target, release)).or_insert(scene.now);
            }
        }
    }
}

/// Tells whether the rollout waits for this router: one whose agent was away for too long it may go on without.
fn is_known(rollout: &Rollout, router: &Router, scene: &Scene) -> bool {
    match scene.store.get(&Key::Router(router.name.clone())) {
        Some(Value::Router(report)) => {
            report.follows(&rollout.path).is_some_and(|followed| followed.revision >= rollout.roll_call)
        }
        _ => true,
    }
}

/// Tells whether it is one of the rollout's two releases: what a first deployment left behind is nobody's.
fn moves(rollout: &Rollout, target: &Target, release: &ReleaseId) -> bool {
    let is_from = rollout.from_of(&target.group).is_some_and(|from| from.id == *release);
    is_from || (rollout.to.id == *release && !rollout.is_first())
}

/// Tells whether what this target obeys is an order that this rollout gave by the target's position. A host on which the new
/// release failed, or that the rollout left alone, follows at the end like one that joins.
fn has_ordered(rollout: &Rollout, target: &Target, disk: &Disk) -> bool {
    let course = rollout.course.as_ref().filter(|_| rollout.requires(target));
    course.is_some_and(|course| {
        let position = course.positions.get(&target.host);
        // An agent that was away for longer than the way back may take wakes up with an order of the way forward.
        let given_up = course.way_back > Some(WayBack::Restoring);
        let by_position = |position: &Position| {
            !matches!(position.at, At::Failed | At::Skipped) && (disk.obeyed >= position.since || !given_up)
        };
        disk.obeyed >= course.base && disk.obeyed <= rollout.generation && position.is_some_and(by_position)
    })
}
