//! Stories of deployments of some process groups: what they change, and what they leave alone.

use crate::openings::{A_AND_B_RUN_ONE, BESIDE_R, CANARY, ROLLING, WEB_AND_WORKER_RUN_ONE, WORKER_RUNS_TWO};
use crate::{check, check_from};

#[test]
fn a_deployment_of_one_process_group_leaves_the_others_alone() {
    check(
        "
        says groups web worker
        hosts a b
        runs 1
        deploy 2 only worker
          ann prepares `2` of process group `worker` of `production.shop` on 2 hosts
        orders
          a/web 0.1: run 1, keep 1
          a/worker 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.1: run 1, keep 1
          b/worker 0.2: run 1, then 2 at 0.2, keep 2 1
        prepares a b
          process group `worker` of `production.shop` switches to `2` on 2 hosts
        activates a b
          process group `worker` of `production.shop` runs `2` on 2 targets
        orders
          a/web 0.2: run 1, keep 1
          a/worker 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, keep 1
          b/worker 0.2: run 1, then 2 at 0.2, keep 2 1
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.2, worker runs 2, past [1]
        hosts c
        orders
          a/web 0.2: run 1, keep 1
          a/worker 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, keep 1
          b/worker 0.2: run 1, then 2 at 0.2, keep 2 1
          c/web 0.2: run 1, keep 1
          c/worker 0.2: run 2, keep 2 1
        rollback only worker
          ann rolls process group `worker` of `production.shop` back to `1` on 3 hosts
        prepares a b c
          process group `worker` of `production.shop` switches to `1` on 3 hosts
        activates a b c
          process group `worker` of `production.shop` runs `1` on 3 targets
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.3, worker runs 1, past [2]
        ",
    );
}

#[test]
fn a_whole_deployment_moves_those_that_are_behind_and_each_goes_back_to_its_own() {
    check_from(
        &[WEB_AND_WORKER_RUN_ONE, WORKER_RUNS_TWO],
        "
        deploy 2 only worker
          error: cannot move process group `worker` of `production.shop` to `2`
          because: it runs that release already
          next: see it with `footplate status shop`
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `3` on 1 host
        fails a activate 3: it broke
          `production.shop` turns back from `3`: a/web could not activate `3`: it broke
        orders
          a/web 0.4: run 1, keep 1
          a/worker 0.4: run 2, keep 2 1
        activates a
          `production.shop` went back to `1` and `2`: a/web could not activate `3`: it broke
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.4, worker runs 2, past [1]
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `2` on 1 host
        activates a
          `production.shop` runs `2` on 1 target
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.5
        deploy 2
          error: cannot move `production.shop` to `2`
          because: it runs that release already
          next: see it with `footplate status shop`
        ",
    );
}

#[test]
fn a_rollback_without_a_release_takes_back_only_what_went_the_same_way() {
    check_from(
        &[WEB_AND_WORKER_RUN_ONE, WORKER_RUNS_TWO],
        "
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `3` on 1 host
        activates a
          `production.shop` runs `3` on 2 targets
        current
          runs 3, past [1], verified 3, rollback goes to 1, generation 0.3, worker runs 3, past [2 1]
        rollback
          error: cannot roll back `production.shop`
          because: `web` would go back to `1`, and `worker` would go back to `2`
          next: roll back one with `footplate rollback shop --group GROUP`, or name a release for all with `--to RELEASE`
        rollback only web
          ann rolls process group `web` of `production.shop` back to `1` on 1 host
          process group `web` of `production.shop` switches to `1` on 1 host
        prepares a
        activates a
          process group `web` of `production.shop` runs `1` on 1 target
        current
          runs 1, past [3], verified 1, rollback goes to nothing, generation 0.4, worker runs 3, past [2 1]
        clean
          1 stays: it is what runs
          3 stays: it is what ran before
          2 stays: it is what ran before
        rollback 2
          ann rolls `production.shop` back to `2` on 1 host
        prepares a
          `production.shop` switches to `2` on 1 host
        activates a
          `production.shop` runs `2` on 2 targets
        current
          runs 2, past [1 3], verified 2, rollback goes to nothing, generation 0.5, worker runs 2, past [3 1]
        ",
    );
}

