//! The promises as properties of states, and what has to be remembered of the way to a state.

use footplate_core::name::ReleaseId;
use footplate_core::rollout::{Outcome, Phase};
use stateright::Property;

use crate::model::{Field, Machine, State, entered};

/// Judges a change of the rollout at the moment it happens; what is wrong then stays wrong.
pub fn remember(field: &Field, before: &Phase, state: &mut State) {
    let to = &field.to.id;
    let required: Vec<&Machine> = (0..state.machines.len())
        .filter(|number| state.rollout.requires(&field.target(*number)))
        .map(|number| &state.machines[number])
        .collect();
    let bound = || required.iter().filter(|machine| !machine.reimaged);
    if entered(before, state, "switching") && !bound().all(|machine| machine.disk.prepared.contains(to)) {
        state.wrong = Some("it switches although a target has not prepared the release");
    }
    if !entered(before, state, "ended") {
        return;
    }
    state.wrong = match state.rollout.outcome() {
        Some(Outcome::Done) if !bound().all(|machine| machine.disk.runs(to)) => {
            Some("it is done although a target does not run the release")
        }
        Some(Outcome::TurnedBack { missing, .. })
            if missing.is_empty()
                && !bound().all(|machine| machine.disk.live == field.from.as_ref().map(|r| r.id.clone())) =>
        {
            Some("it is back although a target does not run what ran before")
        }
        Some(Outcome::Done | Outcome::DoneExcept { .. }) if required.is_empty() => {
            Some("it is done on no target")
        }
        _ => state.wrong,
    };
}

pub fn all() -> Vec<Property<Field>> {
    vec![
        Property::always("phases follow facts", |_: &Field, state: &State| state.wrong.is_none()),
        Property::always("live is whole", |_: &Field, state: &State| {
            state.machines.iter().all(|machine| {
                machine.disk.live.as_ref().is_none_or(|live| machine.disk.prepared.contains(live))
            })
        }),
        Property::always("nothing switches before the barrier", |field: &Field, state: &State| {
            let runs = |machine: &Machine| machine.disk.live.as_ref() == Some(&field.to.id);
            state.barrier.is_some() || !state.machines.iter().any(runs)
        }),
        Property::always(
            "an end before the switch leaves nothing switched",
            |field: &Field, state: &State| {
                let unswitched =
                    matches!(state.rollout.outcome(), Some(Outcome::Failed { .. } | Outcome::Aborted { .. }));
                let runs = |machine: &Machine| machine.disk.live.as_ref() == Some(&field.to.id);
                !unswitched || (state.barrier.is_none() && !state.machines.iter().any(runs))
            },
        ),
        Property::always("what a rollback needs is kept", |field: &Field, state: &State| {
            let from = field.from.as_ref().map(|from| &from.id);
            state.machines.iter().all(|machine| {
                machine.reimaged || from.is_none_or(|from| machine.disk.prepared.contains(from))
            })
        }),
        Property::always("every wait has a deadline", |_: &Field, state: &State| {
            !state.rollout.is_active() || state.rollout.deadline().is_some()
        }),
        Property::eventually("the rollout ends", |_: &Field, state: &State| !state.rollout.is_active()),
        Property::eventually("every target comes to rest on the right release", at_rest),
        Property::sometimes("it is done", |_: &Field, state: &State| {
            matches!(state.rollout.outcome(), Some(Outcome::Done))
        }),
    ]
}

/// Tells whether the rollout is over and every target runs what its record says, as reported.
fn at_rest(field: &Field, state: &State) -> bool {
    let from = field.from.as_ref().map(|from| &from.id);
    let right: Option<&ReleaseId> = match state.rollout.outcome() {
        None => return false,
        Some(Outcome::Done | Outcome::DoneExcept { .. }) => Some(&field.to.id),
        // Nothing ran before: what was activated may stay.
        Some(_) if from.is_none() => None,
        Some(_) => from,
    };
    state.machines.iter().all(|machine| {
        machine.alive && machine.told == machine.disk && right.is_none_or(|right| machine.disk.runs(right))
    })
}
