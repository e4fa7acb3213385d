//! Stories of going back.

use crate::check;

#[test]
fn a_rollback_switches_at_once() {
    check(
        "
        hosts a b c
        runs 1
        runs 2
        rollback because the shop is slow
          ann rolls `production.shop` back to `1` on 3 hosts
          `production.shop` switches to `1` on 3 hosts
        orders
          a/web 0.3: run 2, then 1 at 0.3, keep 1 2
          b/web 0.3: run 2, then 1 at 0.3, keep 1 2
          c/web 0.3: run 2, then 1 at 0.3, keep 1 2
        activates a b c
          `production.shop` runs `1` on 3 targets
        live
          a: 1, b: 1, c: 1
        current
          runs 1, past [2], verified 1, rollback goes to nothing, generation 0.3
        rollback
          error: cannot roll back `production.shop`
          because: no earlier release is kept that was not rolled back itself
          next: name one: `footplate rollback shop --to RELEASE`, or deploy a better version
        ",
    );
}

#[test]
fn a_rollback_proposes_what_was_not_rolled_back() {
    check(
        "
        hosts a
        keep 5
        runs 1
        runs 2
        runs 3
        rollback
          ann rolls `production.shop` back to `2` on 1 host
          `production.shop` switches to `2` on 1 host
        activates a
          `production.shop` runs `2` on 1 target
        current
          runs 2, past [3 1], verified 2, rollback goes to 1, generation 0.4
        rollback
          ann rolls `production.shop` back to `1` on 1 host
          `production.shop` switches to `1` on 1 host
        activates a
          `production.shop` runs `1` on 1 target
        current
          runs 1, past [2 3], verified 1, rollback goes to nothing, generation 0.5
        rollback
          error: cannot roll back `production.shop`
          because: no earlier release is kept that was not rolled back itself
          next: name one: `footplate rollback shop --to RELEASE`, or deploy a better version
        ",
    );
}

#[test]
fn a_rollback_to_what_is_not_kept_prepares_first() {
    check(
        "
        hosts a b
        keep 1
        runs 1
        runs 2
        runs 3
        current
          runs 3, past [2 1], verified 3, rollback goes to 2, generation 0.3
        rollback 1
          ann rolls `production.shop` back to `1` on 2 hosts
          `production.shop` switches to `1` on 2 hosts
        waiting
          waiting for a and b (0 of 2 targets running `1`), for another 2 min
        prepares a b
        activates a b
          `production.shop` runs `1` on 2 targets
        current
          runs 1, past [3 2], verified 1, rollback goes to 2, generation 0.4
        ",
    );
}

#[test]
fn a_rollback_while_switching_turns_back() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a b
          `production.shop` switches to `2` on 2 hosts
        activates a
        rollback because errors rise
          `production.shop` turns back from `2`: ann rolled it back, because errors rise
        abort
          error: cannot abort `production.shop`
          because: it is turning back already
          next: wait for its end, then deploy or roll back
        pause
          error: cannot pause `production.shop`
          because: it is turning back already
          next: take it back with `footplate rollback`
        activates a b
          `production.shop` went back to `1`: ann rolled it back, because errors rise
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.3
        ",
    );
}

#[test]
fn a_rollback_before_the_switch_only_stops_it() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        rollback
          `production.shop` was not moved to `2`: ann aborted it; `1` stays live
        orders
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.3
        ",
    );
}

#[test]
fn a_rollback_to_another_release_replaces_the_rollout() {
    check(
        "
        hosts a b
        keep 5
        runs 1
        runs 2
        deploy 3
          ann prepares `3` of `production.shop` on 2 hosts
        prepares a b
          `production.shop` switches to `3` on 2 hosts
        activates a
        rollback 1
          `production.shop` was not moved to `3`: ann ordered `1` instead
          ann rolls `production.shop` back to `1` on 2 hosts
          `production.shop` switches to `1` on 2 hosts
        orders
          a/web 0.5: run 2, then 1 at 0.5, keep 1 2
          b/web 0.5: run 2, then 1 at 0.5, keep 1 2
        activates a b
          `production.shop` runs `1` on 2 targets
        live
          a: 1, b: 1
        current
          runs 1, past [2], verified 1, rollback goes to nothing, generation 0.5
        ",
    );
}

#[test]
fn a_rollback_of_the_first_deployment_is_refused() {
    check(
        "
        hosts a
        rollback
          error: cannot roll back `production.shop`
          because: no earlier release is kept that was not rolled back itself
          next: name one: `footplate rollback shop --to RELEASE`, or deploy a better version
        deploy 1
          ann prepares `1` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `1` on 1 host
        rollback
          error: cannot roll back `production.shop`
          because: nothing ran before it, so there is nothing to go back to
          next: stop it with `footplate abort shop`, or wait for its end and deploy a better version
        abort
          `production.shop` was not moved to `1` everywhere: ann aborted it; there is nothing to go back to, so `1` stays where it was activated
        current
          runs nothing, past [], verified nothing, rollback goes to nothing, generation 0.1
        ",
    );
}
