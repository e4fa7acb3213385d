//! Stories of process groups that are new to an app: how they come, and how they are taken away again.

use crate::check_from;
use crate::openings::{A_AND_B_RUN_ONE, BESIDE_R, CANARY};

/// The process groups web and worker came to `2` together, and poller, which `2` brings as well, did not.
const POLLER_IS_LEFT_OUT: &str = "
    says groups web worker poller
    deploy 2 only web worker
      ann prepares `2` of process groups `web` and `worker` of `production.shop` on 2 hosts
    works a b
      step 1 of 1 of process groups `web` and `worker` of `production.shop`: `2` starts on 2 of 2 hosts
    follows r
    works a b
    follows r
    works a b
      step 1 of 1 of process groups `web` and `worker` of `production.shop`: `2` takes requests on 2 of 2 hosts
    follows r
    works a b
      step 1 of 1 of process groups `web` and `worker` of `production.shop` is done: `2` is watched on 2 of 2 hosts
    works a b
      process groups `web` and `worker` of `production.shop` run `2` on 4 targets
";

#[test]
fn a_process_group_that_is_new_comes_in_steps_also_where_all_others_run_the_release() {
    check_from(
        &["services", "pace accept", "says groups web worker", A_AND_B_RUN_ONE, BESIDE_R, POLLER_IS_LEFT_OUT],
        "
        entrances
          web: */, worker: */worker
        deploy 2
          ann prepares `2` of process group `poller` of `production.shop` on 2 hosts
        steps
          start `2` on all 2 hosts, the acceptance hook must pass
          undo: the requests to `2` finish on 2 hosts, it stops
        works a b
          step 1 of 1 of process group `poller` of `production.shop`: `2` starts on 2 of 2 hosts
        routes
          a/web: 2 serves, a/worker: 2 serves, b/web: 2 serves, b/worker: 2 serves
        follows r
        works a b
        routes
          a/poller: 2 standby, a/web: 2 serves, a/worker: 2 serves, b/poller: 2 standby, b/web: 2 serves, b/worker: 2 serves
        follows r
        works a b
          step 1 of 1 of process group `poller` of `production.shop`: `2` takes requests on 2 of 2 hosts
        follows r
          step 1 of 1 of process group `poller` of `production.shop` is done: `2` is watched on 2 of 2 hosts
        works a b
          process group `poller` of `production.shop` runs `2` on 2 targets
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.180012
        delivery
          poller web worker on hosts role=web, keeps 3
        orders
          a/poller 0.180010: run 2, keep 2 1
          a/web 0.180012: run 2, keep 2 1
          a/worker 0.180012: run 2, keep 2 1
          b/poller 0.180010: run 2, keep 2 1
          b/web 0.180012: run 2, keep 2 1
          b/worker 0.180012: run 2, keep 2 1
        ",
    );
}

