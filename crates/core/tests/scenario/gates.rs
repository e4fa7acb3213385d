//! Stories of the gate: what halts it, who passes, and what waits there.

use crate::openings::{A_AND_B_RUN_ONE, ROLLING, THREE_WAITS_AT_A_LOCKED_GATE, TWO_STARTS_ON_A};
use crate::{check, check_from};

#[test]
fn what_was_switched_and_goes_back_halts_the_gate_and_only_a_fix_passes() {
    check(
        "
        gated
        hosts a
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `2` on 1 host
        fails a activate 2: exit 7
          `production.shop` turns back from `2`: a/web could not activate `2`: exit 7
        gate
          halted: rollout 2 to `2` was taken back: a/web could not activate `2`: exit 7
        activates a
          `production.shop` went back to `1`: a/web could not activate `2`: exit 7
        deploy 3
          error: cannot deploy `3` of `production.shop`
          because: its gate is closed: it is halted since 0 ms: rollout 2 to `2` was taken back: a/web could not activate `2`: exit 7
          next: see the evidence with `footplate logs shop` and open the gate with `footplate gate open shop`, or bring what mends it with `footplate deploy shop --fix`
        deploy 3 --fix
          ann prepares `3` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `3` on 1 host
        activates a
          `production.shop` runs `3` on 1 target
        gate
          halted: rollout 2 to `2` was taken back: a/web could not activate `2`: exit 7, fixed by rollout 3
        deploy 4
          error: cannot deploy `4` of `production.shop`
          because: its gate is closed: it is halted since 0 ms: rollout 2 to `2` was taken back: a/web could not activate `2`: exit 7, and the fix has arrived (rollout 3 to `3`)
          next: see the evidence with `footplate logs shop` and open the gate with `footplate gate open shop`
        open
        deploy 4
          ann prepares `4` of `production.shop` on 1 host
        ",
    );
}

#[test]
fn what_nobody_had_halts_nothing_unless_the_rule_says_so() {
    check(
        "
        hosts a
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        fails a prepare 2: exit 3
          `production.shop` was not moved to `2`: a/web could not prepare `2`: exit 3; `1` stays live
        gate
          the gate is not halted
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        abort
          `production.shop` was not moved to `3`: ann aborted it; `1` stays live
        gate
          the gate is not halted
        halts always
        deploy 4
          ann prepares `4` of `production.shop` on 1 host
        fails a prepare 4: exit 3
          `production.shop` was not moved to `4`: a/web could not prepare `4`: exit 3; `1` stays live
        gate
          halted: rollout 4 to `4` was taken back: a/web could not prepare `4`: exit 3
        ",
    );
}

#[test]
fn a_service_that_only_started_was_never_with_users() {
    check_from(
        &[A_AND_B_RUN_ONE, ROLLING, TWO_STARTS_ON_A],
        "
        fails a start 2: exit 1
          `production.shop` turns back from `2`: a/web could not start `2`: exit 1
        gate
          the gate is not halted
        ",
    );
}

#[test]
fn a_service_that_took_requests_halts_the_gate_when_it_is_taken_back() {
    check_from(
        &[A_AND_B_RUN_ONE, ROLLING, TWO_STARTS_ON_A],
        "
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        rollback because checkout is slow
          `production.shop` turns back from `2`: ann rolled it back, because checkout is slow
        gate
          halted: rollout 2 to `2` was taken back: ann rolled it back, because checkout is slow
        ",
    );
}

#[test]
fn a_rollback_of_what_had_arrived_halts_and_going_on_again_does_not() {
    check(
        "
        hosts a
        runs 1
        runs 2
        rollback
          ann rolls `production.shop` back to `1` on 1 host
          `production.shop` switches to `1` on 1 host
        gate
          halted: rollout 2 to `2` was taken back: ann rolled it back
        prepares a
        activates a
          `production.shop` runs `1` on 1 target
        open
        rollback 2
          ann rolls `production.shop` back to `2` on 1 host
          `production.shop` switches to `2` on 1 host
        gate
          the gate is not halted
        ",
    );
}

#[test]
fn another_deployment_in_its_place_halts_nothing() {
    check(
        "
        hosts a
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `2` on 1 host
        says policy replace
        deploy 3
          `production.shop` was not moved to `2`: ann ordered `3` instead
          ann prepares `3` of `production.shop` on 1 host
        gate
          the gate is not halted
        ",
    );
}

#[test]
fn what_waits_for_a_rollout_waits_on_at_a_locked_gate_and_begins_when_its_time_is_over() {
    check_from(
        &[THREE_WAITS_AT_A_LOCKED_GATE],
        "
        wait 10s
        wait 60s
          ann prepares `3` of `production.shop` on 1 host
        ",
    );
}

#[test]
fn what_waits_at_the_gate_gives_way_to_the_fix() {
    check_from(
        &[THREE_WAITS_AT_A_LOCKED_GATE],
        "
        rollback
          ann rolls `production.shop` back to `1` on 1 host
          `3` of `production.shop` waits no more: ann rolls back to `1`
          `production.shop` switches to `1` on 1 host
        gate
          halted: rollout 2 to `2` was taken back: ann rolled it back
        ",
    );
}
