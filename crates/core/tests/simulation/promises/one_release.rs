//! In the end one release is up on every target, the current one of its process group: live, ready, in the route, and nothing else.

use footplate_core::name::ReleaseId;
use footplate_core::target::Readiness;
use footplate_core::traffic::EndpointState;

use super::{Fact, Promise, Scene, hold};
use crate::controller::wanted;
use crate::routers::routes;

pub struct OneRelease;

impl Promise for OneRelease {
    fn name(&self) -> &'static str {
        "one release at the end"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        if !matches!(fact, Fact::Ended) {
            return Ok(());
        }
        let mut routes = routes(&scene.store);
        for machine in scene.machines.values() {
            for (group, disk) in &machine.disks {
                let target = machine.target(group);
                let Some(release) = wanted(&scene.store, group) else { return Ok(()) };
                let wanted: Vec<&ReleaseId> =
                    release.has_services().then_some(&release.id).into_iter().collect();
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