#[test]
fn process_groups_that_are_not_there_are_refused() {
    check_from(
        &[WEB_AND_WORKER_RUN_ONE],
        "
        deploy 2 only poller
          error: cannot deploy `2` to process group `poller` of `production.shop`
          because: the release has no process group `poller` there; it has process groups `web` and `worker`
          next: name process groups that it has
        says groups web worker poller
        deploy 2 only poller worker
          error: cannot deploy `2` to process groups `poller` and `worker` of `production.shop`
          because: process group `poller` is new to the app, and only a whole deployment brings it
          next: deploy it whole: `footplate deploy shop@2`
        rollback only poller
          error: cannot roll back process group `poller` of `production.shop`
          because: the app has no process group `poller`; it has process groups `web` and `worker`
          next: name process groups that it has
        deploy 2 only worker
          ann prepares `2` of process group `worker` of `production.shop` on 1 host
        rollback only web
          error: cannot roll back process group `web` of `production.shop`
          because: rollout 2 of process group `worker` is preparing
          next: wait for its end, or take that back first with `footplate rollback shop`
        rollback only worker
          process group `worker` of `production.shop` was not moved to `2`: ann aborted it; `1` stays live
        ",
    );
}

#[test]
fn the_first_deployment_brings_all_of_an_app() {
    check(
        "
        says groups web worker
        hosts a
        deploy 1 only worker
          error: cannot deploy `1` to process group `worker` of `production.shop`
          because: the app does not run yet, and its first deployment brings all of it
          next: deploy it whole: `footplate deploy shop@1`
        deploy 1
          ann prepares `1` of `production.shop` on 1 host
        ",
    );
}

#[test]
fn a_deployment_of_one_process_group_waits_for_that_of_another() {
    check_from(
        &[WEB_AND_WORKER_RUN_ONE],
        "
        says policy wait
        deploy 2 only worker
          ann prepares `2` of process group `worker` of `production.shop` on 1 host
        deploy 2 only worker
          error: cannot deploy `2` of `production.shop`
          because: rollout 2 is moving it there
          next: see it with `footplate status shop`
        deploy 2 only web
          `2` of process group `web` of `production.shop` waits for rollout 2 to `2`, and begins when that arrives
        prepares a
          process group `worker` of `production.shop` switches to `2` on 1 host
        activates a
          process group `worker` of `production.shop` runs `2` on 1 target
        prepares a
          ann prepares `2` of `production.shop` on 1 host
        activates a
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.3, worker runs 2, past [1]
        says policy replace
        deploy 3 only worker
          `production.shop` was not moved to `2`: ann ordered `3` instead
          ann prepares `3` of process group `worker` of `production.shop` on 1 host
        prepares a
          process group `worker` of `production.shop` switches to `3` on 1 host
        deploy 4 only web
          process group `worker` of `production.shop` turns back from `3`: ann replaces it with `4`
          `4` of process group `web` of `production.shop` begins when rollout 4 to `3` has gone back
        activates a
          process group `worker` of `production.shop` went back to `2`: ann replaces it with `4`
        prepares a
          ann prepares `4` of process group `web` of `production.shop` on 1 host
        activates a
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.7, worker runs 2, past [1]
        ",
    );
}

#[test]
fn what_one_process_group_runs_alone_is_protected_from_cleaning() {
    check_from(
        &["says keep 1", WEB_AND_WORKER_RUN_ONE, WORKER_RUNS_TWO],
        "
        deploy 3 only web
          ann prepares `3` of process group `web` of `production.shop` on 1 host
        prepares a
          process group `web` of `production.shop` switches to `3` on 1 host
        activates a
          process group `web` of `production.shop` runs `3` on 1 target
        remove 2
          error: cannot remove `2` from `production.shop`
          because: it is what runs
          next: deploy another version first
        clean
          3 stays: it is what runs
          1 stays: it is what ran before
          2 stays: it is what runs
        current
          runs 3, past [1], verified 3, rollback goes to 1, generation 0.3, worker runs 2, past [1]
        ",
    );
}