#[test]
fn what_is_behind_and_what_is_new_come_in_one_rollout() {
    check_from(
        &[CANARY, "says groups web worker", A_AND_B_RUN_ONE],
        "
        says groups web worker poller
        deploy 2 only web worker
          ann prepares `2` of process groups `web` and `worker` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of process groups `web` and `worker` of `production.shop`: `2` starts on 1 of 2 hosts
        works a b
          step 1 of 2 of process groups `web` and `worker` of `production.shop`: `2` gets 10% of the traffic, on 1 of 2 hosts
          step 1 of 2 of process groups `web` and `worker` of `production.shop` is done: `2` is watched on 1 of 2 hosts
        wait 10s
          step 2 of 2 of process groups `web` and `worker` of `production.shop`: `2` starts on 2 of 2 hosts
        works a b
          step 2 of 2 of process groups `web` and `worker` of `production.shop`: `2` takes requests on 2 of 2 hosts
        works a b
          step 2 of 2 of process groups `web` and `worker` of `production.shop` is done: `2` is watched on 2 of 2 hosts
          process groups `web` and `worker` of `production.shop` run `2` on 4 targets
        works a b
        wait 10s
        rollback 1 only worker
          ann rolls process group `worker` of `production.shop` back to `1` on 2 hosts
        works a b
          step 1 of 1 of process group `worker` of `production.shop`: `1` starts on 2 of 2 hosts
        works a b
          step 1 of 1 of process group `worker` of `production.shop`: `1` takes requests on 2 of 2 hosts
        wait 10s
        works a b
          step 1 of 1 of process group `worker` of `production.shop` is done: `1` is watched on 2 of 2 hosts
          process group `worker` of `production.shop` runs `1` on 2 targets
        works a b
        works a b
        wait 10s
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.210000, worker runs 1, past [2]
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
        works a b
          step 1 of 2 of `production.shop`: `2` gets 10% of the traffic, on 1 of 2 hosts
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        routes
          a/poller: 2 serves, a/web: 2 serves, a/worker: 1 serves 2 serves, b/web: 2 serves, b/worker: 1 serves; poller worker 2 gets 10%
        fails a start 2: it died
          `production.shop` turns back from `2`: a/poller could not start `2`: it died
        works a b
        works a b
          `production.shop` went back to `1`: a/poller could not start `2`: it died
        up
          a: 2 1, b: 2 1
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.220006, worker runs 1, past [2]
        "
    );
}

#[test]
fn what_a_rollout_brings_besides_goes_through_its_steps_and_is_taken_away_again() {
    check_from(
        &[CANARY, "says groups web worker", A_AND_B_RUN_ONE, BESIDE_R],
        "
        says groups web worker poller
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
        orders
          a/poller 0.180000: run nothing, keep 2 1
          a/web 0.180000: run 1, keep 2 1
          a/worker 0.180000: run 1, keep 2 1
          b/poller 0.180000: run nothing, keep 2 1
          b/web 0.180000: run 1, keep 2 1
          b/worker 0.180000: run 1, keep 2 1
        follows r
        works a b
          step 1 of 2 of `production.shop`: `2` gets 10% of the traffic, on 1 of 2 hosts
        routes
          a/poller: 2 serves, a/web: 1 serves 2 serves, a/worker: 1 serves 2 serves, b/web: 1 serves, b/worker: 1 serves; poller web worker 2 gets 10%
        follows r
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        fails a start 2: it died
          `production.shop` turns back from `2`: a/poller could not start `2`: it died
        orders
          a/poller 0.180004: run nothing beside 2, keep 1 2
          a/web 0.180004: run 1 beside 2, keep 1 2
          a/worker 0.180004: run 1 beside 2, keep 1 2
          b/poller 0.180004: run nothing at all, keep 1
          b/web 0.180004: run 1, keep 1
          b/worker 0.180004: run 1, keep 1
        works a b
        follows r
        works a b
          `production.shop` went back to `1`: a/poller could not start `2`: it died
        up
          a: 1 1, b: 1 1, r: 
        orders
          a/poller 0.180006: run nothing at all, keep 1
          a/web 0.180006: run 1, keep 1
          a/worker 0.180006: run 1, keep 1
          b/poller 0.180004: run nothing at all, keep 1
          b/web 0.180004: run 1, keep 1
          b/worker 0.180004: run 1, keep 1
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.180006
        delivery
          web worker on hosts role=web, keeps 3
        says groups web worker
        deploy 3
          ann prepares `3` of `production.shop` on 2 hosts
        orders
          a/poller 0.180006: run nothing at all, keep 1
          a/web 0.180007: run 1, keep 3 1
          a/worker 0.180007: run 1, keep 3 1
          b/poller 0.180004: run nothing at all, keep 1
          b/web 0.180007: run 1, keep 3 1
          b/worker 0.180007: run 1, keep 3 1
        ",
    );
}

