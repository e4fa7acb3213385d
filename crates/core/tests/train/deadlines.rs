//! No state without an exit: every stage has a deadline, names what comes after it, and goes there when nothing is heard.

use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::train::{
    Base, Candidate, Ending, Event, LandAt, Lane, Place, Queued, Seen, Settings, Stage, State, Tries, Trip,
    Undo, step,
};

use crate::outside::change;

const NOW: Moment = Moment::from_millis(1_000_000);

fn lane() -> Lane {
    Lane::new("main".parse().unwrap(), Settings::default(), Some("v0".parse().unwrap()))
}

/// Returns a trip in a state that is over now, with all that it may have left so far.
fn trip(number: u64, state: State) -> Trip {
    let version = |text: &str| text.parse().unwrap();
    Trip {
        number,
        changes: vec![change(number, 0, false)],
        land_at: LandAt::AfterBuild,
        round: 0,
        state,
        since: Moment::default(),
        until: NOW,
        candidate: Some(Candidate { base: version("m0"), commit: version("c1"), build: None }),
        undo: vec![
            Undo::Candidate { round: 0 },
            Undo::Build { round: 0 },
            Undo::Landed,
            Undo::Rollout { to: Some(version("v0")) },
        ],
        has_landed: true,
        has_right_of_way: true,
        is_suspect: false,
        is_verified: false,
        is_unproved: false,
        red_late: None,
        emergencies: Vec::new(),
    }
}

fn states() -> Vec<State> {
    let why = || "so".to_owned();
    let ends = || Ending::RolledBack { why: why() };
    let held = |was: State, is_asked| State::Held { was: Box::new(was), why: why(), by: None, is_asked };
    let mut states = vec![
        State::Boarding,
        State::BuildRed { why: why(), tries: Tries::first(1), is_built: false },
        State::Ready,
        State::CanaryStarting,
        State::CanaryWatching { well: None },
        State::CanaryBad { why: why() },
        State::Rolling { there: 0, began: NOW },
        State::Rolling { there: 0, began: Moment::default() },
        State::RollBad { why: why() },
        State::Soaking,
        held(State::Ready, false),
        held(State::Ready, true),
        held(State::Undoing { ends: ends(), tries: Tries::first(1) }, true),
    ];
    for tries in [Tries::first(1), Tries::first(3)] {
        states.extend([
            State::Preparing { base: Base::Mainline, tries },
            State::Landing { merges: false, tries },
            State::Building { only_failed: false, tries },
            State::Qualifying { tries, built: tries },
            State::Undoing { ends: ends(), tries },
            State::Stuck { ends: ends(), why: why(), tries },
        ]);
    }
    states
}

/// Lets a lane look once when nothing is known but the time.
fn look(lane: &Lane) -> Lane {
    let seen = Seen { now: NOW, ..Seen::default() };
    step(lane, &Event::Observed(seen)).unwrap().next
}

#[test]
fn every_state_goes_where_it_says_when_its_time_is_over() {
    for state in states() {
        for before in [None, Some(State::Ready), Some(State::Boarding), Some(State::Soaking)] {
            let mut lane = lane();
            lane.trips.extend(before.clone().map(|state| Trip { until: NOW + HOUR, ..trip(1, state) }));
            lane.trips.push(trip(2, state.clone()));
            let next = look(&lane);
            let found = next.trip(2).map_or(Stage::Ended, |trip| trip.state.stage());
            let named = state.stage().successors();
            assert!(named.contains(&found), "{state:?} behind {before:?} goes to {found:?}");
            let until = next.trip(2).map_or(NOW + HOUR, |trip| trip.until);
            assert!(until > NOW, "{state:?} behind {before:?} has no new deadline");
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn every_place_goes_where_it_says_when_its_time_is_over() {
    for place in [Place::Draft, Place::Checking { tried: 0 }, Place::Checking { tried: 2 }, Place::Waiting] {
        let mut lane = lane();
        lane.settings.ahead_max = 1;
        lane.trips.push(Trip { until: NOW + HOUR, ..trip(1, State::Ready) });
        let change = change(2, 0, false);
        lane.queue.push(Queued { change, place, until: NOW, has_moved: false, front: None });
        let next = look(&lane);
        let found = next.queue.first().map_or(Stage::Ended, |queued| queued.place.stage());
        assert!(place.stage().successors().contains(&found), "{place:?} goes to {found:?}");
        assert!(next.queue.first().is_none_or(|queued| queued.until > NOW), "{place:?} has no new deadline");
    }
}

#[test]
fn every_stage_but_the_end_has_a_deadline_and_a_successor() {
    let limits = Settings::default().limits;
    for stage in Stage::ALL {
        let is_end = stage == Stage::Ended;
        assert_eq!(stage.length(&limits).is_none(), is_end, "{stage:?}");
        assert_eq!(stage.successors().is_empty(), is_end, "{stage:?}");
        assert!(stage.length(&limits).is_none_or(|length| length > Duration::ZERO), "{stage:?}");
    }
    let told: Vec<Stage> = states().iter().map(State::stage).collect();
    let places = [Stage::Draft, Stage::Checking, Stage::Waiting, Stage::Ended];
    let missed: Vec<&Stage> =
        Stage::ALL.iter().filter(|stage| !told.contains(stage) && !places.contains(stage)).collect();
    assert!(missed.is_empty(), "no test lets the time of {missed:?} be over");
}
