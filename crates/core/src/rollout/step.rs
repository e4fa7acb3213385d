//! What a rollout becomes after one event. Facts are taken as they are; a person's order may be refused.

use super::announce::{Announcement, announce};
use super::{Observation, Rollout};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::Actor;
use crate::refusal::Refusal;

/// What can happen to a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The controller looked at the store; a whole snapshot, so a lost or repeated wake-up does no harm.
    Observed(Observation),
    /// A person gave an order.
    Commanded {
        /// Which.
        command: Command,
        /// Who.
        actor: Actor,
        /// When.
        now: Moment,
    },
    /// The store was restored from a backup: agents have obeyed orders that it no longer holds.
    Restored {
        /// Above every generation seen anywhere.
        generation: Generation,
        /// When it was noticed.
        now: Moment,
    },
}

/// What a person can do to a rollout under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Go on, after a hold.
    Promote,
    /// Stay before the switch until `resume`.
    Pause,
    /// Go on, after a pause.
    Resume,
    /// Stop it: before the switch nothing is switched, after it all go back.
    Abort,
    /// Take back what was switched.
    Rollback {
        /// Why, when the person says so.
        reason: Option<String>,
    },
}

/// What an event made of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rollout afterwards; equal to the one before when nothing happened.
    pub next: Rollout,
    /// What must be said once.
    pub effects: Vec<Announcement>,
}

/// Decides what a rollout becomes after one event.
pub fn step(rollout: &Rollout, event: &Event) -> Result<Step, Refusal> {
    let mut next = rollout.clone();
    match event {
        Event::Observed(seen) => next.observe(seen),
        Event::Commanded { command, actor, now } => next.obey(command, actor, *now)?,
        Event::Restored { generation, now } => next.restore(*generation, *now),
    }
    let changed = next.stage() != rollout.stage();
    let effects = if changed { vec![announce(&next)] } else { Vec::new() };
    Ok(Step { next, effects })
}