#[test]
fn what_is_new_alone_is_taken_away_again() {
    check_from(
        &["services", "pace accept", "says groups web worker", A_AND_B_RUN_ONE, BESIDE_R, POLLER_IS_LEFT_OUT],
        "
        deploy 2
          ann prepares `2` of process group `poller` of `production.shop` on 2 hosts
        works a b
          step 1 of 1 of process group `poller` of `production.shop`: `2` starts on 2 of 2 hosts
        follows r
        works a b
        fails a accept 2: it answers nothing
          process group `poller` of `production.shop` turns back from `2`: a/poller could not accept `2`: it answers nothing
        orders
          a/poller 0.180011: run nothing at all, keep 2 1
          a/web 0.180007: run 2, keep 2 1
          a/worker 0.180007: run 2, keep 2 1
          b/poller 0.180011: run nothing at all, keep 2 1
          b/web 0.180007: run 2, keep 2 1
          b/worker 0.180007: run 2, keep 2 1
        routes
          a/poller: 2 drains, a/web: 2 serves, a/worker: 2 serves, b/poller: 2 drains, b/web: 2 serves, b/worker: 2 serves
        works a b
        follows r
        works a b
          process group `poller` of `production.shop` was taken away again: a/poller could not accept `2`: it answers nothing
        up
          a: 2 2, b: 2 2, r: 
        entrances
          web: */, worker: */worker
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.180013
        delivery
          web worker on hosts role=web, keeps 3
        deploy 3
          ann prepares `3` of `production.shop` on 2 hosts
        orders
          a/poller 0.180014: run nothing, keep 3 2 1
          a/web 0.180014: run 2, keep 3 2 1
          a/worker 0.180014: run 2, keep 3 2 1
          b/poller 0.180014: run nothing, keep 3 2 1
          b/web 0.180014: run 2, keep 3 2 1
          b/worker 0.180014: run 2, keep 3 2 1
        ",
    );
}

#[test]
fn what_is_new_alone_comes_in_batches_and_a_person_takes_it_away_again() {
    check_from(
        &["services", "strategy rolling 1", "says groups web worker", A_AND_B_RUN_ONE],
        "
        says groups web worker poller
        deploy 2 only web worker
          ann prepares `2` of process groups `web` and `worker` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of process groups `web` and `worker` of `production.shop`: `2` starts on 1 of 2 hosts
        works a b
          step 1 of 2 of process groups `web` and `worker` of `production.shop`: `2` takes requests on 1 of 2 hosts
        works a b
          step 1 of 2 of process groups `web` and `worker` of `production.shop` is done: `2` is watched on 1 of 2 hosts
        wait 10s
          step 2 of 2 of process groups `web` and `worker` of `production.shop`: `2` starts on 2 of 2 hosts
        works a b
          step 2 of 2 of process groups `web` and `worker` of `production.shop`: `2` takes requests on 2 of 2 hosts
        works a b
          step 2 of 2 of process groups `web` and `worker` of `production.shop` is done: `2` is watched on 2 of 2 hosts
          process groups `web` and `worker` of `production.shop` run `2` on 4 targets
        works a b
        deploy 2
          ann prepares `2` of process group `poller` of `production.shop` on 2 hosts
        steps
          start `2` on 1 of 2 hosts, watch it for 10 s
          undo: the requests to `2` finish on 1 host, it stops
          start `2` on 1 more (2 of 2 hosts)
          undo: the requests to `2` finish on 2 hosts, it stops
        works a b
          step 1 of 2 of process group `poller` of `production.shop`: `2` starts on 1 of 2 hosts
        works a b
          step 1 of 2 of process group `poller` of `production.shop`: `2` takes requests on 1 of 2 hosts
          step 1 of 2 of process group `poller` of `production.shop` is done: `2` is watched on 1 of 2 hosts
        routes
          a/poller: 2 serves, a/web: 2 serves, a/worker: 2 serves, b/web: 2 serves, b/worker: 2 serves
        rollback 1 only poller
          error: cannot roll back process group `poller` of `production.shop` to `1`
          because: rollout 3 only brings what it moves, and nothing of it ran before
          next: take it away again with `footplate rollback shop`
        rollback only poller
          process group `poller` of `production.shop` turns back from `2`: ann rolled it back
        works a b
          process group `poller` of `production.shop` was taken away again: ann rolled it back
        works a b
        works a b
        routes
          a/web: 2 serves, a/worker: 2 serves, b/web: 2 serves, b/worker: 2 serves
        up
          a: 2 2, b: 2 2
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.190010
        ",
    );
}

