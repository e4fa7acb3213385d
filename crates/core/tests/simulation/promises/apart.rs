//! A rollout of some process groups changes nothing on the targets of the others: they are told to run what they ran, and
//! never do anything with a release that no rollout of theirs was about.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::fleet::{Seen, Turn};
use footplate_core::name::{GroupName, ReleaseId};
use footplate_core::target::Action;

use super::{Fact, Promise, Scene, hold};
use crate::controller::wanted;
use crate::store::Value;

#[derive(Default)]
pub struct Apart {
    /// The releases that rollouts of each process group were about.
    meant: BTreeMap<GroupName, BTreeSet<ReleaseId>>,
    /// Where the last rollout of each process group arrived.
    arrived: BTreeMap<GroupName, ReleaseId>,
}

impl Promise for Apart {
    fn name(&self) -> &'static str {
        "what is not moved stays"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Wrote { write, .. } => {
                let Some(Value::Rollout(rollout)) = &write.value else { return Ok(()) };
                let arrived = rollout.outcome().is_some_and(|outcome| outcome.arrived());
                for group in &rollout.groups {
                    let meant = self.meant.entry(group.clone()).or_default();
                    meant.insert(rollout.to.id.clone());
                    // One that is new gets what the app may go back to as well.
                    if rollout.from_of(group).is_none() {
                        let keep = rollout.apart.get(group).map_or(&rollout.keep, |leaving| &leaving.keep);
                        meant.extend(keep.iter().map(|release| release.id.clone()));
                    }
                    if arrived {
                        self.arrived.insert(group.clone(), rollout.to.id.clone());
                    }
                }
                Ok(())
            }
            Fact::Restored => {
                let groups = scene.machines.values().flat_map(|machine| machine.disks.keys());
                let stands = |group: &GroupName| {
                    wanted(&scene.store, group).map(|release| (group.clone(), release.id.clone()))
                };
                self.arrived = groups.filter_map(stands).collect();
                Ok(())
            }
            Fact::Begun { target, action, .. } => {
                let (Action::Prepare(release) | Action::Start(release) | Action::Activate(release)) = action
                else {
                    return Ok(());
                };
                let is_meant = self.meant.get(&target.group).is_some_and(|meant| meant.contains(release));
                hold(is_meant, || {
                    format!(
                        "{target} begins to {action:?}, and no rollout of its process group was about that"
                    )
                })
            }
            Fact::Decided { seen, turn } => self.judge_orders(seen, turn),
            _ => Ok(()),
        }
    }
}

impl Apart {
    fn judge_orders(&self, seen: &Seen, turn: &Turn) -> Result<(), String> {
        let rollout = turn.rollout.as_ref().or(seen.rollout.as_ref());
        let Some(rollout) = rollout.filter(|rollout| rollout.is_active()) else { return Ok(()) };
        for (target, order) in &turn.orders {
            // A target that the app leaves has an order of its own.
            let is_left = order.leaves_at.is_some();
            if rollout.groups.contains(&target.group) || !seen.current.has(&target.group) || is_left {
                continue;
            }
            let runs = self.arrived.get(&target.group);
            let same = order.run.as_ref() == runs && order.switch.is_none() && order.beside.is_none();
            hold(same, || {
                let moved = &rollout.groups;
                format!("{target} is told {order:?} while {moved:?} are moved, and it ran {runs:?}")
            })?;
        }
        Ok(())
    }
}
