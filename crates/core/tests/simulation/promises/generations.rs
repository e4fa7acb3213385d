//! Promise 4: an agent never obeys an older order than one it has obeyed; turning back takes a higher generation; and no
//! generation stands for two orders of one target that want different releases.

use std::collections::BTreeMap;

use footplate_core::generation::Generation;
use footplate_core::name::{HostName, ReleaseId};
use footplate_core::record::Key;
use footplate_core::rollout::Phase;

use super::{Fact, Promise, Scene, hold};
use crate::store::Value;

#[derive(Default)]
pub struct Generations {
    /// What each generation wanted in the end, whatever became of the store.
    meant: BTreeMap<(Key, Generation), Option<ReleaseId>>,
    /// Instances are only ever replaced by newer ones.
    instances: BTreeMap<HostName, u64>,
}

impl Promise for Generations {
    fn name(&self) -> &'static str {
        "generations only rise"
    }

    fn judge(&mut self, fact: &Fact, _: &Scene) -> Result<(), String> {
        match fact {
            Fact::Obeyed { target, instance, before, after } => {
                let known = self.instances.insert(target.host.clone(), *instance);
                hold(known.is_none_or(|known| known <= *instance), || "an old disk came back".to_owned())?;
                hold(after >= before, || format!("{target} obeys {after} after {before}"))
            }
            Fact::Wrote { write, before, .. } => match (&write.value, before) {
                (Some(Value::Assignment(new)), before) => {
                    if let Some(Value::Assignment(old)) = before {
                        hold(new.generation >= old.generation, || {
                            format!("{} goes from {} to {}", write.key, old.generation, new.generation)
                        })?;
                    }
                    let wanted = new.switch.as_ref().map(|switch| &switch.to).or(new.run.as_ref()).cloned();
                    let place = (write.key.clone(), new.generation);
                    let meant = self.meant.entry(place).or_insert_with(|| wanted.clone());
                    hold(*meant == wanted, || format!("{} means two things at {}", write.key, new.generation))
                }
                (Some(Value::Rollout(new)), Some(Value::Rollout(old))) => {
                    let turned = matches!(new.phase, Phase::TurningBack { .. })
                        && !matches!(old.phase, Phase::TurningBack { .. });
                    let rises = if turned || new.number != old.number {
                        new.generation > old.generation
                    } else {
                        new.generation >= old.generation
                    };
                    hold(rises, || format!("the rollout goes from {} to {}", old.generation, new.generation))
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
