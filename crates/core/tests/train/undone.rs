//! Stories of trips that are taken back, from every state, and of what cannot be taken back.

use crate::openings::{
    AFTER_BUILD, AFTER_ROLL, EIGHT_HAS_LANDED, EIGHT_IS_BUILT, SEVEN_HAS_LANDED, SEVEN_IS_A_CANARY,
    SEVEN_IS_BUILT, SEVEN_IS_EVERYWHERE, SEVEN_IS_GOOD, SEVEN_IS_PROVED,
};
use crate::{check, check_from};

#[test]
fn nothing_of_a_change_that_is_taken_back_while_it_builds_is_left() {
    check_from(
        &[SEVEN_IS_BUILT],
        "
        back 1
          error: cannot take trip 1 back
          because: no reason was given
          next: say why in a line or two
        back 1 because it is wrong
          trip 1 (`7`) goes back: ann took it back: it is wrong
        owed
          fence 2: undo build 0 (main/1/undo/2/0)
        undone 1
        owed
          fence 2: undo candidate 0 (main/1/undo/1/0)
        undone 1
          `7` was taken back: ann took it back: it is wrong
        line
          nothing
        ",
    );
}

#[test]
fn a_canary_that_is_bad_goes_back_by_itself_and_what_landed_is_reverted() {
    check_from(
        &[SEVEN_IS_BUILT, SEVEN_HAS_LANDED, SEVEN_IS_A_CANARY],
        "
        owed
          fence 1: roll c1, to the canary (main/1/roll)
        canary 1 worse
          trip 1 (`7`) has a bad canary: its canary is worse than what runs beside it
        owed
          fence 1: roll c1, nowhere (main/1/roll)
        wait 1
          trip 1 (`7`) goes back: its canary is worse than what runs beside it
        owed
          fence 2: undo the rollout, to v0 (main/1/undo/4/0)
        undone 1
        owed
          fence 2: undo what landed (main/1/undo/3/0)
        undone 1
        undone 1
        undone 1
          `7` was taken back: its canary is worse than what runs beside it
        verified
          v0
        ",
    );
}

#[test]
fn a_person_holds_what_is_bad_and_it_goes_back_when_nobody_decides() {
    check_from(
        &[AFTER_ROLL, SEVEN_IS_BUILT, SEVEN_IS_GOOD, SEVEN_IS_A_CANARY],
        "
        wait 6
        well 1
          trip 1 (`7`) goes on to all targets
        rolls 1 1
        bad 1 because a host is on fire
          trip 1 (`7`) went wrong on the way to all targets: a host is on fire
        hold 1 because we look at it
          trip 1 (`7`) is held: ann holds it: we look at it
        owed
          fence 1: roll c1, nowhere (main/1/roll)
        wait 30
          trip 1 (`7`) is held: ann holds it: we look at it
        wait 90
          trip 1 (`7`) goes back: nobody decided: ann holds it: we look at it
        owed
          fence 2: undo the rollout, to v0 (main/1/undo/3/0)
        ",
    );
}

#[test]
fn a_rollout_that_stands_still_goes_back() {
    check(
        "
        settings after_canary
        queue 7
          `7` is checking, at place 1
          trip 1 (`7`) waits for company, or for what is before it
          trip 1 (`7`) has its candidate made
        made 1 m0 c1
          trip 1 (`7`) is built
        builds 1
          trip 1 (`7`) goes through the further tests
        qualifies 1
          trip 1 (`7`) waits for its right of way
          trip 1 (`7`) starts its canary
        canary 1 proved
          trip 1 (`7`) has a canary to look at
        wait 6
        well 1
          trip 1 (`7`) lands on the mainline
        owed
          fence 1: land from m0 to c1 (main/1/0/land/0)
          fence 1: roll c1, to the canary (main/1/roll)
        lands 1 c1
          trip 1 (`7`) goes on to all targets
        rolls 1 1
        wait 9
        rolls 1 2
        wait 9
        wait 1
          trip 1 (`7`) went wrong on the way to all targets: it has stood still for 10 min
        back 1 because it will not move
          trip 1 (`7`) goes back: ann took it back: it will not move
        owed
          fence 2: undo the rollout, to v0 (main/1/undo/4/0)
        ",
    );
}

#[test]
fn nobody_looks_at_a_canary_and_it_goes_back() {
    check_from(
        &[SEVEN_IS_BUILT, SEVEN_HAS_LANDED, SEVEN_IS_PROVED],
        "
        wait 19
        wait 1
          trip 1 (`7`) goes back: nobody said within 20 min that its canary is well
        ",
    );
}