#[test]
fn a_rollout_of_one_process_group_calls_the_routers_and_leaves_the_routes_of_the_others() {
    check_from(
        &[ROLLING, "says groups web worker", A_AND_B_RUN_ONE, BESIDE_R],
        "
        deploy 2 only worker
          ann prepares `2` of process group `worker` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of process group `worker` of `production.shop`: `2` starts on 1 of 2 hosts
        waiting
          waiting for the router on r to follow the new shares, for another 30 s
        follows r
        works a b
          step 1 of 2 of process group `worker` of `production.shop`: `2` takes requests on 1 of 2 hosts
        routes
          a/web: 1 serves, a/worker: 1 drains 2 serves, b/web: 1 serves, b/worker: 1 serves
        follows r
        works a b
          step 1 of 2 of process group `worker` of `production.shop` is done: `2` is watched on 1 of 2 hosts
        routes
          a/web: 1 serves, a/worker: 2 serves, b/web: 1 serves, b/worker: 1 serves
        gone r
        wait 10s
          step 2 of 2 of process group `worker` of `production.shop`: `2` starts on 2 of 2 hosts
        works b
          step 2 of 2 of process group `worker` of `production.shop`: `2` takes requests on 2 of 2 hosts
        wait 5m
          process group `worker` of `production.shop` turns back from `2`: the router on r, whose agent is away, did not follow within 5 min
        routes
          a/web: 1 serves, a/worker: 2 serves, b/web: 1 serves, b/worker: 1 serves 2 drains
        orders
          a/web 0.120001: run 1, keep 1
          a/worker 0.490000: run 1 beside 2, keep 1 2
          b/web 0.120001: run 1, keep 1
          b/worker 0.490000: run 1 beside 2, keep 1 2
        ",
    );
}

#[test]
fn a_canary_of_one_process_group_is_no_canary_of_the_others() {
    check_from(
        &[CANARY, "says groups web worker", A_AND_B_RUN_ONE, BESIDE_R],
        "
        deploy 2 only worker
          ann prepares `2` of process group `worker` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of process group `worker` of `production.shop`: `2` starts on 1 of 2 hosts
        follows r
        works a
          step 1 of 2 of process group `worker` of `production.shop`: `2` gets 10% of the traffic, on 1 of 2 hosts
        routes
          a/web: 1 serves, a/worker: 1 serves 2 serves, b/web: 1 serves, b/worker: 1 serves; worker 2 gets 10%
        follows r
          step 1 of 2 of process group `worker` of `production.shop` is done: `2` is watched on 1 of 2 hosts
        rollback
          process group `worker` of `production.shop` turns back from `2`: ann rolled it back
        works a b
        routes
          a/web: 1 serves, a/worker: 1 serves 2 drains, b/web: 1 serves, b/worker: 1 serves
        follows r
        works a b
          process group `worker` of `production.shop` went back to `1`: ann rolled it back
        routes
          a/web: 1 serves, a/worker: 1 serves, b/web: 1 serves, b/worker: 1 serves
        ",
    );
}

#[test]
fn a_rollback_of_the_whole_app_during_a_rollout_of_a_part_takes_the_others_along() {
    check_from(
        &[WEB_AND_WORKER_RUN_ONE],
        "
        deploy 3 only web
          ann prepares `3` of process group `web` of `production.shop` on 1 host
        prepares a
          process group `web` of `production.shop` switches to `3` on 1 host
        activates a
          process group `web` of `production.shop` runs `3` on 1 target
        deploy 2 only worker
          ann prepares `2` of process group `worker` of `production.shop` on 1 host
        rollback 1
          process group `worker` of `production.shop` was not moved to `2`: ann ordered `1` instead
          ann rolls `production.shop` back to `1` on 1 host
          `production.shop` switches to `1` on 1 host
        prepares a
        activates a
          `production.shop` runs `1` on 1 target
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.5, web runs 1, past [3]
        ",
    );
}

#[test]
fn process_groups_that_one_after_the_other_came_to_a_release_are_the_whole_app_again() {
    check_from(
        &[WEB_AND_WORKER_RUN_ONE, WORKER_RUNS_TWO],
        "
        deploy 2 only web
          ann prepares `2` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `2` on 1 host
        activates a
          `production.shop` runs `2` on 1 target
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.3
        ",
    );
}

#[test]
fn the_same_deployment_is_known_also_where_some_process_groups_run_it_already() {
    check_from(
        &[WEB_AND_WORKER_RUN_ONE, WORKER_RUNS_TWO],
        "
        says policy wait
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        deploy 2
          error: cannot deploy `2` of `production.shop`
          because: rollout 3 is moving it there
          next: see it with `footplate status shop`
        deploy 2 only worker
          error: cannot deploy `2` of `production.shop`
          because: rollout 3 is moving it there
          next: see it with `footplate status shop`
        ",
    );
}

#[test]
fn the_record_of_what_one_process_group_runs_alone_is_written_again() {
    check_from(
        &[WEB_AND_WORKER_RUN_ONE, WORKER_RUNS_TWO],
        "
        by-hand releases
        releases
          1 2
        ",
    );
}
