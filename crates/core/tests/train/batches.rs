//! Stories of changes that travel together, and of trips that build ahead.

use crate::openings::SEVEN_IS_BUILT;
use crate::{check, check_from};

/// A trip of four changes is red, upon one that is still built.
const FOUR_ARE_RED: &str = "
        batch 4
        queue 1
          `1` is checking, at place 1
          trip 1 (`1`) waits for company, or for what is before it
          trip 1 (`1`) has its candidate made
        queue 2 3 4 5
          `2` is checking, at place 1
          trip 2 (`2`) waits for company, or for what is before it
          `3` is checking, at place 1
          trip 2 (`2`, `3`) waits for company, or for what is before it
          `4` is checking, at place 1
          trip 2 (`2`, `3`, `4`) waits for company, or for what is before it
          `5` is checking, at place 1
          trip 2 (`2`, `3`, `4`, `5`) waits for company, or for what is before it
        line
          1:1 preparing, 2:2+3+4+5 boarding
        made 1 m0 c1
          trip 1 (`1`) is built
          trip 2 (`2`, `3`, `4`, `5`) has its candidate made
        made 2 c1 c2
          trip 2 (`2`, `3`, `4`, `5`) is built
        red 2 because a test fails
        line
          1:1 building, 2:2+3+4+5 building
";

#[test]
fn a_red_build_of_four_is_halved_until_the_culprit_is_found() {
    check(&format!(
        "{FOUR_ARE_RED}
        builds 1
          trip 1 (`1`) goes through the further tests
          trip 2 (`2`, `3`) waits for company, or for what is before it
          trip 3 (`4`, `5`) waits for company, or for what is before it
          trip 2 (`2`, `3`) has its candidate made
        line
          1:1 qualifying, 2:2+3 preparing, 3:4+5 boarding
        made 2 c1 c3
          trip 2 (`2`, `3`) is built
          trip 3 (`4`, `5`) has its candidate made
        made 3 c3 c4
          trip 3 (`4`, `5`) is built
        owed
          fence 1: qualify c1 (main/1/0/qualify/0/0)
          fence 1: build c3 (main/2/1/build/0)
          fence 1: build c4 (main/3/1/build/0)
          fence 1: undo candidate 0 (main/2/clear/candidate/0)
          fence 1: undo build 0 (main/2/clear/build/0)
        builds 2
          trip 2 (`2`, `3`) goes through the further tests
        red 3 because a test fails
          trip 3 (`4`) waits for company, or for what is before it
          trip 4 (`5`) waits for company, or for what is before it
          trip 3 (`4`) has its candidate made
        line
          1:1 qualifying, 2:2+3 qualifying, 3:4 preparing, 4:5 boarding
        made 3 c3 c5
          trip 3 (`4`) is built
          trip 4 (`5`) has its candidate made
        made 4 c5 c6
          trip 4 (`5`) is built
        red 4 because a test fails
        builds 3
          trip 3 (`4`) goes through the further tests
          trip 4 (`5`) goes back: a test fails
        line
          1:1 qualifying, 2:2+3 qualifying, 3:4 qualifying, 4:5 undoing
        owed
          fence 2: qualify c1 (main/1/0/qualify/0/0)
          fence 2: qualify c3 (main/2/1/qualify/0/0)
          fence 2: qualify c5 (main/3/2/qualify/0/0)
          fence 2: undo build 1 (main/4/undo/2/0)
          fence 2: undo candidate 0 (main/2/clear/candidate/0)
          fence 2: undo build 0 (main/2/clear/build/0)
          fence 2: undo candidate 1 (main/3/clear/candidate/1)
          fence 2: undo build 1 (main/3/clear/build/1)
        undone 4
        undone 4
          `5` was left behind: a test fails
        line
          1:1 qualifying, 2:2+3 qualifying, 3:4 qualifying
        "
    ));
}

#[test]
fn a_conflict_is_tried_again_and_then_left_behind() {
    check(
        "
        batch 2
        queue 1
          `1` is checking, at place 1
          trip 1 (`1`) waits for company, or for what is before it
          trip 1 (`1`) has its candidate made
        queue 2 3
          `2` is checking, at place 1
          trip 2 (`2`) waits for company, or for what is before it
          `3` is checking, at place 1
          trip 2 (`2`, `3`) waits for company, or for what is before it
        made 1 m0 c1
          trip 1 (`1`) is built
          trip 2 (`2`, `3`) has its candidate made
        conflict 2 3 because changed the same lines as `2`
        conflict 2 3 because changed the same lines as `2`
          `3` was left behind: changed the same lines as `2`
          trip 2 (`2`) has its candidate made
        owed
          fence 1: build c1 (main/1/0/build/0)
          fence 1: prepare 2 upon c1 (main/2/1/prepare/0)
          fence 1: undo candidate 0 (main/2/clear/candidate/0)
        line
          1:1 building, 2:2 preparing
        ",
    );
}

