//! In the end one release is up on every target, the current one of its process group: live, ready, in the route, and nothing else;
//! and nothing at all on a host that matches no longer.

use footplate_core::name::{ReleaseId, Target};
use footplate_core::record::Key;
use footplate_core::target::Readiness;
use footplate_core::traffic::EndpointState;

use super::{Fact, Promise, Scene, hold};
use crate::controller::{current, target_name, wanted};
use crate::routers::routes;
use crate::store::{Store, Value};

pub struct OneRelease;

impl Promise for OneRelease {
    fn name(&self) -> &'static str {
        "one release at the end"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        if !matches!(fact, Fact::Ended) {
            return Ok(());
        }
        // What a first deployment left as it was is nobody's.
        if current(&scene.store).is_none_or(|current| current.track.release.is_none()) {
            return Ok(());
        }
        let mut routes = routes(&scene.store);
        for machine in scene.machines.values() {
            for (group, disk) in &machine.disks {
                let target = machine.target(group);
                let wanted = wanted(&scene.store, group);
                if machine.matches && wanted.is_none() && is_left_as_it_was(&scene.store, &target) {
                    routes.remove(&target);
                    continue;
                }
                let wanted = wanted.filter(|release| machine.matches && release.serves(group));
                let wanted: Vec<&ReleaseId> = wanted.map(|release| &release.id).into_iter().collect();
                let up: Vec<&ReleaseId> = disk.up.keys().collect();
                hold(up == wanted, || format!("{target} has {up:?} up in the end, and not {wanted:?}"))?;
                let ready = disk.up.values().all(|process| process.readiness == Readiness::Ready);
                hold(ready, || format!("{target} is not ready in the end: {:?}", disk.up))?;
                let route = routes.remove(&target).unwrap_or_default();
                let serving: Vec<&ReleaseId> = route.endpoints.keys().collect();
                let expected = if group.as_str() == "web" { wanted.clone() } else { Vec::new() };
                let serves = route.endpoints.values().all(|one| one.state == EndpointState::Serving);
                hold(serves && serving == expected, || format!("{target} has the route {route:?}"))?;
            }
        }
        hold(routes.is_empty(), || format!("nobody is behind {routes:?}"))
    }
}

/// Tells whether an order leaves up what a process group has that never came to be the app's.
fn is_left_as_it_was(store: &Store, target: &Target) -> bool {
    let key = Key::Assignment(target.host.clone(), target_name(&target.group));
    matches!(store.get(&key), Some(Value::Assignment(order)) if !order.idle)
}
