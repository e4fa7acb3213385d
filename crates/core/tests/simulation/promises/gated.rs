//! The gate: nothing but a fix, a rollback or what passed before begins while it is closed; and what users had and was taken
//! back has halted it.

use footplate_core::gate::{Door, Halt};
use footplate_core::moment::Moment;
use footplate_core::rollout::{Kind, Phase, Rollout};

use super::{Fact, Promise, Scene, hold};
use crate::controller::{current, door};
use crate::store::Value;

pub struct Gated;

impl Promise for Gated {
    fn name(&self) -> &'static str {
        "a closed gate is obeyed"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Decided { seen, turn } => {
                let Some(new) = turn.rollout.as_ref().filter(|new| begins(new, seen.rollout.as_ref())) else {
                    return Ok(());
                };
                obeyed(new, &seen.door, seen.now)
            }
            Fact::Wrote { write, before, .. } => {
                let Some(Value::Rollout(new)) = &write.value else { return Ok(()) };
                let old = match before {
                    Some(Value::Rollout(old)) => Some(old.as_ref()),
                    _ => None,
                };
                if begins(new, old) {
                    // A window may have begun since a controller decided; a lock and a halt would have stopped its write.
                    let stands = Door { frozen: Vec::new(), ..door(&scene.store, scene.now) };
                    obeyed(new, &stands, scene.now)?;
                }
                old.map_or(Ok(()), |old| halted(old, new, scene))
            }
            _ => Ok(()),
        }
    }
}

fn begins(new: &Rollout, old: Option<&Rollout>) -> bool {
    new.kind == Kind::Deploy && new.is_active() && old.is_none_or(|old| old.number < new.number)
}

fn obeyed(new: &Rollout, door: &Door, now: Moment) -> Result<(), String> {
    let is_despite = new.fix.as_ref().is_some_and(|fix| fix.despite.is_some());
    let what = format!("rollout {} to {} by {} begins", new.number, new.to.id, new.actor);
    hold(door.gate.halted.is_none() || new.fix.is_some(), || format!("{what} although the gate is halted"))?;
    let locked = door.gate.locks.iter().find(|lock| lock.until > now && lock.owner != new.actor);
    hold(locked.is_none() || is_despite, || format!("{what} although the gate is locked: {locked:?}"))?;
    hold(door.frozen.is_empty() || is_despite, || format!("{what} although it is frozen: {:?}", door.frozen))
}

/// What users had is taken back only together with a halt, unless another deployment takes its place.
fn halted(old: &Rollout, new: &Rollout, scene: &Scene) -> Result<(), String> {
    let turns = matches!(new.phase, Phase::TurningBack { .. }) && old.leads_forward() && old.is_active();
    let had_it = matches!(old.phase, Phase::Switching { .. }) || old.lets_in();
    let gives_way = current(&scene.store).and_then(|current| current.waiting.as_ref());
    let gives_way = gives_way.is_some_and(|waiting| waiting.at_any_end);
    let asks = old.kind == Kind::Deploy && old.number == new.number && old.policy.halt != Halt::Never;
    if !turns || !had_it || !asks || gives_way {
        return Ok(());
    }
    let halted = door(&scene.store, scene.now).gate.halted;
    hold(halted.as_ref().is_some_and(|halted| halted.rollout == new.number), || {
        format!("rollout {} was taken back, and the gate is halted by {halted:?}", new.number)
    })
}
