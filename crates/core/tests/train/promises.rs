//! What must be true of every lane, judged by what happened and by nothing that the core believes.

use footplate_core::record::VALUE_BYTES_MAX;
use footplate_core::train::{Deed, Effect, Ending, Event, Lane, Seen, Skips, Stage, Trip, Undo};

use crate::stage::shop;
use crate::world::World;

fn hold(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}

/// Judges one step that was written.
pub fn of_step(world: &World, before: &Lane, event: &Event, fresh: Option<&Seen>) -> Result<(), String> {
    let lane = &world.lane;
    deadlines(world, fresh)?;
    if *event == Event::TakenOver {
        written(lane)?;
    }
    rights_of_way(lane)?;
    emergencies(world, before)?;
    for trip in &lane.trips {
        let former = before.trip(trip.number);
        if trip.has_right_of_way && former.is_some_and(|former| !former.has_right_of_way) {
            green(world, trip)?;
            if let Some(fresh) = fresh {
                passed(fresh, trip)?;
            }
        }
        if let Some(former) = former {
            watched(world, former, trip)?;
        }
    }
    left_behind(world, before)?;
    hold(lane.fence >= before.fence, || "the fence fell".to_owned())?;
    let begins_back = |trip: &Trip| {
        trip.state.goes_back() && before.trip(trip.number).is_some_and(|former| !former.state.goes_back())
    };
    let resumed = |trip: &Trip| {
        matches!(event, Event::Commanded { .. })
            && before.trip(trip.number).is_some_and(|f| f.state.stage() == Stage::Held)
    };
    match lane.trips.iter().find(|trip| begins_back(trip) && !resumed(trip)) {
        Some(trip) => hold(lane.fence > before.fence, || {
            format!("trip {} begins to go back, and the fence stays {}", trip.number, lane.fence)
        }),
        None => Ok(()),
    }
}

/// After a fresh look nothing is over its deadline.
fn deadlines(world: &World, fresh: Option<&Seen>) -> Result<(), String> {
    let Some(fresh) = fresh else { return Ok(()) };
    for trip in &world.lane.trips {
        hold(trip.until > fresh.now, || {
            format!("trip {} is {} beyond its deadline", trip.number, trip.state.stage().word())
        })?;
    }
    for queued in &world.lane.queue {
        hold(queued.until > fresh.now, || format!("`{}` waits beyond its deadline", queued.change.id))?;
    }
    Ok(())
}

/// What is written is read back as it was, and is small.
fn written(lane: &Lane) -> Result<(), String> {
    let text = serde_json::to_string(lane).unwrap();
    let read: Lane = serde_json::from_str(&text).unwrap();
    hold(read == *lane, || "a lane is not read back as it was written".to_owned())?;
    hold(text.len() < VALUE_BYTES_MAX / 4, || format!("a lane takes {} bytes", text.len()))
}

/// One trip at a time goes through production: the others that are there only soak, or go back.
fn rights_of_way(lane: &Lane) -> Result<(), String> {
    let is_moving = |trip: &&Trip| {
        let stage = trip.state.beneath().stage();
        trip.has_right_of_way && !trip.state.goes_back() && stage != Stage::Soaking
    };
    let moving: Vec<u64> = lane.trips.iter().filter(is_moving).map(|trip| trip.number).collect();
    hold(moving.len() <= 1, || format!("trips {moving:?} go through production at once"))
}

/// What skips a rule has a reason and was said.
fn emergencies(world: &World, before: &Lane) -> Result<(), String> {
    for trip in &world.lane.trips {
        for one in &trip.emergencies {
            let was_said = world.announced.iter().any(|text| {
                text.contains(&format!("trip {}", trip.number)) && text.contains(one.skips.word())
            });
            hold(was_said && !one.reason.is_empty(), || {
                format!("trip {} skips {} in silence", trip.number, one.skips.word())
            })?;
        }
        let former = before.trip(trip.number).map_or(0, |former| former.emergencies.len());
        hold(trip.emergencies.len() >= former, || format!("trip {} hides what it skipped", trip.number))?;
    }
    Ok(())
}

