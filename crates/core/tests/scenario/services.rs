//! Stories of services: steps, places, routes, and the way back from each.

use crate::openings::{A_AND_B_RUN_ONE, BESIDE_R, CANARY, ROLLING, TWO_IS_WATCHED_ON_A, TWO_STARTS_ON_A};
use crate::{check, check_from};

#[test]
fn a_rolling_rollout_starts_admits_drains_and_stops_one_batch_after_the_other() {
    check_from(
        &[ROLLING, A_AND_B_RUN_ONE, BESIDE_R, TWO_STARTS_ON_A, "follows r"],
        "
        routes
          a: 1 serves, b: 1 serves
        orders
          a/web 0.180002: run 1 beside 2, keep 2 1
          b/web 0.180000: run 1, keep 2 1
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
        routes
          a: 1 drains 2 serves, b: 1 serves
        waiting
          waiting for the router on r to follow the new shares, for another 5 min
        busy r a 1
        follows r
        waiting
          waiting for requests in flight on what is to stop, for another 20 s at most
        busy r
        waiting
          waiting for a (0 of 1 targets without the old release), for another 5 min
        up
          a: 1 2, b: 1, r: 
        works a
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        waiting
          waiting for nothing bad to happen to `2`, for another 10 s
        up
          a: 2, b: 1, r: 
        wait 10s
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        works b
          step 2 of 2 of `production.shop`: `2` takes requests on 2 of 2 hosts
        follows r
        follows r
        works b
          step 2 of 2 of `production.shop` is done: `2` is watched on 2 of 2 hosts
          `production.shop` runs `2` on 2 targets
        wait 10s
        routes
          a: 2 serves, b: 2 serves
        up
          a: 2, b: 2, r: 
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.190003
        ",
    );
}

#[test]
fn a_canary_gets_its_share_in_steps_and_an_abort_takes_it_back_at_once() {
    check(
        "
        services
        strategy canary 10% 50% then 2
        hosts a b c d
        runs 1
        router r
        follows r
        deploy 2
          ann prepares `2` of `production.shop` on 4 hosts
        works a b c d
          step 1 of 3 of `production.shop`: `2` starts on 1 of 4 hosts
        waiting
          waiting for the router on r to follow the new shares, for another 30 s
        follows r
        routes
          a: 1 serves, b: 1 serves, c: 1 serves, d: 1 serves; 2 gets 0%
        works a
          step 1 of 3 of `production.shop`: `2` gets 10% of the traffic, on 1 of 4 hosts
        routes
          a: 1 serves 2 serves, b: 1 serves, c: 1 serves, d: 1 serves; 2 gets 10%
        follows r
          step 1 of 3 of `production.shop` is done: `2` is watched on 1 of 4 hosts
        routes
          a: 1 serves 2 serves, b: 1 serves, c: 1 serves, d: 1 serves; 2 gets 10%
        waiting
          waiting for nothing bad to happen to `2`, for another 10 s
        wait 10s
          step 2 of 3 of `production.shop`: `2` starts on 2 of 4 hosts
        routes
          a: 1 serves 2 serves, b: 1 serves, c: 1 serves, d: 1 serves; 2 gets 10%
        works b
          step 2 of 3 of `production.shop`: `2` gets 50% of the traffic, on 2 of 4 hosts
        routes
          a: 1 serves 2 serves, b: 1 serves 2 serves, c: 1 serves, d: 1 serves; 2 gets 50%
        follows r
          step 2 of 3 of `production.shop` is done: `2` is watched on 2 of 4 hosts
        abort
          `production.shop` turns back from `2`: ann aborted it
        routes
          a: 1 serves 2 drains, b: 1 serves 2 drains, c: 1 serves, d: 1 serves; 2 gets 0.0001%
        up
          a: 1 2, b: 1 2, c: 1, d: 1, r: 
        waiting
          waiting for a, b, c and d (0 of 4 targets back on `1`), for another 5 min
        works a b c d
        busy r a 2
        follows r
        waiting
          waiting for requests in flight on what is to stop, for another 20 s at most
        busy r
        works a b c d
          `production.shop` went back to `1`: ann aborted it
        routes
          a: 1 serves, b: 1 serves, c: 1 serves, d: 1 serves
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.190004
        ",
    );
}