#[test]
fn a_rollout_that_moves_some_and_brings_others_is_taken_back_by_the_names_of_all_of_them() {
    check_from(
        &["services", "says groups web worker", A_AND_B_RUN_ONE],
        "
        says groups web worker poller
        deploy 2 only web
          ann prepares `2` of process group `web` of `production.shop` on 2 hosts
        works a b
          step 1 of 1 of process group `web` of `production.shop`: `2` starts on 2 of 2 hosts
        works a b
          step 1 of 1 of process group `web` of `production.shop`: `2` takes requests on 2 of 2 hosts
        works a b
          step 1 of 1 of process group `web` of `production.shop` is done: `2` is watched on 2 of 2 hosts
          process group `web` of `production.shop` runs `2` on 2 targets
        works a b
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `2` starts on 2 of 2 hosts
        rollback only poller worker
          `production.shop` turns back from `2`: ann rolled it back
        works a b
          `production.shop` went back to `1`: ann rolled it back
        works a b
        works a b
        current
          runs 1, past [], verified 1, rollback goes to nothing, generation 0.180010, web runs 2, past [1]
        ",
    );
}

#[test]
fn the_whole_app_goes_back_to_before_a_process_group_was_there_and_on_again() {
    check_from(
        &["services", "says groups web worker", A_AND_B_RUN_ONE],
        "
        says groups web worker poller
        runs 2
        entrances
          poller: */poller, web: */, worker: */worker
        up
          a: 2 2 2, b: 2 2 2
        rollback
          ann rolls `production.shop` back to `1` on 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `1` starts on 2 of 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `1` takes requests on 2 of 2 hosts
        works a b
          step 1 of 1 of `production.shop` is done: `1` is watched on 2 of 2 hosts
          `production.shop` runs `1` on 6 targets
        orders
          a/poller 0.360005: run 1, keep 1 2
          a/web 0.360005: run 1, keep 1 2
          a/worker 0.360005: run 1, keep 1 2
          b/poller 0.360005: run 1, keep 1 2
          b/web 0.360005: run 1, keep 1 2
          b/worker 0.360005: run 1, keep 1 2
        up
          a: 1 1, b: 1 1
        wait 10s
        works a b
        current
          runs 1, past [2], verified 1, rollback goes to nothing, generation 0.360006
        entrances
          web: */, worker: */worker
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `2` starts on 2 of 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `2` takes requests on 2 of 2 hosts
        up
          a: 2 1 2 1 2, b: 2 1 2 1 2
        works a b
          step 1 of 1 of `production.shop` is done: `2` is watched on 2 of 2 hosts
          `production.shop` runs `2` on 6 targets
        wait 10s
        entrances
          poller: */poller, web: */, worker: */worker
        current
          runs 2, past [1], verified 2, rollback goes to 1, generation 0.370005
        ",
    );
}

