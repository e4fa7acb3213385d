//! Stories of hosts that join, leave, come back, and of a store that somebody changed.

use crate::openings::A_AND_B_RUN_ONE;
use crate::{check, check_from};

#[test]
fn too_few_hosts_are_waited_for_by_number() {
    check(
        "
        policy nodes=3
        hosts a
        deploy 1
          ann prepares `1` of `production.shop` on 1 host
        waiting
          waiting for 2 more hosts to join (1 of 3 there), for another 10 min
        hosts b
        waiting
          waiting for 1 more host to join (2 of 3 there), for another 10 min
        hosts c
        waiting
          waiting for a, b and c (0 of 3 targets prepared), for another 10 min
        prepares a b c
          `production.shop` switches to `1` on 3 hosts
        activates a b c
          `production.shop` runs `1` on 3 targets
        ",
    );
}

#[test]
fn too_few_hosts_fail_at_the_deadline() {
    check(
        "
        policy nodes=3
        hosts a
        deploy 1
          ann prepares `1` of `production.shop` on 1 host
        prepares a
        wait 10m
          `production.shop` was not moved to `1`: 1 host matched after 10 min and 3 must take part, 2 more; nothing was switched
        ",
    );
}

#[test]
fn what_a_host_waits_for_itself_is_said_beside_its_name() {
    check(
        "
        hosts a b
        deploy 1
          ann prepares `1` of `production.shop` on 2 hosts
        waits b no artifact source answers
        prepares a
        waiting
          waiting for b (no artifact source answers) (1 of 2 targets prepared), for another 10 min
        wait 10m
          `production.shop` was not moved to `1`: b (no artifact source answers) had not prepared after 10 min; nothing was switched
        ",
    );
}

#[test]
fn no_host_at_all_is_waited_for() {
    check(
        "
        deploy 1
          ann prepares `1` of `production.shop` on 0 hosts
        waiting
          waiting for 1 more host to join (0 of 1 there), for another 10 min
        hosts a
        prepares a
          `production.shop` switches to `1` on 1 host
        activates a
          `production.shop` runs `1` on 1 target
        ",
    );
}

#[test]
fn a_host_that_joins_gets_the_old_release_until_the_switch() {
    check(
        "
        hosts a
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        hosts b
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.1: run 1, keep 1
        prepares b
        activates b
        prepares a
          `production.shop` switches to `2` on 1 host
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 2, keep 2 1
        activates a
          `production.shop` runs `2` on 1 target
        prepares b
        activates b
        live
          a: 2, b: 2
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 2, keep 2 1
        ",
    );
}

#[test]
fn a_reimaged_host_converges_by_itself() {
    check(
        "
        hosts a b
        runs 1
        runs 2
        reimaged b
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, then 2 at 0.2, keep 2 1
        prepares b
        activates b
        live
          a: 2, b: 2
        ",
    );
}

#[test]
fn a_host_that_is_cordoned_gets_no_switch_and_follows_once_it_is_free() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a b
          `production.shop` switches to `2` on 2 hosts
        activates a b
          `production.shop` runs `2` on 2 targets
        deploy 3
          ann prepares `3` of `production.shop` on 2 hosts
        prepares a
        cordon b
          `production.shop` switches to `3` on 1 host
        orders
          a/web 0.5: run 2, then 3 at 0.5, keep 3 2 1
          b/web 0.4: run 2, keep 2 1
        prepares b
        activates a b
          `production.shop` runs `3` on 1 target
        live
          a: 3, b: 2
        uncordon b
        cordon b
        orders
          a/web 0.5: run 2, then 3 at 0.5, keep 3 2 1
          b/web 0.5: run 2, then 3 at 0.5, keep 3 2 1
        prepares b
        activates b
        live
          a: 3, b: 3
        ",
    );
}

#[test]
fn what_is_left_out_of_a_rollout_with_another_delivery_runs_what_it_ran() {
    check(
        "
        hosts a b
        labels b role=db
        runs 1
        says hosts role!=none
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        cordon a b
        orders
          a/web 0.3: run nothing, keep 1
          b/web 0.3: run nothing, keep 1
        live
          a: 1, b: nothing
        ",
    );
}

#[test]
fn a_host_that_was_cordoned_before_it_joined_gets_no_order() {
    check(
        "
        hosts a
        runs 1
        cordon c
        hosts c
        orders
          a/web 0.1: run nothing, then 1 at 0.1, keep 1
        uncordon c
        orders
          a/web 0.1: run nothing, then 1 at 0.1, keep 1
          c/web 0.1: run 1, keep 1
        deploy 3
          ann prepares `3` of `production.shop` on 2 hosts
        waiting
          waiting for a and c (0 of 2 targets prepared), for another 10 min
        ",
    );
}

#[test]
fn orders_barrier_and_releases_deleted_by_hand_come_back() {
    check(
        "
        hosts a b
        runs 1
        runs 2
        by-hand orders
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, then 2 at 0.2, keep 2 1
        by-hand barrier
        by-hand releases
        reimaged a
        prepares a
        activates a
        live
          a: 2, b: 2
        ",
    );
}

#[test]
fn a_host_that_matches_no_longer_loses_its_order() {
    check(
        "
        hosts a b
        runs 1
        relabelled b
        orders
          a/web 0.1: run nothing, then 1 at 0.1, keep 1
        ",
    );
}

