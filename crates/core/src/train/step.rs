//! What a lane becomes after one event. Facts are taken as they are; a person's order may be refused.

use super::tell::{Announcement, tell};
use super::{Command, Effect, Lane, OBEYED_MAX, Seen, effects};
use crate::moment::Moment;
use crate::name::Actor;
use crate::refusal::Refusal;

/// What can happen to a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The controller looked; a whole snapshot, so that a lost, repeated or late look does no harm.
    Observed(Seen),
    /// A person gave an order.
    Commanded {
        /// What names it: with the same key it is obeyed once.
        key: String,
        /// Which.
        command: Command,
        /// Who.
        actor: Actor,
        /// When.
        now: Moment,
    },
    /// Another worker goes on with the lane: what the one before it still tries is refused.
    TakenOver,
}

/// What an event made of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The lane afterwards, which is written before anything else is done; equal to the one before when nothing happened.
    pub next: Lane,
    /// All that is owed to it then: [`effects`] of `next`.
    pub effects: Vec<Effect>,
    /// What must be said once.
    pub said: Vec<Announcement>,
}

/// Decides what a lane becomes after one event.
///
/// # Errors
/// A person's order that cannot be obeyed; then nothing changes.
pub fn step(lane: &Lane, event: &Event) -> Result<Step, Refusal> {
    let mut next = lane.clone();
    match event {
        Event::Observed(seen) => next.observe(seen),
        Event::Commanded { key, .. } if lane.obeyed.contains(key) => {}
        Event::Commanded { key, command, actor, now } => {
            next.obey(command, actor, *now)?;
            next.obeyed.push(key.clone());
            let surplus = next.obeyed.len().saturating_sub(OBEYED_MAX);
            next.obeyed.drain(..surplus);
        }
        Event::TakenOver => next.fence += 1,
    }
    let (effects, said) = (effects(&next), tell(lane, &next));
    Ok(Step { next, effects, said })
}