#[test]
fn requests_are_those_of_a_new_process_group_once_it_is_let_in() {
    check_from(
        &[CANARY, "says groups web worker", A_AND_B_RUN_ONE, BESIDE_R],
        "
        says groups web worker poller
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        entrances
          poller: none, web: */, worker: */worker
        works a b
          step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
        follows r
        entrances
          poller: none, web: */, worker: */worker
        works a b
          step 1 of 2 of `production.shop`: `2` gets 10% of the traffic, on 1 of 2 hosts
        routes
          a/poller: 2 serves, a/web: 1 serves 2 serves, a/worker: 1 serves 2 serves, b/web: 1 serves, b/worker: 1 serves; poller web worker 2 gets 10%
        entrances
          poller: */poller, web: */, worker: */worker
        abort
          `production.shop` turns back from `2`: ann aborted it
        entrances
          poller: */poller, web: */, worker: */worker
        works a b
        routes
          a/poller: 2 drains, a/web: 1 serves 2 drains, a/worker: 1 serves 2 drains, b/web: 1 serves, b/worker: 1 serves
        entrances
          poller: none, web: */, worker: */worker
        ",
    );
}

#[test]
fn requests_are_those_of_a_first_release_once_it_is_let_in() {
    check_from(
        &["services", "pace accept"],
        "
        hosts a
        router r
        follows r
        deploy 1
          ann prepares `1` of `production.shop` on 1 host
        works a
          step 1 of 1 of `production.shop`: `1` starts on 1 of 1 host
        entrances
          web: none
        fails a accept 1: it answers nothing
          `production.shop` was not moved to `1` everywhere: a/web could not accept `1`: it answers nothing; there is nothing to go back to, so `1` stays where it was activated
        entrances
          web: none
        routes
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        works a
          step 1 of 1 of `production.shop`: `2` starts on 1 of 1 host
        follows r
        works a
        routes
          a: 2 standby
        entrances
          web: none
        works a
          step 1 of 1 of `production.shop`: `2` takes requests on 1 of 1 host
        routes
          a: 2 serves
        entrances
          web: */
        follows r
          step 1 of 1 of `production.shop` is done: `2` is watched on 1 of 1 host
        works a
          `production.shop` runs `2` on 1 target
        current
          runs 2, past [], verified 2, rollback goes to nothing, generation 0.9
        entrances
          web: */
        ",
    );
}

#[test]
fn a_process_group_does_not_go_back_alone_to_before_it_was_there() {
    check_from(
        &["services", "says groups web worker", A_AND_B_RUN_ONE],
        "
        says groups web worker poller
        runs 2
        rollback 1 only poller
          error: cannot roll back process group `poller` of `production.shop` to `1`
          because: that release has no process group `poller`
          next: name a release that has it with `--to`
        rollback 1 only poller worker
          error: cannot roll back process groups `poller` and `worker` of `production.shop` to `1`
          because: that release has no process group `poller`
          next: name a release that has it with `--to`
        ",
    );
}

#[test]
fn what_the_app_has_no_more_is_stopped_once_its_requests_are_over() {
    check_from(
        &["services", "says groups web worker", A_AND_B_RUN_ONE],
        "
        says groups web
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `2` starts on 2 of 2 hosts
        works a b
          step 1 of 1 of `production.shop`: `2` takes requests on 2 of 2 hosts
        works a b
          step 1 of 1 of `production.shop` is done: `2` is watched on 2 of 2 hosts
          `production.shop` runs `2` on 2 targets
        routes
          a: 2 serves, a: 1 drains, b: 2 serves, b: 1 drains
        entrances
          web: */
        orders
          a/web 0.180004: run 2, keep 2 1
          a/worker 0.120001: run 1, for 20 s more, keep 1
          b/web 0.180004: run 2, keep 2 1
          b/worker 0.120001: run 1, for 20 s more, keep 1
        wait 20s
        orders
          a/web 0.200000: run 2, keep 2 1
          a/worker 0.200000: run nothing at all, keep 1
          b/web 0.200000: run 2, keep 2 1
          b/worker 0.200000: run nothing at all, keep 1
        works a b
        up
          a: 2, b: 2
        orders
          a/web 0.200000: run 2, keep 2 1
          b/web 0.200000: run 2, keep 2 1
        ",
    );
}