#[test]
fn a_flake_is_built_again_and_what_failed_alone() {
    check_from(
        &[SEVEN_IS_BUILT],
        "
        flaky 1 because a test flickers
        owed
          fence 1: build c1, what failed (main/1/0/build/1)
        flaky 1 because a test flickers
          trip 1 (`7`) did not build: a test flickers
        retry 1
          trip 1 (`7`) is built
        owed
          fence 1: build c1, what failed (main/1/0/build/2)
        builds 1
          trip 1 (`7`) goes through the further tests
        ",
    );
}

#[test]
fn a_mainline_that_somebody_moved_costs_a_new_candidate_before_production_and_a_word_after() {
    check_from(
        &[SEVEN_IS_BUILT],
        "
        builds 1
          trip 1 (`7`) goes through the further tests
        qualifies 1
          trip 1 (`7`) waits for its right of way
          trip 1 (`7`) lands on the mainline
        moved 1
          trip 1 (`7`) waits for company, or for what is before it
          trip 1 (`7`) has its candidate made
        owed
          fence 1: prepare 7 upon the mainline (main/1/1/prepare/0)
          fence 1: undo candidate 0 (main/1/clear/candidate/0)
          fence 1: undo build 0 (main/1/clear/build/0)
        back 1 because enough
          trip 1 (`7`) goes back: ann took it back: enough
        undone 1
        undone 1
          `7` was taken back: ann took it back: enough
        undone 1
        settings after_roll
        queue 8
          `8` is checking, at place 1
          trip 2 (`8`) waits for company, or for what is before it
          trip 2 (`8`) has its candidate made
        made 2 m1 c2
          trip 2 (`8`) is built
        builds 2
          trip 2 (`8`) goes through the further tests
        qualifies 2
          trip 2 (`8`) waits for its right of way
          trip 2 (`8`) starts its canary
        canary 2 proved
          trip 2 (`8`) has a canary to look at
        wait 6
        well 2
          trip 2 (`8`) goes on to all targets
        arrives 2
          trip 2 (`8`) lands on the mainline
        moved 2
          trip 2 (`8`) is held: the mainline was moved while the trip was in production
        resume 2
          trip 2 (`8`) lands on the mainline
        owed
          fence 2: land from m1 or elsewhere to c2 (main/2/0/land/1)
          fence 2: roll c2, everywhere (main/2/roll)
          fence 2: undo candidate 0 (main/1/clear/candidate/0)
          fence 2: undo build 0 (main/1/clear/build/0)
        lands 2 m3
          trip 2 (`8`) runs everywhere and is watched
        ",
    );
}

#[test]
fn what_is_closed_or_changed_at_its_source_leaves_or_is_looked_at_again() {
    check(
        "
        batch 2
        settings after_build
        queue 1
          `1` is checking, at place 1
          trip 1 (`1`) waits for company, or for what is before it
          trip 1 (`1`) has its candidate made
        queue 2 3 4 5 6 7
          `2` is checking, at place 1
          trip 2 (`2`) waits for company, or for what is before it
          `3` is checking, at place 1
          trip 2 (`2`, `3`) waits for company, or for what is before it
          `4` is checking, at place 1
          trip 3 (`4`) waits for company, or for what is before it
          `5` is checking, at place 1
          trip 3 (`4`, `5`) waits for company, or for what is before it
          `6` is checking, at place 1
          `6` is queued, at place 1
          `7` is checking, at place 2
          `7` is queued, at place 2
        line
          1:1 preparing, 2:2+3 boarding, 3:4+5 boarding, 6 queued, 7 queued
        pushes 6 h6b
          `6` is checking, at place 1
        line
          1:1 preparing, 2:2+3 boarding, 3:4+5 boarding, 6 checking, 7 queued
        closes 3
          `3` was cancelled: it was closed where it came from
          trip 2 (`2`) waits for company, or for what is before it
          trip 3 (`4`, `5`) waits for company, or for what is before it
        line
          1:1 preparing, 2:2 boarding, 3:4+5 boarding, 6 checking, 7 queued
        closes 7
          `7` was cancelled: it was closed where it came from
        ",
    );
}
