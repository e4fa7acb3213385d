//! How an app is delivered changes only with a rollout that arrived: one that failed leaves the record as it was.

use super::{Fact, Promise, Scene, hold};
use crate::controller::rollout;
use crate::store::Value;

pub struct Delivered;

impl Promise for Delivered {
    fn name(&self) -> &'static str {
        "a failed deployment leaves the delivery as it was"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        let Fact::Wrote { write, before: Some(Value::Current(old)), .. } = fact else { return Ok(()) };
        let Some(Value::Current(new)) = &write.value else { return Ok(()) };
        if new.delivery == old.delivery {
            return Ok(());
        }
        let stands = rollout(&scene.store).filter(|rollout| rollout.delivery.as_ref() == Some(&new.delivery));
        let arrived = stands.and_then(|rollout| rollout.outcome()).is_some_and(|outcome| outcome.arrived());
        hold(arrived && new.settled > old.settled, || {
            format!("the record takes over {:?}, and no rollout that brings it has arrived", new.delivery)
        })
    }
}
