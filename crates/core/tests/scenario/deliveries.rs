//! Stories of deployments that change how the app is delivered: to which hosts, and by which rules.

use crate::check;

#[test]
fn a_failed_deployment_leaves_the_delivery_as_it_was() {
    check(
        "
        hosts a b
        labels d role=db
        runs 1
        says hosts role=db
        says keep 9
        says policy hold
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        delivery
          web on hosts role=web, keeps 3
        fails d prepare 2: the prepare hook ended with 3
          `production.shop` was not moved to `2`: d/web could not prepare `2`: the prepare hook ended with 3; `1` stays live
        delivery
          web on hosts role=web, keeps 3
        orders
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
        hosts c
        orders
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
          c/web 0.3: run 1, keep 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        prepares d
          `2` of `production.shop` is prepared on 1 host and waits for `footplate promote shop`
        promote
          ann promotes `2` of `production.shop` on 1 host
          `production.shop` switches to `2` on 1 host
        activates d
          `production.shop` runs `2` on 1 target
        delivery
          web on hosts role=db, keeps 9, holds
        orders
          d/web 0.4: run 1, then 2 at 0.4, keep 2 1
        ",
    );
}

#[test]
fn hosts_that_join_follow_the_new_delivery_from_the_switch_and_the_old_one_after_a_turn() {
    check(
        "
        hosts a
        labels d role=db
        runs 1
        says hosts role=db
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        prepares d
          `production.shop` switches to `2` on 1 host
        labels e role=db
        orders
          a/web 0.1: run 1, keep 1
          d/web 0.2: run 1, then 2 at 0.2, keep 2 1
          e/web 0.2: run 2, keep 2 1
        prepares e
        activates e
        live
          a: 1, d: nothing, e: 2
        fails d activate 2: the hook activated ended with 1
          `production.shop` turns back from `2`: d/web could not activate `2`: the hook activated ended with 1
        orders
          a/web 0.3: run 1, keep 1
          d/web 0.3: run 1, keep 1
          e/web 0.3: run 1, keep 1
        activates d e
          `production.shop` went back to `1`: d/web could not activate `2`: the hook activated ended with 1
        live
          a: 1, d: 1, e: 1
        hosts b
        orders
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
          d/web 0.3: run 1, keep 1
          e/web 0.3: run 1, keep 1
        delivery
          web on hosts role=web, keeps 3
        ",
    );
}

#[test]
fn a_rollback_elsewhere_takes_along_what_the_new_delivery_has_reached() {
    check(
        "
        hosts a
        labels d role=db
        runs 1
        runs 2
        says hosts role=db
        labels f role=db
        deploy 3
          ann prepares `3` of `production.shop` on 2 hosts
        prepares d f
          `production.shop` switches to `3` on 2 hosts
        activates d
        rollback 1
          `production.shop` was not moved to `3`: ann ordered `1` instead
          ann rolls `production.shop` back to `1` on 3 hosts
          `production.shop` switches to `1` on 3 hosts
        prepares a d f
        activates a d f
          `production.shop` runs `1` on 3 targets
        live
          a: 1, d: 1, f: 1
        orders
          a/web 0.5: run 2, then 1 at 0.5, keep 1 2
        delivery
          web on hosts role=web, keeps 3
        ",
    );
}
