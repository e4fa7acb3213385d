//! Promise 10: what somebody deleted in the store by hand is written again.

use footplate_core::record::Key;
use footplate_core::rollout::barrier;

use super::{Fact, Promise, Scene, hold};
use crate::controller::{current, path, rollout, target_name};
use crate::store::Value;

pub struct Repaired;

impl Promise for Repaired {
    fn name(&self) -> &'static str {
        "removals are repaired"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        if !matches!(fact, Fact::Ended) {
            return Ok(());
        }
        let Some(current) = current(&scene.store).filter(|current| current.track.release.is_some()) else {
            return Ok(());
        };
        for release in current.kept() {
            let key = Key::Release(path().app, release.id.clone());
            hold(scene.store.get(&key).is_some(), || format!("{key} is missing"))?;
        }
        for machine in scene.machines.values().filter(|machine| machine.matches) {
            for group in machine.disks.keys().filter(|group| current.has(group)) {
                let key = Key::Assignment(machine.name.clone(), target_name(group));
                hold(scene.store.get(&key).is_some(), || format!("{key} is missing"))?;
            }
        }
        let standing = rollout(&scene.store).filter(|rollout| rollout.generation >= current.orders);
        let needed = standing.and_then(barrier);
        let stands = match scene.store.get(&Key::Barrier(path())) {
            Some(Value::Barrier(generation)) => Some(*generation),
            _ => None,
        };
        hold(needed.is_none() || stands >= needed, || {
            format!("the barrier stands at {stands:?} and not {needed:?}")
        })
    }
}
