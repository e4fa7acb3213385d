//! Stories of services that were well and are not any more, while a rollout goes on, comes to an end, or goes back.

use crate::check_from;
use crate::openings::{
    A_AND_B_RUN_ONE, CANARY, ROLLING, TWO_IS_WATCHED_ON_A, TWO_SERVES_ON_A, TWO_STARTS_ON_A,
};

#[test]
fn no_further_host_is_moved_while_one_that_was_is_not_well() {
    check_from(
        &[ROLLING, A_AND_B_RUN_ONE, TWO_STARTS_ON_A, TWO_SERVES_ON_A],
        "
        works a
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        sick a 2
        wait 10s
        where
          step 1 of 2, settling: `2` on 1 of 2 hosts
        waiting
          waiting for a (0 of 1 targets ready with `2`), for another 5 min
        routes
          b: 1 serves
        wait 10s
        well a 2
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        where
          step 2 of 2, starting: `2` on 2 of 2 hosts
        sick a 2
        fails a start 2: it did not get well
          `production.shop` turns back from `2`: a/web could not start `2`: it did not get well
        routes
          b: 1 serves
        ",
    );
}

#[test]
fn a_rollout_does_not_arrive_before_what_it_moved_last_is_well() {
    check_from(
        &[ROLLING, "pace soak=10s", "hosts a", "runs 1"],
        "
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        works a
          step 1 of 1 of `production.shop`: `2` starts on 1 of 1 host
        works a
          step 1 of 1 of `production.shop`: `2` takes requests on 1 of 1 host
        works a
          step 1 of 1 of `production.shop` is done: `2` is watched on 1 of 1 host
        sick a 2
        wait 10s
        waiting
          waiting for a (0 of 1 targets ready with `2`), for another 5 min
        wait 5m
          `production.shop` turns back from `2`: a had not become ready again after 5 min
        works a
        works a
          `production.shop` went back to `1`: a had not become ready again after 5 min
        works a
        up
          a: 1
        ",
    );
}

#[test]
fn what_was_accepted_on_one_host_and_is_ill_by_the_time_it_is_on_the_other_is_not_let_in() {
    check_from(
        &["services", "pace accept", A_AND_B_RUN_ONE],
        "
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `2` starts on 2 of 2 hosts
        works a
        well b 2
        works a
        sick a 2
        works b
        waiting
          waiting for a (1 of 2 targets that accepted `2`), for another 5 min
        routes
          a: 1 serves, b: 1 serves 2 standby
        well a 2
          step 1 of 1 of `production.shop`: `2` takes requests on 2 of 2 hosts
        routes
          a: 1 drains 2 serves, b: 1 drains 2 serves
        ",
    );
}

#[test]
fn a_canary_that_is_taken_back_gets_requests_only_where_nobody_else_could_answer() {
    check_from(
        &[CANARY, A_AND_B_RUN_ONE, TWO_STARTS_ON_A, TWO_IS_WATCHED_ON_A],
        "
        routes
          a: 1 serves 2 serves, b: 1 serves; 2 gets 10%
        sick a 1
        rollback
          `production.shop` turns back from `2`: ann rolled it back
        routes
          a: 2 serves, b: 1 serves; 2 gets 0.0001%
        well a 1
        routes
          a: 1 serves 2 drains, b: 1 serves
        ",
    );
}

/// The release 2 came to a and c, and not to b, where it does not get well.
const TWO_DID_NOT_COME_TO_B: &str = "
    hosts a b c
    runs 1
    deploy 2
      ann prepares `2` of `production.shop` on 3 hosts
    works a b c
      step 1 of 3 of `production.shop`: `2` starts on 1 of 3 hosts
    works a
      step 1 of 3 of `production.shop`: `2` takes requests on 1 of 3 hosts
    works a
      step 1 of 3 of `production.shop` is done: `2` is watched on 1 of 3 hosts
    works a
    wait 10s
      step 2 of 3 of `production.shop`: `2` starts on 2 of 3 hosts
    fails b start 2: it died
    works c
      step 2 of 3 of `production.shop`: `2` takes requests on 2 of 3 hosts
    works c
      step 2 of 3 of `production.shop` is done: `2` is watched on 2 of 3 hosts
    works c
    wait 10s
      step 3 of 3 of `production.shop`: `2` takes requests on 3 of 3 hosts
      step 3 of 3 of `production.shop` is done: `2` is watched on 3 of 3 hosts
      `production.shop` runs `2` except on b/web (the new release failed there)
    works a c
    sick b 2
";

#[test]
fn what_stands_in_for_a_release_that_does_not_get_well_serves_until_the_next_one_comes() {
    check_from(
        &[ROLLING, "pace failures=1", TWO_DID_NOT_COME_TO_B],
        "
        routes
          a: 2 serves, b: 1 serves, c: 2 serves
        deploy 3
          ann prepares `3` of `production.shop` on 3 hosts
        prepares b
        works a c
          step 1 of 3 of `production.shop`: `3` starts on 1 of 3 hosts
        where
          step 1 of 3, starting: `3` on 1 of 3 hosts
        routes
          a: 2 serves, b: 1 serves, c: 2 serves
        orders
          a/web 0.200004: run 2 beside 3, keep 3 2 1
          b/web 0.200002: run 2, keep 3 2 1
          c/web 0.200002: run 2, keep 3 2 1
        works a
          step 1 of 3 of `production.shop`: `3` takes requests on 1 of 3 hosts
        routes
          a: 2 drains 3 serves, b: 1 serves, c: 2 serves
        ",
    );
}

#[test]
fn a_host_that_runs_already_what_a_rollback_leads_to_is_done() {
    check_from(
        &[ROLLING, "pace failures=1", TWO_DID_NOT_COME_TO_B],
        "
        routes
          a: 2 serves, b: 1 serves, c: 2 serves
        rollback 1
          ann rolls `production.shop` back to `1` on 3 hosts
        works a c
          step 1 of 3 of `production.shop`: `1` starts on 1 of 3 hosts
          step 1 of 3 of `production.shop`: `1` takes requests on 1 of 3 hosts
          step 1 of 3 of `production.shop` is done: `1` is watched on 1 of 3 hosts
        steps
          start `1` on 1 of 3 hosts, move their requests to it, stop `2` there
          undo: `2` starts again on 1 host and takes the requests, `1` drains and stops
          start `1` on 1 more (2 of 3 hosts), move their requests to it, stop `2` there
          undo: `2` starts again on 2 hosts and takes the requests, `1` drains and stops
          start `1` on 1 more (3 of 3 hosts), move their requests to it, stop `2` there
          undo: `2` starts again on 3 hosts and takes the requests, `1` drains and stops
        where
          step 1 of 3, settling: `1` on 1 of 3 hosts
        routes
          a: 2 serves, b: 1 serves, c: 2 serves
        orders
          a/web 0.200002: run 2, keep 1 2
          b/web 0.200003: run 1, keep 1 2
          c/web 0.200002: run 2, keep 1 2
        works a c
        works a c
        routes
          a: 2 serves, b: 1 serves, c: 2 serves
        works a c
        wait 10s
        works a c
        works a c
        works a c
        up
          a: 2, b: 1 2, c: 2
        ",
    );
}
