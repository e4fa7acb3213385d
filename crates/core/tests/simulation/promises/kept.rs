//! Promise 6: the release before, and the last verified one, stay prepared; nothing live is ever cleaned.

use footplate_core::generation::Generation;
use footplate_core::target::Action;

use super::{Fact, Promise, Scene, hold};
use crate::controller::current;

/// Remembers the newest order that the store may have forgotten.
#[derive(Default)]
pub struct Kept {
    forgotten: Generation,
}

impl Promise for Kept {
    fn name(&self) -> &'static str {
        "what a rollback needs is kept"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        let Some(current) = current(&scene.store) else { return Ok(()) };
        match fact {
            Fact::Restored => {
                let obeyed = scene.machines.values().flat_map(|machine| machine.disks.values());
                self.forgotten = obeyed.map(|disk| disk.obeyed).fold(self.forgotten, Generation::max);
                Ok(())
            }
            Fact::Begun { target, action: Action::Clean(release), disk } => {
                hold(disk.live.as_ref() != Some(release), || {
                    format!("{target} cleans {release}, which is live")
                })?;
                // A target that has not heard of the newest orders may still clean by older ones, and one that obeyed what a
                // restored store has forgotten by those; it prepares again.
                let obeys_these = scene.machines.get(&target.host).is_some_and(|machine| machine.matches)
                    && current.has(&target.group)
                    && disk.obeyed >= current.orders
                    && disk.obeyed <= current.generation
                    && disk.obeyed > self.forgotten;
                let protection = current.track_of(&target.group).protection(release).filter(|_| obeys_these);
                hold(protection.is_none(), || {
                    format!("{target} cleans {release} although {}", protection.expect("it is"))
                })
            }
            Fact::Ended => {
                for machine in scene.machines.values().filter(|machine| machine.matches) {
                    for (group, disk) in machine.disks.iter().filter(|(group, _)| current.has(group)) {
                        let track = current.track_of(group);
                        let mut protected =
                            track.kept().filter(|release| track.protection(&release.id).is_some());
                        let lost = protected.find(|release| !disk.prepared.contains(&release.id));
                        hold(lost.is_none(), || {
                            format!(
                                "{} lacks {} at the end",
                                machine.target(group),
                                lost.expect("it is lost").id
                            )
                        })?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
