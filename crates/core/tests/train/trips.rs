//! Stories of trips that go well.

use crate::check;

#[test]
fn a_good_change_goes_from_the_queue_to_production() {
    check(
        "
        queue 7
          `7` is checking, at place 1
          trip 1 (`7`) waits for company, or for what is before it
          trip 1 (`7`) has its candidate made
        owed
          fence 1: prepare 7 upon the mainline (main/1/0/prepare/0)
        made 1 m0 c1
          trip 1 (`7`) is built
        owed
          fence 1: build c1 (main/1/0/build/0)
        builds 1
          trip 1 (`7`) goes through the further tests
        qualifies 1
          trip 1 (`7`) waits for its right of way
          trip 1 (`7`) lands on the mainline
        owed
          fence 1: land from m0 to c1 (main/1/0/land/0)
        lands 1 c1
          trip 1 (`7`) starts its canary
        owed
          fence 1: roll c1, to the canary (main/1/roll)
        canary 1 unknown
          trip 1 (`7`) has a canary to look at
        wait 6
        well 1
          trip 1 (`7`) goes on to all targets
        owed
          fence 1: roll c1, everywhere (main/1/roll)
        arrives 1
          trip 1 (`7`) runs everywhere and is watched
        owed
        verified
          v0
        wait 15
          `7` is in production
        verified
          c1
        owed
          fence 1: undo candidate 0 (main/1/clear/candidate/0)
          fence 1: undo build 0 (main/1/clear/build/0)
        line
          nothing
        ",
    );
}
