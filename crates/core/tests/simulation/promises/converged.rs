//! Promises 8, 9 and 12: whatever went wrong, in the end every target runs the current release, with no human step, and
//! the records agree with how the last rollout ended.

use footplate_core::rollout::Outcome;

use super::{Fact, Promise, Scene, hold};
use crate::controller::{current, rollout};

pub struct Converged;

impl Promise for Converged {
    fn name(&self) -> &'static str {
        "every target converges"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        if !matches!(fact, Fact::Ended) {
            return Ok(());
        }
        let Some(current) = current(&scene.store) else { return Ok(()) };
        let wanted = current.release.as_ref().map(|release| &release.id);
        for machine in scene.machines.values() {
            for (group, disk) in &machine.disks {
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
        let ran = match rollout.outcome() {
            Some(Outcome::Done | Outcome::DoneExcept { .. }) => Some(&rollout.to.id),
            _ => rollout.from.as_ref().map(|from| &from.id),
        };
        hold(ran == wanted, || format!("the rollout left {ran:?} and the record says {wanted:?}"))
    }
}