#[test]
fn where_proof_is_enough_nobody_need_look() {
    check(
        "
        settings proved
        queue 7
          `7` is checking, at place 1
          trip 1 (`7`) waits for company, or for what is before it
          trip 1 (`7`) has its candidate made
        made 1 m0 c1
          trip 1 (`7`) is built
        builds 1
          trip 1 (`7`) goes through the further tests
        qualifies 1
          trip 1 (`7`) waits for its right of way
          trip 1 (`7`) lands on the mainline
        lands 1 c1
          trip 1 (`7`) starts its canary
        canary 1 proved
          trip 1 (`7`) has a canary to look at
        wait 4
        wait 1
          trip 1 (`7`) goes on to all targets
        ",
    );
}

#[test]
fn merge_first_reverts_what_does_not_build() {
    check(
        "
        settings first
        queue 7 8
          `7` is checking, at place 1
          trip 1 (`7`) waits for company, or for what is before it
          trip 1 (`7`) has its candidate made
          `8` is checking, at place 1
          `8` is queued, at place 1
        line
          1:7 preparing, 8 queued
        made 1 m0 c1
          trip 1 (`7`) lands on the mainline
        owed
          fence 1: land from m0 to c1 (main/1/0/land/0)
        lands 1 c1
          trip 1 (`7`) is built
        red 1 because a test fails
          trip 1 (`7`) did not build: a test fails
        line
          1:7 build red, 8 queued
        wait 15
          trip 1 (`7`) goes back: a test fails
        owed
          fence 2: undo build 0 (main/1/undo/3/0)
        undone 1
        owed
          fence 2: undo what landed (main/1/undo/2/0)
        undone 1
        undone 1
          `7` was left behind: a test fails
          trip 2 (`8`) waits for company, or for what is before it
          trip 2 (`8`) has its candidate made
        owed
          fence 2: prepare 8 upon the mainline (main/2/0/prepare/0)
        ",
    );
}

#[test]
fn what_cannot_be_reverted_asks_and_what_cannot_be_undone_calls() {
    check(
        "
        settings first
        queue 7
          `7` is checking, at place 1
          trip 1 (`7`) waits for company, or for what is before it
          trip 1 (`7`) has its candidate made
        made 1 m0 c1
          trip 1 (`7`) lands on the mainline
        lands 1 c1
          trip 1 (`7`) is built
        back 1 because it is wrong
          trip 1 (`7`) goes back: ann took it back: it is wrong
        undone 1
        unrevertable 1 3 because changed the same lines
          trip 1 (`7`) is held: what landed could not be reverted: `3` changed the same lines
        wait 30
          trip 1 (`7`) is held: what landed could not be reverted: `3` changed the same lines
        resume 1
          trip 1 (`7`) goes back: ann took it back: it is wrong
        owed
          fence 2: undo what landed (main/1/undo/2/1)
        fails 1 undo because no answer
        fails 1 undo because no answer
        fails 1 undo because no answer
          trip 1 (`7`) could not be taken back: no answer
        wait 15
          trip 1 (`7`) could not be taken back: no answer
        again 1
          trip 1 (`7`) goes back: ann took it back: it is wrong
        owed
          fence 3: undo what landed (main/1/undo/2/4)
        undone 1
        undone 1
          `7` was taken back: ann took it back: it is wrong
        ",
    );
}

#[test]
fn a_breach_while_it_is_watched_takes_along_what_went_upon_it() {
    check_from(
        &[
            AFTER_BUILD,
            SEVEN_IS_BUILT,
            SEVEN_HAS_LANDED,
            SEVEN_IS_PROVED,
            SEVEN_IS_EVERYWHERE,
            EIGHT_IS_BUILT,
            EIGHT_HAS_LANDED,
        ],
        "
        canary 2 proved
          trip 2 (`8`) has a canary to look at
        line
          1:7 soaking, 2:8 canary watched
        bad 1 because checkout is slow
          trip 1 (`7`) goes back: checkout is slow
          trip 2 (`8`) goes back: trip 1, which it stands with, was taken back
        line
          1:7 undoing, 2:8 undoing
        owed
          fence 2: undo the rollout, to v0 (main/2/undo/4/0)
        undone 2
        undone 2
        undone 2
        undone 2
          `8` was taken back: trip 1, which it stands with, was taken back
        owed
          fence 2: undo the rollout, to v0 (main/1/undo/4/0)
        ",
    );
}

#[test]
fn a_bad_canary_goes_back_to_what_is_still_watched() {
    check_from(
        &[
            SEVEN_IS_BUILT,
            SEVEN_HAS_LANDED,
            SEVEN_IS_PROVED,
            SEVEN_IS_EVERYWHERE,
            EIGHT_IS_BUILT,
            EIGHT_HAS_LANDED,
        ],
        "
        canary 2 worse
          trip 2 (`8`) has a bad canary: its canary is worse than what runs beside it
        wait 1
          trip 2 (`8`) goes back: its canary is worse than what runs beside it
        owed
          fence 2: undo the rollout, to c1 (main/2/undo/4/0)
        line
          1:7 soaking, 2:8 undoing
        ",
    );
}
