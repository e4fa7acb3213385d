//! The promises as properties of states, and what has to be remembered of the way to a state.

use std::collections::BTreeSet;

use footplate_core::name::{ReleaseId, Target};
use footplate_core::rollout::{Outcome, WayBack};
use stateright::Property;

use super::field::{Field, State};

/// Judges the end of a service at the moment it happens; what is wrong then stays wrong.
pub fn judge_stop(state: &mut State, target: &Target, release: &ReleaseId) {
    let is_busy = state.router.flights.contains(&(target.clone(), release.clone()));
    if is_busy && !state.is_drain_over {
        state.wrong = Some("a service is stopped with a request in flight");
    }
}

pub fn all() -> Vec<Property<Field>> {
    vec![
        Property::always("nothing goes wrong on the way", |_: &Field, state: &State| state.wrong.is_none()),
        Property::always("requests go only to what is up and ready", |field: &Field, state: &State| {
            let is_up = |target: &Target, id: &ReleaseId| {
                let machine = (0..field.hosts.len()).find(|number| field.target(*number) == *target);
                machine.is_some_and(|number| state.machines[number].is.is_ready(id))
            };
            state.router.serving().all(|(target, id)| is_up(target, id))
        }),
        // What may not run twice goes back on all its hosts at once, as soon as the others are restored: that is quicker, and costs capacity.
        Property::always("capacity is kept", |field: &Field, state: &State| {
            let serving: BTreeSet<&Target> = state.router.serving().map(|(target, _)| target).collect();
            let goes_back = field.pace.alone && way_back(state) > Some(WayBack::Restoring);
            let away = if field.pace.alone { 1 } else { 0 };
            goes_back || serving.len() + away >= field.hosts.len()
        }),
        Property::always(
            "two releases run side by side only where they may",
            |field: &Field, state: &State| {
                !field.pace.alone || state.machines.iter().all(|machine| machine.is.up.len() < 2)
            },
        ),
        Property::always("live is whole", |_: &Field, state: &State| {
            state
                .machines
                .iter()
                .all(|machine| machine.is.live.as_ref().is_none_or(|live| machine.is.prepared.contains(live)))
        }),
        Property::always("every wait has a deadline", |_: &Field, state: &State| {
            let active = state.store.rollout.as_ref().filter(|rollout| rollout.is_active());
            active.is_none_or(|rollout| rollout.deadline().is_some())
        }),
        Property::eventually("the rollout ends, and everything comes to rest on the right release", at_rest),
        Property::sometimes("it is done", |_: &Field, state: &State| {
            let outcome = state.store.rollout.as_ref().and_then(|rollout| rollout.outcome());
            matches!(outcome, Some(Outcome::Done))
        }),
    ]
}

fn way_back(state: &State) -> Option<WayBack> {
    state.store.rollout.as_ref()?.course.as_ref()?.way_back
}

/// Tells whether the rollout is over, every host runs the right release alone, as reported, and the router knows.
///
/// What is paused, or holds for a person, waits for a deadline that this path may have no budget for.
fn at_rest(_: &Field, state: &State) -> bool {
    let rollout = state.store.rollout.as_ref().expect("it was begun");
    if rollout.paused.is_some() {
        return true;
    }
    if rollout.is_active() {
        return false;
    }
    let right = state.store.current.track.release.as_ref().map(|release| &release.id);
    let is_right = |number: usize| {
        let is = &state.machines[number].is;
        *is == state.store.reports[number] && is.live.as_ref() == right && is.up.keys().eq(right)
    };
    (0..state.machines.len()).all(is_right)
        && state.router.routes == state.store.routes
        && state.router.flights.is_empty()
}
