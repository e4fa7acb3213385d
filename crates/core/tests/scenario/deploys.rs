//! Stories of deployments, and of what fails in them.

use crate::check;

#[test]
fn all_prepare_then_all_switch() {
    check(
        "
        hosts a b c
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        waiting
          waiting for a, b and c (0 of 3 targets prepared), for another 10 min
        prepares a b
        waiting
          waiting for c (2 of 3 targets prepared), for another 10 min
        live
          a: 1, b: 1, c: 1
        prepares c
          `production.shop` switches to `2` on 3 hosts
        live
          a: 1, b: 1, c: 1
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, then 2 at 0.2, keep 2 1
          c/web 0.2: run 1, then 2 at 0.2, keep 2 1
        activates a
        progress
          3 targets: 2 prepared, 1 live
        activates b c
          `production.shop` runs `2` on 3 targets
        live
          a: 2, b: 2, c: 2
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.2
        ",
    );
}

#[test]
fn a_first_deployment_goes_from_nothing() {
    check(
        "
        hosts a b
        deploy 1
          ann prepares `1` of `production.shop` on 2 hosts
        orders
          a/web 0.1: run nothing, then 1 at 0.1, keep 1
          b/web 0.1: run nothing, then 1 at 0.1, keep 1
        prepares a b
          `production.shop` switches to `1` on 2 hosts
        activates a b
          `production.shop` runs `1` on 2 targets
        live
          a: 1, b: 1
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.1
        ",
    );
}

#[test]
fn a_failed_prepare_changes_nothing_and_says_why() {
    check(
        "
        hosts a b c
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        prepares a
        fails b prepare 2: the prepare hook ended with 3
          `production.shop` was not moved to `2`: b/web could not prepare `2`: the prepare hook ended with 3; `1` stays live
        orders
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
          c/web 0.3: run 1, keep 1
        live
          a: 1, b: 1, c: 1
        cleans a
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.3
        ",
    );
}

#[test]
fn a_deploy_that_is_tried_again_starts_anew() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        fails a prepare 2: disk full
          `production.shop` was not moved to `2`: a/web could not prepare `2`: disk full; `1` stays live
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        waiting
          waiting for a and b (0 of 2 targets prepared), for another 10 min
        prepares a b
          `production.shop` switches to `2` on 2 hosts
        activates a b
          `production.shop` runs `2` on 2 targets
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.4
        ",
    );
}

#[test]
fn a_missing_target_fails_the_rollout_at_its_deadline() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a
        gone b
        wait 9m
        waiting
          waiting for b (gone) (1 of 2 targets prepared), for another 1 min
        wait 1m
          `production.shop` was not moved to `2`: b (gone) had not prepared after 10 min; `1` stays live
        orders
          a/web 0.600000: run 1, keep 1
          b/web 0.600000: run 1, keep 1
        ",
    );
}

#[test]
fn a_vanished_host_is_left_behind_when_the_policy_says_so() {
    check(
        "
        hosts a b c
        runs 1
        policy go_on
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        prepares a b
        gone c
        wait 10m
          `production.shop` switches to `2` on 2 hosts
        activates a b
          `production.shop` runs `2` on 2 targets
        back c
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, then 2 at 0.2, keep 2 1
          c/web 0.2: run 1, then 2 at 0.2, keep 2 1
        prepares c
        activates c
        live
          a: 2, b: 2, c: 2
        ",
    );
}

#[test]
fn a_failed_activation_turns_all_back() {
    check(
        "
        hosts a b c
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        prepares a b c
          `production.shop` switches to `2` on 3 hosts
        activates a
        fails b activate 2: the hook ended with 1
          `production.shop` turns back from `2`: b/web could not activate `2`: the hook ended with 1
        orders
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
          c/web 0.3: run 1, keep 1
        waiting
          waiting for a, b and c (0 of 3 targets back on `1`), for another 2 min
        activates a b c
          `production.shop` went back to `1`: b/web could not activate `2`: the hook ended with 1
        live
          a: 1, b: 1, c: 1
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.3
        rollback
          error: cannot roll back `production.shop`
          because: no earlier release is kept that was not rolled back itself
          next: name one: `footplate rollback shop --to RELEASE`, or deploy a better version
        ",
    );
}

#[test]
fn a_failed_activation_is_kept_when_the_policy_says_so() {
    check(
        "
        hosts a b c
        runs 1
        policy keep
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        prepares a b c
          `production.shop` switches to `2` on 3 hosts
        activates a c
        fails b activate 2: the hook ended with 1
          `production.shop` runs `2` except on b/web (the hook ended with 1)
        current
          runs 2, past [1], verified 1, rollback goes to 1, generation 0.2
        ",
    );
}

#[test]
fn a_first_deployment_that_fails_has_nothing_to_go_back_to() {
    check(
        "
        hosts a b
        deploy 1
          ann prepares `1` of `production.shop` on 2 hosts
        prepares a b
          `production.shop` switches to `1` on 2 hosts
        activates a
        fails b activate 1: the hook ended with 1
          `production.shop` was not moved to `1` everywhere: b/web could not activate `1`: the hook ended with 1; there is nothing to go back to, so `1` stays where it was activated
        live
          a: 1, b: nothing
        current
          runs nothing, past [], verified nothing, rollback goes to nothing, generation 0.1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a b
          `production.shop` switches to `2` on 2 hosts
        activates a b
          `production.shop` runs `2` on 2 targets
        live
          a: 2, b: 2
        cleans a b
        current
          runs 2, past [], verified 2, rollback goes to nothing, generation 0.2
        ",
    );
}

#[test]
fn many_missing_hosts_are_counted() {
    check(
        "
        hosts a b c d e f g h
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 8 hosts
        gone b
        waiting
          waiting for a, b (gone), c, d, e and 3 more (0 of 8 targets prepared), for another 10 min
        prepares a
        waiting
          waiting for b (gone), c, d, e, f and 2 more (1 of 8 targets prepared), for another 10 min
        progress
          8 targets: 6 preparing, 1 prepared, 1 gone
        ",
    );
}
