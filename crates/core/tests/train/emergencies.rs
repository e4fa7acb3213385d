//! Stories of what people skip, and of the gate.

use crate::openings::{FIVE_WAIT, SEVEN_IS_BUILT};
use crate::{check, check_from};

#[test]
fn the_front_of_the_queue_costs_a_reason_and_new_candidates() {
    check_from(
        &[FIVE_WAIT],
        "
        line
          1:1 preparing, 2:2 boarding, 3:3 boarding, 4 queued, 5 queued
        made 1 m0 c1
          trip 1 (`1`) is built
          trip 2 (`2`) has its candidate made
        made 2 c1 c2
          trip 2 (`2`) is built
          trip 3 (`3`) has its candidate made
        builds 1
          trip 1 (`1`) goes through the further tests
        qualifies 1
          trip 1 (`1`) waits for its right of way
          trip 1 (`1`) lands on the mainline
        front 5
          error: cannot put `5` first
          because: no reason was given
          next: say why in a line or two
        front 5 because the shop is down
          ann put `5` first: the shop is down
          trip 4 (`5`) waits for company, or for what is before it
          ann skips the queue for trip 4: the shop is down
          trip 2 (`2`) waits for company, or for what is before it
          trip 3 (`3`) waits for company, or for what is before it
          trip 4 (`5`) has its candidate made
        line
          1:1 landing, 4:5 preparing, 2:2 boarding, 3:3 boarding, 4 queued
        owed
          fence 1: land from m0 to c1 (main/1/0/land/0)
          fence 1: prepare 5 upon c1 (main/4/0/prepare/0)
          fence 1: undo candidate 0 (main/2/clear/candidate/0)
          fence 1: undo build 0 (main/2/clear/build/0)
          fence 1: undo candidate 0 (main/3/clear/candidate/0)
        ",
    );
}

#[test]
fn a_green_build_can_be_skipped_with_a_reason_and_what_it_brings_is_not_gone_back_to() {
    check_from(
        &[SEVEN_IS_BUILT],
        "
        skip-green 1
          error: cannot take trip 1 on without a green build
          because: no reason was given
          next: say why in a line or two
        skip-green 1 because the shop is down
          trip 1 (`7`) waits for its right of way
          ann skips the green build for trip 1: the shop is down
          trip 1 (`7`) lands on the mainline
        owed
          fence 1: land from m0 to c1 (main/1/0/land/0)
          fence 1: build c1 (main/1/0/build/0)
        lands 1 c1
          trip 1 (`7`) starts its canary
        skip-canary 1 because the shop is down
          ann skips the look at the canary for trip 1: the shop is down
        canary 1 unknown
          trip 1 (`7`) has a canary to look at
          trip 1 (`7`) goes on to all targets
        arrives 1
          trip 1 (`7`) runs everywhere and is watched
        queue 8
          `8` is checking, at place 1
          trip 2 (`8`) waits for company, or for what is before it
          trip 2 (`8`) has its candidate made
        made 2 c1 c2
          trip 2 (`8`) is built
        red 2 because it is late
        builds 1
          trip 2 (`8`) did not build: it is late
        line
          1:7 soaking, 2:8 build red
        ",
    );
}

#[test]
fn a_halted_gate_keeps_trips_waiting_and_the_fix_goes_before_them() {
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
        halt
        builds 1
          trip 1 (`1`) goes through the further tests
        qualifies 1
          trip 1 (`1`) waits for its right of way
        wait 60
          trip 1 (`1`) waits for its right of way
          trip 2 (`2`) has its candidate made
        queue 3!
          `3` is checking, at place 1
          trip 3 (`3`) waits for company, or for what is before it
          trip 1 (`1`) waits for company, or for what is before it
          trip 2 (`2`) waits for company, or for what is before it
          trip 3 (`3`) has its candidate made
        line
          3:3 preparing, 1:1 boarding, 2:2 boarding
        made 3 m0 c3
          trip 3 (`3`) is built
          trip 1 (`1`) has its candidate made
        builds 3
          trip 3 (`3`) goes through the further tests
        qualifies 3
          trip 3 (`3`) waits for its right of way
          trip 3 (`3`) lands on the mainline
        ",
    );
}

#[test]
fn what_cannot_be_done_is_refused_with_what_leads_on() {
    check(
        "
        queue 7
          `7` is checking, at place 1
          trip 1 (`7`) waits for company, or for what is before it
          trip 1 (`7`) has its candidate made
        queue 7
          error: cannot queue `7`
          because: it is on its way already
          next: wait for its end, or cancel it first
        well 1
          error: cannot take trip 1 on
          because: it is preparing
          next: wait until its canary can be watched
        confirm 1
          error: cannot confirm trip 1
          because: it is preparing
          next: wait until it runs everywhere
        resume 1
          error: cannot take trip 1 on
          because: it is preparing
          next: hold it first, or let it go on
        retry 1
          error: cannot build trip 1 again
          because: it is preparing
          next: wait until its build is red
        settle 1 because so
          error: cannot settle trip 1
          because: it is preparing
          next: wait: the train goes on by itself
        back 2 because so
          error: cannot take trip 2 back
          because: lane `main` has no such trip under way
          next: see the trips under way, and those that ended in the history
        cancel 9
          error: cannot cancel `9`
          because: it is not on its way
          next: see how it ended in the history
        front 7 because so
          error: cannot put `7` first
          because: it does not wait in the queue
          next: queue it, or look where its trip is
        hold 1 because lunch
          trip 1 (`7`) is held: ann holds it: lunch
        hold 1 because lunch
          error: cannot hold trip 1
          because: it is held
          next: decide about it instead
        resume 1
          trip 1 (`7`) has its candidate made
        cancel 7
          trip 1 (`7`) goes back: ann took it out
        ",
    );
}