#[test]
fn a_canary_that_went_well_ends_in_batches() {
    check(
        "
        services
        strategy canary 10% 50% then 2
        hosts a b c d
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 4 hosts
        works a b c d
          step 1 of 3 of `production.shop`: `2` starts on 1 of 4 hosts
        works a
          step 1 of 3 of `production.shop`: `2` gets 10% of the traffic, on 1 of 4 hosts
          step 1 of 3 of `production.shop` is done: `2` is watched on 1 of 4 hosts
        wait 10s
          step 2 of 3 of `production.shop`: `2` starts on 2 of 4 hosts
        works b
          step 2 of 3 of `production.shop`: `2` gets 50% of the traffic, on 2 of 4 hosts
          step 2 of 3 of `production.shop` is done: `2` is watched on 2 of 4 hosts
        wait 10s
          step 3 of 3 of `production.shop`: `2` starts on 4 of 4 hosts
        works a b c d
          step 3 of 3 of `production.shop`: `2` takes requests on 4 of 4 hosts
        routes
          a: 1 drains 2 serves, b: 1 drains 2 serves, c: 1 drains 2 serves, d: 1 drains 2 serves
        wait 10s
        works a b c d
          step 3 of 3 of `production.shop` is done: `2` is watched on 4 of 4 hosts
          `production.shop` runs `2` on 4 targets
        works a b c d
        wait 10s
        works a b c d
        live
          a: 2, b: 2, c: 2, d: 2
        up
          a: 2, b: 2, c: 2, d: 2
        ",
    );
}

#[test]
fn a_release_that_does_not_start_is_taken_back_before_anybody_used_it() {
    check_from(
        &[ROLLING, A_AND_B_RUN_ONE, TWO_STARTS_ON_A],
        "
        routes
          a: 1 serves, b: 1 serves
        fails a start 2: it ended with status 1
          `production.shop` turns back from `2`: a/web could not start `2`: it ended with status 1
        routes
          a: 1 serves, b: 1 serves
        works a b
          `production.shop` went back to `1`: a/web could not start `2`: it ended with status 1
        routes
          a: 1 serves, b: 1 serves
        up
          a: 1, b: 1
        ",
    );
}

#[test]
fn a_release_that_dies_later_is_taken_back_on_every_host_that_has_it() {
    check(
        "
        services
        strategy rolling 1
        hosts a b c
        runs 1
        router r
        follows r
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        works a b c
          step 1 of 3 of `production.shop`: `2` starts on 1 of 3 hosts
        follows r
        works a
          step 1 of 3 of `production.shop`: `2` takes requests on 1 of 3 hosts
        follows r
        works a
          step 1 of 3 of `production.shop` is done: `2` is watched on 1 of 3 hosts
        wait 10s
          step 2 of 3 of `production.shop`: `2` starts on 2 of 3 hosts
        works b
          step 2 of 3 of `production.shop`: `2` takes requests on 2 of 3 hosts
        fails a start 2: it ended 3 times within 10 min
          `production.shop` turns back from `2`: a/web could not start `2`: it ended 3 times within 10 min
        routes
          a: 2 serves, b: 1 serves 2 drains, c: 1 serves
        works a b c
        routes
          a: 1 serves 2 drains, b: 1 serves 2 drains, c: 1 serves
        follows r
        works a b c
          `production.shop` went back to `1`: a/web could not start `2`: it ended 3 times within 10 min
        routes
          a: 1 serves, b: 1 serves, c: 1 serves
        up
          a: 1, b: 1, c: 1, r: 
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.190004
        ",
    );
}

#[test]
fn a_release_that_was_well_and_crashes_while_it_is_watched_is_taken_back_at_once() {
    check_from(
        &[CANARY, A_AND_B_RUN_ONE, TWO_STARTS_ON_A, TWO_IS_WATCHED_ON_A],
        "
        wait 5s
        crashes a 2 times=1: it crashed 20 s after its start: it ended with status 1
          `production.shop` turns back from `2`: a/web started `2`, but it crashed 20 s after its start: it ended with status 1
        works a b
        works a b
          `production.shop` went back to `1`: a/web started `2`, but it crashed 20 s after its start: it ended with status 1
        up
          a: 1, b: 1
        ",
    );
}

