//! Stories of what goes wrong in the middle of steps: hosts that fail, are away or come back, and people who change their minds.

use crate::openings::{A_AND_B_RUN_ONE, BESIDE_R, ROLLING, TWO_SERVES_ON_A, TWO_STARTS_ON_A};
use crate::{check, check_from};

#[test]
fn hosts_that_fail_in_a_row_are_put_up_with_as_far_as_the_rules_say() {
    check(
        "
        services
        strategy rolling 1
        pace failures=1
        hosts a b c
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        works a b c
          step 1 of 3 of `production.shop`: `2` starts on 1 of 3 hosts
        fails a start 2: no memory
        works a b c
          step 1 of 3 of `production.shop`: `2` takes requests on 1 of 3 hosts
        works a b c
          step 1 of 3 of `production.shop` is done: `2` is watched on 1 of 3 hosts
        works a b c
        wait 10s
          step 2 of 3 of `production.shop`: `2` starts on 2 of 3 hosts
        works a b c
          step 2 of 3 of `production.shop`: `2` takes requests on 2 of 3 hosts
        works a b c
          step 2 of 3 of `production.shop` is done: `2` is watched on 2 of 3 hosts
        wait 10s
          step 3 of 3 of `production.shop`: `2` takes requests on 3 of 3 hosts
          step 3 of 3 of `production.shop` is done: `2` is watched on 3 of 3 hosts
          `production.shop` runs `2` except on a/web (the new release failed there)
        works a b c
        works a b c
        wait 10s
        live
          a: 2, b: 2, c: 2
        up
          a: 1 2, b: 2, c: 2
        ",
    );
}

#[test]
fn a_step_waits_for_the_hosts_that_still_start_when_one_of_them_failed() {
    check(
        "
        services
        strategy rolling 2
        pace failures=1
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `2` starts on 2 of 2 hosts
        fails a start 2: no memory
        waiting
          waiting for b (1 of 2 targets with a healthy `2`), for another 5 min
        routes
          a: 1 serves, b: 1 serves
        works b
          step 1 of 1 of `production.shop`: `2` takes requests on 2 of 2 hosts
        routes
          a: 1 serves, b: 1 drains 2 serves
        ",
    );
}

#[test]
fn what_may_not_run_twice_finishes_its_requests_on_the_way_back_too() {
    check_from(
        &[ROLLING, "pace alone", A_AND_B_RUN_ONE, BESIDE_R, TWO_STARTS_ON_A, "follows r"],
        "
        follows r
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
        follows r
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        abort
          `production.shop` turns back from `2`: ann aborted it
        orders
          a/web 0.180005: run 2, keep 1 2
          b/web 0.180005: run 1, keep 1
        routes
          a: 2 drains, b: 1 serves
        busy r a 2
        follows r
        waiting
          waiting for requests in flight on what is to stop, for another 20 s at most
        orders
          a/web 0.180005: run 2, keep 1 2
          b/web 0.180005: run 1, keep 1
        busy r
        orders
          a/web 0.180007: run 1, keep 1
          b/web 0.180005: run 1, keep 1
        works a b
          `production.shop` went back to `1`: ann aborted it
        routes
          a: 1 serves, b: 1 serves
        up
          a: 1, b: 1, r: 
        ",
    );
}

#[test]
fn an_old_release_takes_requests_again_only_once_its_agent_keeps_it() {
    check_from(
        &[ROLLING, A_AND_B_RUN_ONE, TWO_STARTS_ON_A, TWO_SERVES_ON_A],
        "
        orders
          a/web 0.180004: run 2, keep 2 1
          b/web 0.180000: run 1, keep 2 1
        up
          a: 1 2, b: 1
        abort
          `production.shop` turns back from `2`: ann aborted it
        routes
          a: 1 drains 2 serves, b: 1 serves
        works a b
        routes
          a: 1 serves 2 drains, b: 1 serves
        ",
    );
}

#[test]
fn a_host_that_is_away_is_skipped_and_follows_at_the_end() {
    check_from(
        &[ROLLING, "policy go_on", A_AND_B_RUN_ONE, TWO_STARTS_ON_A],
        "
        gone a
        wait 5m
        orders
          a/web 0.480000: run 1, keep 2 1
          b/web 0.480001: run 1 beside 2, keep 2 1
        works b
          step 1 of 1 of `production.shop`: `2` takes requests on 1 of 1 host
        works b
          step 1 of 1 of `production.shop` is done: `2` is watched on 1 of 1 host
          `production.shop` runs `2` on 1 target
        wait 10s
        back a
        works a
        works a
        up
          a: 1 2, b: 2
        wait 20s
        works a
        up
          a: 2, b: 2
        ",
    );
}

#[test]
fn a_third_release_waits_for_the_way_back() {
    check_from(
        &[ROLLING, A_AND_B_RUN_ONE, TWO_STARTS_ON_A],
        "
        rollback 3
          error: cannot roll back `production.shop` to `3`
          because: rollout 2 to `2` is starting, and two releases are up
          next: take it back with `footplate rollback shop`, and go on from there
        rollback
          `production.shop` turns back from `2`: ann rolled it back
        ",
    );
}
