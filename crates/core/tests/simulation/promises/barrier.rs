//! Promise 2: no target activates a release before every required target has prepared it, whatever the strategy.

use std::collections::BTreeSet;

use footplate_core::name::{ReleaseId, Target};
use footplate_core::rollout::Rollout;
use footplate_core::target::Action;

use super::{Fact, Promise, Scene, hold};
use crate::controller::rollout;
use crate::store::Value;
use crate::world::TTL;

/// Remembers the releases whose switch was rightly opened; only these may ever be live.
#[derive(Default)]
pub struct Barrier {
    opened: BTreeSet<ReleaseId>,
}

impl Promise for Barrier {
    fn name(&self) -> &'static str {
        "barrier"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Wrote { write, before, .. } => match (&write.value, before) {
                (Some(Value::Rollout(new)), before) => {
                    // One look may take it through the switch to its end: somebody moved every `live` by hand.
                    let opened = is_open(new);
                    let already = matches!(before, Some(Value::Rollout(old))
                        if old.number == new.number && is_open(old));
                    if opened && !already {
                        self.opened.insert(new.to.id.clone());
                        return all_have(new, scene);
                    }
                    Ok(())
                }
                (Some(Value::Barrier(generation)), _) => {
                    let stands = rollout(&scene.store);
                    let meant = stands
                        .is_some_and(|rollout| rollout.generation == *generation && rollout.has_switched());
                    hold(meant, || {
                        format!("the barrier opens at {generation}, and no rollout switches there")
                    })
                }
                _ => Ok(()),
            },
            Fact::Begun { target, action: Action::Activate(release), .. } => {
                hold(self.opened.contains(release), || {
                    format!("{target} activates {release} before any switch to it")
                })
            }
            _ => Ok(()),
        }
    }
}

/// Tells whether targets may activate: the barrier is open, or the first step has begun.
fn is_open(rollout: &Rollout) -> bool {
    rollout.has_switched() || rollout.course.is_some()
}

/// Looks at the disks themselves: every required target has the release, or lost it behind its agent's back meanwhile.
fn all_have(rollout: &Rollout, scene: &Scene) -> Result<(), String> {
    let has = |target: &Target| {
        let Some(machine) = scene.machines.get(&target.host) else { return false };
        let has = machine.disks.get(&target.group).is_some_and(|disk| disk.prepared.contains(&rollout.to.id));
        // A dead host counts as alive until its session expires, and its report with it.
        has || machine.incident_at.is_some_and(|at| at + TTL + TTL >= rollout.begun_at)
    };
    match rollout.required().find(|target| !has(target)) {
        None => hold(!rollout.hosts.is_empty(), || "a rollout switches on no host at all".to_owned()),
        Some(target) => {
            Err(format!("{} switches to {}, and {target} has not prepared it", rollout.path, rollout.to.id))
        }
    }
}