#[test]
fn a_host_that_follows_late_finishes_its_requests_first_where_two_may_not_run_at_once() {
    check_from(
        &["services", "strategy rolling 1", "pace alone", "policy go_on", A_AND_B_RUN_ONE],
        "
        gone b
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        works a
          step 1 of 1 of `production.shop`: `2` starts on 1 of 1 host
        works a
          step 1 of 1 of `production.shop`: `2` takes requests on 1 of 1 host
          step 1 of 1 of `production.shop` is done: `2` is watched on 1 of 1 host
          `production.shop` runs `2` on 1 target
        works a
        works a
        wait 10s
        routes
          a: 2 serves, b: 1 serves
        orders
          a/web 0.180003: run 2, keep 2 1
          b/web 0.60001: run 1, keep 1
        back b
        routes
          a: 2 serves, b: 1 drains
        orders
          a/web 0.180003: run 2, keep 2 1
          b/web 0.60001: run 1, for 20 s more, keep 1
        wait 20s
        orders
          a/web 0.180003: run 2, keep 2 1
          b/web 0.180005: run 2, keep 2 1
        works b
        works b
        routes
          a: 2 serves, b: 2 serves
        ",
    );
}

#[test]
fn services_on_a_host_that_matches_no_longer_are_stopped_once_their_requests_are_over() {
    check_from(
        &["services", A_AND_B_RUN_ONE],
        "
        relabelled b
        routes
          a: 1 serves, b: 1 drains
        orders
          a/web 0.60001: run 1, keep 1
          b/web 0.60001: run 1, for 20 s more, keep 1
        wait 20s
        orders
          a/web 0.200000: run 1, keep 1
          b/web 0.200000: run nothing at all, keep 1
        works b
        up
          a: 1, b: 
        orders
          a/web 0.200000: run 1, keep 1
        back b
        orders
          a/web 0.200001: run 1, keep 1
          b/web 0.200001: run 1, keep 1
        works b
        works b
        routes
          a: 1 serves, b: 1 serves
        ",
    );
}

#[test]
fn services_on_a_host_that_matches_again_in_time_go_on() {
    check_from(
        &["services", A_AND_B_RUN_ONE],
        "
        relabelled b
        wait 10s
        back b
        routes
          a: 1 serves, b: 1 serves
        orders
          a/web 0.60001: run 1, keep 1
          b/web 0.60001: run 1, keep 1
        wait 20s
        works b
        up
          a: 1, b: 1
        routes
          a: 1 serves, b: 1 serves
        ",
    );
}

#[test]
fn services_on_hosts_that_a_deployment_leaves_out_are_stopped_once_their_requests_are_over() {
    check_from(
        &["services", A_AND_B_RUN_ONE],
        "
        says hosts host=a
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        works a
          step 1 of 1 of `production.shop`: `2` starts on 1 of 1 host
        works a
          step 1 of 1 of `production.shop`: `2` takes requests on 1 of 1 host
        works a
          step 1 of 1 of `production.shop` is done: `2` is watched on 1 of 1 host
          `production.shop` runs `2` on 1 target
        works a
        routes
          a: 2 serves, b: 1 drains
        orders
          a/web 0.180004: run 2, keep 2 1
          b/web 0.120001: run 1, for 20 s more, keep 1
        wait 20s
        orders
          a/web 0.200000: run 2, keep 2 1
          b/web 0.200000: run nothing at all, keep 1
        works b
        up
          a: 2, b: 
        orders
          a/web 0.200000: run 2, keep 2 1
        ",
    );
}

#[test]
fn a_restored_store_starts_a_new_epoch() {
    check(
        "
        hosts a b
        runs 1
        restored
        orders
          a/web 1.0: run 1, keep 1
          b/web 1.0: run 1, keep 1
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 1.0
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a b
          `production.shop` switches to `2` on 2 hosts
        activates a b
          `production.shop` runs `2` on 2 targets
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 1.1
        ",
    );
}

#[test]
fn what_a_host_makes_up_stops_no_deployment() {
    check(
        "
        hosts a b
        runs 1
        forges stranger 0.9
        forges a 18446744073709551615.18446744073709551615
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        forges stranger 0.99
        prepares a b
          `production.shop` switches to `2` on 2 hosts
        activates a b
          `production.shop` runs `2` on 2 targets
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, then 2 at 0.2, keep 2 1
        ",
    );
}

#[test]
fn a_rollout_under_way_in_a_restored_store_ends() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a
        restored
          `production.shop` was not moved to `2`: the store was restored from a backup meanwhile; `1` stays live
        orders
          a/web 1.0: run 1, keep 1
          b/web 1.0: run 1, keep 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a b
          `production.shop` switches to `2` on 2 hosts
        activates a
        restored
          `production.shop` turns back from `2`: the store was restored from a backup meanwhile
        orders
          a/web 2.0: run 1, keep 1
          b/web 2.0: run 1, keep 1
        activates a b
          `production.shop` went back to `1`: the store was restored from a backup meanwhile
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 2.0
        ",
    );
}

#[test]
fn a_host_that_was_away_comes_back_to_what_runs_now() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares b
        gone b
        wait 10m
          `production.shop` was not moved to `2`: a and b (gone) had not prepared after 10 min; `1` stays live
        orders
          a/web 0.600000: run 1, keep 1
          b/web 0.600000: run 1, keep 1
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `3` on 1 host
        activates a
          `production.shop` runs `3` on 1 target
        back b
        orders
          a/web 0.600001: run 1, then 3 at 0.600001, keep 3 1
          b/web 0.600001: run 3, keep 3 1
        ",
    );
}
