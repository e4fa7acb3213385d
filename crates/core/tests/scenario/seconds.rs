//! Stories of a second deployment during a rollout: refused, waiting, or put in the other's place.

use crate::openings::{A_AND_B_RUN_ONE, ROLLING, THREE_WAITS_FOR_TWO, TWO_SERVES_ON_A, TWO_STARTS_ON_A};
use crate::{check, check_from};

#[test]
fn a_second_deployment_is_refused_unless_it_says_otherwise() {
    check(
        "
        hosts a
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        deploy 3
          error: cannot deploy `3` of `production.shop`
          because: rollout 2 to `2` is preparing
          next: wait for its end, stop it with `footplate abort shop`, or deploy with `--during wait` or `--during replace`
        says policy wait
        deploy 2
          error: cannot deploy `2` of `production.shop`
          because: rollout 2 is moving it there
          next: see it with `footplate status shop`
        forgo
          error: cannot take back what waits for `production.shop`
          because: no deployment waits
          next: see what runs with `footplate status shop`
        ",
    );
}

#[test]
fn only_the_newest_waits_and_it_begins_when_the_rollout_has_arrived() {
    check_from(
        &[THREE_WAITS_FOR_TWO],
        "
        deploy 4
          `4` of `production.shop` waits for rollout 2 to `2`, and begins when that arrives
          `3` of `production.shop` waits no more: ann's `4` waits in its place
        remove 4
          error: cannot remove `4` from `production.shop`
          because: a rollout needs it
          next: wait for the rollout's end
        prepares a
          `production.shop` switches to `2` on 1 host
        activates a
          `production.shop` runs `2` on 1 target
        wait 1s
          ann prepares `4` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `4` on 1 host
        activates a
          `production.shop` runs `4` on 1 target
        wait 1s
        current
          runs 4, past [2 1], verified 4, rollback goes to 2, generation 0.1000
        ",
    );
}

#[test]
fn what_waits_is_dropped_when_the_rollout_does_not_arrive() {
    check_from(
        &[THREE_WAITS_FOR_TWO],
        "
        fails a prepare 2: it broke
          `production.shop` was not moved to `2`: a/web could not prepare `2`: it broke; `1` stays live
        wait 1s
          `3` of `production.shop` waits no more: rollout 2 to `2` did not arrive; deploy it again if it is well
        wait 1s
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        ",
    );
}

#[test]
fn stopping_a_rollout_stops_what_waits_for_it() {
    check_from(
        &[THREE_WAITS_FOR_TWO],
        "
        forgo
          `3` of `production.shop` waits no more: ann took it back
        deploy 4
          `4` of `production.shop` waits for rollout 2 to `2`, and begins when that arrives
        abort
          `production.shop` was not moved to `2`: ann aborted it; `1` stays live
          `4` of `production.shop` waits no more: ann aborted it
        wait 1s
        live
          a: 1
        ",
    );
}

#[test]
fn a_rollback_leaves_nothing_waiting() {
    check(
        "
        hosts a
        keep 3
        runs 1
        runs 2
        policy wait
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        deploy 4
          `4` of `production.shop` waits for rollout 3 to `3`, and begins when that arrives
        rollback 1
          `production.shop` was not moved to `3`: ann ordered `1` instead
          ann rolls `production.shop` back to `1` on 1 host
          `4` of `production.shop` waits no more: ann rolls back to `1`
          `production.shop` switches to `1` on 1 host
        activates a
          `production.shop` runs `1` on 1 target
        wait 1s
        ",
    );
}

#[test]
fn what_has_reached_nobody_is_replaced_at_once() {
    check(
        "
        hosts a
        runs 1
        policy replace
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        deploy 3
          `production.shop` was not moved to `2`: ann ordered `3` instead
          ann prepares `3` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `3` on 1 host
        deploy 4
          `production.shop` was not moved to `3`: ann ordered `4` instead
          ann prepares `4` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `4` on 1 host
        activates a
          `production.shop` runs `4` on 1 target
        ",
    );
}

#[test]
fn a_rollout_in_steps_is_taken_back_before_another_takes_its_place() {
    check_from(
        &[ROLLING, A_AND_B_RUN_ONE, TWO_STARTS_ON_A, TWO_SERVES_ON_A],
        "
        policy replace
        deploy 3
          `production.shop` turns back from `2`: ann replaces it with `3`
          `3` of `production.shop` begins when rollout 2 to `2` has gone back
        works a b
        works a b
          `production.shop` went back to `1`: ann replaces it with `3`
        works a b
          ann prepares `3` of `production.shop` on 2 hosts
        wait 1s
        wait 1s
        up
          a: 1, b: 1
        ",
    );
}

#[test]
fn what_is_ordered_while_a_rollout_goes_back_begins_afterwards() {
    check_from(
        &[ROLLING, "policy wait", A_AND_B_RUN_ONE, TWO_STARTS_ON_A, TWO_SERVES_ON_A],
        "
        rollback
          `production.shop` turns back from `2`: ann rolled it back
        deploy 3
          `3` of `production.shop` begins when rollout 2 to `2` has gone back
        works a b
        works a b
          `production.shop` went back to `1`: ann rolled it back
        works a b
          ann prepares `3` of `production.shop` on 2 hosts
        wait 1s
        wait 1s
        ",
    );
}

#[test]
fn what_waits_for_a_rollout_whose_record_is_gone_waits_no_more() {
    check_from(
        &[THREE_WAITS_FOR_TWO],
        "
        by-hand rollout
          `3` of `production.shop` waits no more: the record of the rollout that it waited for is gone; deploy it again if it is well
        wait 1s
        live
          a: 1
        ",
    );
}