#[test]
fn so_many_late_crashes_as_its_rules_allow_are_put_up_with() {
    check_from(
        &[CANARY, "pace crashes=1", A_AND_B_RUN_ONE, TWO_STARTS_ON_A, TWO_IS_WATCHED_ON_A],
        "
        crashes a 2 times=1: it crashed 20 s after its start: it ended with status 1
        waiting
          waiting for nothing bad to happen to `2`, for another 10 s
        crashes a 2 times=2: it crashed twice
          `production.shop` turns back from `2`: a/web started `2`, but it crashed twice
        ",
    );
}

#[test]
fn blue_green_keeps_the_old_release_up_for_the_soak() {
    check(
        "
        services
        strategy blue_green
        hosts a b
        runs 1
        pace soak=10m
        router r
        follows r
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        follows r
        works a b
          step 1 of 2 of `production.shop`: `2` gets 100% of the traffic, on 2 of 2 hosts
        follows r
          step 1 of 2 of `production.shop` is done: `2` is watched on 2 of 2 hosts
        routes
          a: 1 serves 2 serves, b: 1 serves 2 serves; 2 gets 100%
        waiting
          waiting for nothing bad to happen to `2`, for another 10 min
        wait 10m
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
          step 2 of 2 of `production.shop`: `2` takes requests on 2 of 2 hosts
        routes
          a: 1 drains 2 serves, b: 1 drains 2 serves
        follows r
        works a b
          step 2 of 2 of `production.shop` is done: `2` is watched on 2 of 2 hosts
        routes
          a: 2 serves, b: 2 serves
        ",
    );
}

#[test]
fn what_may_not_run_twice_is_emptied_first() {
    check_from(
        &[ROLLING, "pace alone", A_AND_B_RUN_ONE, BESIDE_R, TWO_STARTS_ON_A, "follows r"],
        "
        routes
          a: 1 drains, b: 1 serves
        orders
          a/web 0.180000: run 1, keep 2 1
          b/web 0.180000: run 1, keep 2 1
        follows r
        orders
          a/web 0.180003: run 2, keep 2 1
          b/web 0.180000: run 1, keep 2 1
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
        up
          a: 2, b: 1, r: 
        routes
          a: 2 serves, b: 1 serves
        follows r
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        wait 10s
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        routes
          a: 2 serves, b: 1 drains
        ",
    );
}

#[test]
fn steps_wait_for_a_person_who_wants_to_look() {
    check(
        "
        services
        strategy canary 50% then 50%
        pace hold
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of `production.shop` waits for `footplate promote shop`
        waiting
          waiting for somebody to run `footplate promote shop`, for another 1 d
        promote
          step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
        works a
          step 1 of 2 of `production.shop`: `2` gets 50% of the traffic, on 1 of 2 hosts
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        pause
        wait 1m
        waiting
          waiting for somebody to run `footplate resume shop` (ann paused it), for another 23 h 59 min
        resume
        wait 10s
          step 2 of 2 of `production.shop` waits for `footplate promote shop`
        waiting
          waiting for somebody to run `footplate promote shop`, for another 1 d
        rollback because it smells
          `production.shop` turns back from `2`: ann rolled it back, because it smells
        works a b
        up
          a: 1 2, b: 1
        ",
    );
}

#[test]
fn the_acceptance_hook_passes_before_users_come_and_again_after_each_step() {
    check_from(
        &[ROLLING, "pace accept", A_AND_B_RUN_ONE, TWO_STARTS_ON_A],
        "
        orders
          a/web 0.180004: run 1 beside 2, keep 2 1
          b/web 0.180002: run 1, keep 2 1
        works a
        routes
          a: 1 serves 2 standby, b: 1 serves
        waiting
          waiting for a (0 of 1 targets that accepted `2`), for another 5 min
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
        works a
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        wait 10s
        waiting
          waiting for a (0 of 1 targets that accepted `2` again), for another 5 min
        works a
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        works b
          step 2 of 2 of `production.shop`: `2` takes requests on 2 of 2 hosts
        waiting
          waiting for b (1 of 2 targets without the old release), for another 5 min
        works b
          step 2 of 2 of `production.shop` is done: `2` is watched on 2 of 2 hosts
        works b
        wait 1s
        waiting
          waiting for a (1 of 2 targets that accepted `2` again), for another 4 min 59 s
        fails a accept 2: checkout is broken
          `production.shop` turns back from `2`: a/web could not accept `2`: checkout is broken
        ",
    );
}

