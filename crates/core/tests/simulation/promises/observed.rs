//! Promise 11: a rollout is done only when its targets really run the release; reports say what the disks hold.

use footplate_core::moment::Moment;
use footplate_core::record::Key;
use footplate_core::rollout::{Outcome, Phase};

use super::{Fact, Promise, Scene, hold};
use crate::controller::target_name;
use crate::store::Value;
use crate::world::TTL;

/// Remembers when the store was last restored: with it a barrier may close for a moment, until the controller looks.
#[derive(Default)]
pub struct Observed {
    restored_at: Moment,
}

impl Promise for Observed {
    fn name(&self) -> &'static str {
        "observed, not believed"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Wrote { write, before, .. } => {
                let (Some(Value::Rollout(new)), Some(Value::Rollout(old))) = (&write.value, before) else {
                    return Ok(());
                };
                let done = matches!(&new.phase, Phase::Ended { outcome: Outcome::Done, .. });
                if !done || !old.is_active() {
                    return Ok(());
                }
                for target in new.required() {
                    let Some(machine) = scene.machines.get(&target.host) else { continue };
                    let spoiled = machine.incident_at.is_some_and(|at| at + TTL + TTL >= new.begun_at);
                    let spoiled = spoiled || self.restored_at >= new.begun_at;
                    let live = machine.disks.get(&target.group).and_then(|disk| disk.live.as_ref());
                    hold(spoiled || live == Some(&new.to.id), || {
                        format!("done with {}, and {target} runs {live:?}", new.to.id)
                    })?;
                }
                Ok(())
            }
            Fact::Restored => {
                self.restored_at = scene.now;
                Ok(())
            }
            Fact::Ended => {
                for machine in scene.machines.values() {
                    for (group, disk) in &machine.disks {
                        let key = Key::Report(machine.name.clone(), target_name(group));
                        let report = scene.store.get(&key);
                        let told = match report {
                            Some(Value::Report(report)) => *report == disk.report(),
                            _ => disk.order.is_none(),
                        };
                        hold(told, || format!("{key} says {report:?}, and the disk holds {disk:?}"))?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