/// What gets its right of way was built green, or a person skipped that.
fn green(world: &World, trip: &Trip) -> Result<(), String> {
    let commit = trip.candidate.as_ref().map(|candidate| &candidate.commit);
    let is_green = commit.is_some_and(|commit| world.outside.green.contains(commit));
    hold(is_green || trip.skips(Skips::Green), || {
        format!("trip {} goes to production, and its build was not green", trip.number)
    })
}

fn passed(fresh: &Seen, trip: &Trip) -> Result<(), String> {
    let door = &fresh.doors[&shop()];
    let kept_out = trip
        .changes
        .iter()
        .find(|change| !door.keeps_out(&change.author, change.fix.as_ref(), fresh.now).is_empty());
    hold(kept_out.is_none(), || format!("trip {} walked around the gate", trip.number))
}

/// A canary is looked at for its least time, or a person skipped that, or the rollout itself went on.
fn watched(world: &World, former: &Trip, trip: &Trip) -> Result<(), String> {
    let goes_on = former.state.stage() == Stage::CanaryWatching
        && matches!(trip.state.stage(), Stage::Rolling | Stage::Landing);
    let long_enough = world.now.since(former.since) >= world.lane.settings.limits.canary_watch_min;
    hold(!goes_on || long_enough || trip.skips(Skips::Canary), || {
        format!("trip {} went on before its canary was looked at", trip.number)
    })
}

/// What was left behind before production is not there.
fn left_behind(world: &World, before: &Lane) -> Result<(), String> {
    let production = &world.outside.commits[&world.outside.production].holds;
    for ended in world.lane.ended.iter().filter(|ended| !before.ended.contains(ended)) {
        let is_there = production.contains(&ended.change);
        let may_be = matches!(ended.ending, Ending::Done { .. } | Ending::Settled { .. });
        hold(may_be || !is_there, || {
            format!("`{}` {} and is in production", ended.change, ended.ending.sentence())
        })?;
        hold(!matches!(ended.ending, Ending::Done { .. }) || is_there, || {
            format!("`{}` is called done and is not in production", ended.change)
        })?;
    }
    Ok(())
}

/// What leaves traces has its undoing in the record that is stored.
pub fn of_effect(world: &World, effect: &Effect) -> Result<(), String> {
    let Some(trip) = effect.trip.and_then(|number| world.lane.trip(number)) else {
        return Ok(());
    };
    let round = trip.round;
    let is_there = match &effect.deed {
        Deed::Land { .. } => trip.undo.contains(&Undo::Landed),
        Deed::Roll { .. } => trip.has_rollouts(),
        // One of an earlier round that is late is a leftover by now.
        Deed::Prepare { .. } | Deed::Build { .. } => {
            trip.undo.iter().any(|undo| match undo {
                Undo::Candidate { round: other } | Undo::Build { round: other } => *other <= round,
                _ => false,
            }) || round > 0
        }
        Deed::Check(_) | Deed::Qualify(_) | Deed::Undo(_) => true,
    };
    hold(is_there || trip.state.goes_back(), || {
        format!("`{}` is done, and how to undo it is not written down", effect.key)
    })
}

/// Once nothing goes wrong any more everything ends, with production and the mainline as they are called.
pub fn at_the_end(world: &World) -> Result<(), String> {
    let lane = &world.lane;
    let state = |trip: &Trip| format!("{} {}", trip.number, trip.state.stage().word());
    let trips: Vec<String> = lane.trips.iter().map(state).collect();
    let queue: Vec<&str> = lane.queue.iter().map(|queued| queued.place.stage().word()).collect();
    hold(trips.is_empty() && queue.is_empty(), || format!("trips {trips:?} and {queue:?} never end"))?;
    let left = &lane.leftovers;
    hold(left.is_empty(), || format!("{left:?} is never cleared away"))?;
    if world.settled {
        return Ok(());
    }
    let (production, verified) = (&world.outside.production, &lane.verified);
    hold(verified.as_ref() == Some(production), || {
        format!("production runs `{production}`, and {verified:?} is called verified")
    })?;
    hold(world.outside.whole.contains(production), || format!("`{production}` was never verified"))?;
    hold(!world.rolls(), || "a rollout is left in production".to_owned())?;
    let holds = &world.outside.commits[&world.outside.mainline].holds;
    let lives = &world.outside.commits[production].holds;
    hold(holds == lives, || format!("the mainline holds {holds:?}, and production {lives:?}"))
}