#[test]
fn what_a_first_rollout_left_behind_gets_nobody_before_the_next_one_has_it_accepted() {
    check(
        "
        services
        pace accept
        strategy rolling 1
        hosts a b
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `2` starts on 2 of 2 hosts
        works a b
        routes
          a: 2 standby, b: 2 standby
        abort
          `production.shop` was not moved to `2` everywhere: ann aborted it; there is nothing to go back to, so `2` stays where it was activated
        routes
          a: 2 standby, b: 2 standby
        deploy 3
          ann prepares `3` of `production.shop` on 2 hosts
        routes
          a: 2 standby, b: 2 standby
        abort
          `production.shop` was not moved to `3`: ann aborted it; nothing was switched
        routes
          a: 2 standby, b: 2 standby
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        routes
          a: 2 standby, b: 2 standby
        works a b
          step 1 of 1 of `production.shop`: `2` starts on 2 of 2 hosts
        routes
          a: 2 standby, b: 2 standby
        works a b
        works a b
          step 1 of 1 of `production.shop`: `2` takes requests on 2 of 2 hosts
          step 1 of 1 of `production.shop` is done: `2` is watched on 2 of 2 hosts
        routes
          a: 2 serves, b: 2 serves
        ",
    );
}

#[test]
fn a_hook_that_does_not_answer_after_a_step_turns_it_back_in_time() {
    check_from(
        &[ROLLING, "pace accept", A_AND_B_RUN_ONE, TWO_STARTS_ON_A],
        "
        works a
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
        works a
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        wait 10s
        wait 5m
          `production.shop` turns back from `2`: a had not been accepted after 5 min
        ",
    );
}

#[test]
fn going_back_to_a_release_that_ran_before_tries_no_hook() {
    check(
        "
        services
        strategy rolling 1
        pace accept
        hosts a
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        works a
          step 1 of 1 of `production.shop`: `2` starts on 1 of 1 host
        works a
        works a
          step 1 of 1 of `production.shop`: `2` takes requests on 1 of 1 host
        works a
          step 1 of 1 of `production.shop` is done: `2` is watched on 1 of 1 host
        wait 1s
        works a
          `production.shop` runs `2` on 1 target
        rollback
          ann rolls `production.shop` back to `1` on 1 host
        works a
          step 1 of 1 of `production.shop`: `1` starts on 1 of 1 host
        works a
          step 1 of 1 of `production.shop`: `1` takes requests on 1 of 1 host
        wait 1s
        works a
          step 1 of 1 of `production.shop` is done: `1` is watched on 1 of 1 host
          `production.shop` runs `1` on 1 target
        works a
        wait 1s
        ",
    );
}

#[test]
fn files_roll_in_batches_as_well() {
    check(
        "
        strategy rolling 2
        hosts a b c
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        works a b c
          step 1 of 2 of `production.shop`: `2` starts on 2 of 3 hosts
        live
          a: 1, b: 1, c: 1
        works a b c
          step 1 of 2 of `production.shop` is done: `2` is watched on 2 of 3 hosts
        wait 10s
          step 2 of 2 of `production.shop`: `2` starts on 3 of 3 hosts
        live
          a: 2, b: 2, c: 1
        works a b c
          step 2 of 2 of `production.shop` is done: `2` is watched on 3 of 3 hosts
          `production.shop` runs `2` on 3 targets
        wait 10s
        live
          a: 2, b: 2, c: 2
        ",
    );
}

#[test]
fn a_service_that_files_have_followed_gets_no_requests_again() {
    check(
        "
        services
        hosts a b
        runs 1
        files
        gone b
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        works a
          step 1 of 1 of `production.shop`: `3` starts on 1 of 1 host
        works a
          step 1 of 1 of `production.shop`: `3` takes requests on 1 of 1 host
          step 1 of 1 of `production.shop` is done: `3` is watched on 1 of 1 host
          `production.shop` runs `3` on 1 target
        wait 20s
        back b
        routes
          b: 1 drains
        ",
    );
}
