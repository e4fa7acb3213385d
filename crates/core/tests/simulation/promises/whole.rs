//! Promise 3: `live` is a whole release at every instant, also when the agent dies.

use std::collections::BTreeSet;

use footplate_core::name::Target;

use super::{Fact, Promise, Scene};

/// Remembers which targets ever had something live since their disk was new.
#[derive(Default)]
pub struct Whole {
    lives: BTreeSet<(Target, u64)>,
}

impl Promise for Whole {
    fn name(&self) -> &'static str {
        "live is whole"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        if !matches!(fact, Fact::Passed) {
            return Ok(());
        }
        for machine in scene.machines.values() {
            for (group, disk) in &machine.disks {
                match &disk.live {
                    Some(release) if disk.prepared.contains(release) => {
                        self.lives.insert((machine.target(group), machine.instance));
                    }
                    Some(release) => {
                        return Err(format!("{} runs {release}, which is not whole", machine.target(group)));
                    }
                    None if self.lives.contains(&(machine.target(group), machine.instance)) => {
                        return Err(format!("nothing is live on {} any more", machine.target(group)));
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }
}
