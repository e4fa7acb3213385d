//! Promises 8, 9 and 12: whatever went wrong, in the end every target runs the current release, with no human step, and
//! the records agree with how the last rollout ended.

use footplate_core::rollout::Outcome;

use super::{Fact, Promise, Scene, hold};
use crate::controller::{rollout, wanted};

pub struct Converged;

impl Promise for Converged {
    fn name(&self) -> &'static str {
        "every target converges"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        if !matches!(fact, Fact::Ended) {
            return Ok(());
        }
        for machine in scene.machines.values().filter(|machine| machine.matches) {
            for (group, disk) in &machine.disks {
                let wanted = wanted(&scene.store, group).map(|release| &release.id);
                let runs = wanted.is_none_or(|wanted| disk.report().runs(wanted));
                hold(runs, || {
                    let target = machine.target(group);
                    format!(
                        "{target} runs {:?} and not {wanted:?}; it obeyed {} and has {:?}",
                        disk.live, disk.obeyed, disk.order
                    )
                })?;
            }
        }
        let Some(rollout) = rollout(&scene.store) else { return Ok(()) };
        for group in &rollout.groups {
            let ran = match rollout.outcome() {
                Some(Outcome::Done | Outcome::DoneExcept { .. }) => Some(&rollout.to),
                _ => rollout.from_of(group),
            };
            let (ran, wanted) =
                (ran.map(|ran| &ran.id), wanted(&scene.store, group).map(|wanted| &wanted.id));
            hold(ran == wanted, || {
                format!("the rollout left {group} with {ran:?} and the record says {wanted:?}")
            })?;
        }
        Ok(())
    }
}
