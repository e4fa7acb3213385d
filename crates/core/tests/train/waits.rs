//! Stories of those who wait: why, and until when.

use crate::openings::FIVE_WAIT;
use crate::{check, check_from};

#[test]
fn whoever_waits_is_told_for_what() {
    check_from(
        &[FIVE_WAIT],
        "
        why 1
          trip 1 has its candidate made, for another 5 min at most
        why 2
          trip 2 waits for trip 1, which has its candidate made
        why 4
          `4` waits for one of the trips 1, 2, 3: it is the next one
        why 5
          `5` waits for one of the trips 1, 2, 3: 1 change is before it
        why 9
          it is not on its way
        ",
    );
}

#[test]
fn whoever_waits_for_a_turn_or_for_a_person_is_told_so() {
    check(
        "
        queue 1 2
          `1` is checking, at place 1
          trip 1 (`1`) waits for company, or for what is before it
          trip 1 (`1`) has its candidate made
          `2` is checking, at place 1
          trip 2 (`2`) waits for company, or for what is before it
        made 1 m0 c1
          trip 1 (`1`) is built
          trip 2 (`2`) has its candidate made
        red 1 because a test fails
          trip 1 (`1`) did not build: a test fails
        why 1
          trip 1 waits for somebody to build it again, for another 15 min: a test fails
        retry 1
          trip 1 (`1`) is built
        builds 1
          trip 1 (`1`) goes through the further tests
        qualifies 1
          trip 1 (`1`) waits for its right of way
          trip 1 (`1`) lands on the mainline
        lands 1 c1
          trip 1 (`1`) starts its canary
        made 2 c1 c2
          trip 2 (`2`) is built
        builds 2
          trip 2 (`2`) goes through the further tests
        qualifies 2
          trip 2 (`2`) waits for its right of way
        why 2
          trip 2 waits for trip 1, which starts its canary
        canary 1 unknown
          trip 1 (`1`) has a canary to look at
        why 1
          trip 1 waits for somebody to say that its canary is well, for another 20 min
        well 1
        why 1
          trip 1 waits for its canary to have been watched long enough: ann says that it is well
        hold 1 because lunch
          trip 1 (`1`) is held: ann holds it: lunch
        why 1
          trip 1 waits for somebody to decide, for another 30 min: ann holds it: lunch
        resume 1
          trip 1 (`1`) has a canary to look at
        wait 6
          trip 1 (`1`) goes on to all targets
        halt
        arrives 1
          trip 1 (`1`) runs everywhere and is watched
        why 2
          trip 2 waits for the gate of `production.shop`: it is halted since 6 min: rollout 1 to `c0` was taken back: it was worse
        bad 1 because it is slow
          trip 1 (`1`) goes back: it is slow
          trip 2 (`2`) waits for company, or for what is before it
        why 1
          trip 1 is taken back: 4 left to undo
        ",
    );
}

#[test]
fn an_arrival_is_a_range_that_names_what_it_assumes() {
    check(
        "
        queue 1
          `1` is checking, at place 1
          trip 1 (`1`) waits for company, or for what is before it
          trip 1 (`1`) has its candidate made
        eta 1
          in 32 min to 1 h 4 min, if trip 1 stays well
        queue 2 3 4 5 6
          `2` is checking, at place 1
          trip 2 (`2`) waits for company, or for what is before it
          `3` is checking, at place 1
          trip 3 (`3`) waits for company, or for what is before it
          `4` is checking, at place 1
          `4` is queued, at place 1
          `5` is checking, at place 2
          `5` is queued, at place 2
          `6` is checking, at place 3
          `6` is queued, at place 3
        eta 2
          in 48 min to 1 h 37 min, if trips 1 and 2 stay well
        eta 4
          in 1 h 20 min to 2 h 45 min, if trips 1, 2 and 3 stay well
        eta 6
          in 1 h 52 min to 3 h 53 min, if trips 1, 2 and 3 stay well, and so does what waits before it
        ",
    );
}

#[test]
fn an_arrival_comes_nearer_and_nobody_knows_it_while_a_person_is_asked() {
    check(
        "
        queue 1 2 3
          `1` is checking, at place 1
          trip 1 (`1`) waits for company, or for what is before it
          trip 1 (`1`) has its candidate made
          `2` is checking, at place 1
          trip 2 (`2`) waits for company, or for what is before it
          `3` is checking, at place 1
          trip 3 (`3`) waits for company, or for what is before it
        made 1 m0 c1
          trip 1 (`1`) is built
          trip 2 (`2`) has its candidate made
        wait 10
          trip 2 (`2`) has its candidate made
          trip 3 (`3`) waits for company, or for what is before it
        eta 1
          in 21 min to 52 min, if trip 1 stays well
        builds 1
          trip 1 (`1`) goes through the further tests
        qualifies 1
          trip 1 (`1`) waits for its right of way
          trip 1 (`1`) lands on the mainline
        lands 1 c1
          trip 1 (`1`) starts its canary
        canary 1 unknown
          trip 1 (`1`) has a canary to look at
        eta 1
          in 15 min to 30 min, if trip 1 stays well
        eta 2
          in 32 min to 1 h 5 min, if trips 1 and 2 stay well
        wait 6
          trip 2 (`2`) has its candidate made
          trip 3 (`3`) waits for company, or for what is before it
        well 1
          trip 1 (`1`) goes on to all targets
        arrives 1
          trip 1 (`1`) runs everywhere and is watched
        eta 2
          in 32 min to 1 h 4 min, if trip 2 stays well
        hold 2 because lunch
          trip 2 (`2`) is held: ann holds it: lunch
        eta 3
          nobody knows: trip 2 is held: ann holds it: lunch
        eta 9
          nobody knows: `9` is not on its way
        ",
    );
}

#[test]
fn a_build_that_was_skipped_and_is_red_calls_people() {
    check(
        "
        queue 1
          `1` is checking, at place 1
          trip 1 (`1`) waits for company, or for what is before it
          trip 1 (`1`) has its candidate made
        made 1 m0 c1
          trip 1 (`1`) is built
        skip-green 1 because the shop is down
          trip 1 (`1`) waits for its right of way
          ann skips the green build for trip 1: the shop is down
          trip 1 (`1`) lands on the mainline
        lands 1 c1
          trip 1 (`1`) starts its canary
        red 1 because a test fails
          trip 1 went on without a green build, and that is red: a test fails
        ",
    );
}
