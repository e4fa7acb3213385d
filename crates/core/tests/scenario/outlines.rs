//! What a rollout in steps says of itself: each step with its undo before it is done, and where it is.

use crate::check;

#[test]
fn every_step_says_what_it_does_and_how_it_is_undone() {
    check(
        "
        services
        hosts a b c
        runs 1
        strategy canary 5% 50% then 2
        pace hold accept soak=15m
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        steps
          after `footplate promote shop`, start `2` beside `1` on 1 of 3 hosts, give it 5% of the requests, the acceptance hook must pass, watch it for 10 s
          undo: `1` is still up and gets its requests back, `2` drains and stops
          after `footplate promote shop`, start `2` beside `1` on 1 more (2 of 3 hosts), give it 50% of the requests, the acceptance hook must pass, watch it for 10 s
          undo: `1` is still up and gets its requests back, `2` drains and stops
          after `footplate promote shop`, start `2` on 1 more (3 of 3 hosts), move their requests to it, stop `1` there, the acceptance hook must pass, watch it for 15 min
          undo: `1` starts again on 3 hosts and takes the requests, `2` drains and stops
        ",
    );
}

#[test]
fn a_batch_takes_the_place_of_the_old_release_and_that_is_undone_otherwise() {
    check(
        "
        services
        strategy rolling 2
        hosts a b c
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 3 hosts
        steps
          start `2` on 2 of 3 hosts, move their requests to it, stop `1` there, watch it for 10 s
          undo: `1` starts again on 2 hosts and takes the requests, `2` drains and stops
          start `2` on 1 more (3 of 3 hosts), move their requests to it, stop `1` there
          undo: `1` starts again on 3 hosts and takes the requests, `2` drains and stops
        ",
    );
}

#[test]
fn what_may_not_run_twice_is_stopped_first() {
    check(
        "
        services
        strategy rolling 1
        pace alone
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        steps
          let the requests to `1` finish on 1 of 2 hosts, stop it, start `2`, watch it for 10 s
          undo: the requests to `2` finish on 1 host, it stops, `1` starts again
          let the requests to `1` finish on 1 more (2 of 2 hosts), stop it, start `2`
          undo: the requests to `2` finish on 2 hosts, it stops, `1` starts again
        ",
    );
}

#[test]
fn blue_green_keeps_the_old_release_up_for_the_soak() {
    check(
        "
        services
        hosts a b
        runs 1
        strategy blue_green
        pace soak=15m
        router r
        follows r
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        steps
          start `2` beside `1` on all 2 hosts, give it all requests, watch it for 15 min
          undo: `1` is still up and gets its requests back, `2` drains and stops
          stop `1` on all 2 hosts, watch it for 15 min
          undo: `1` starts again on 2 hosts and takes the requests, `2` drains and stops
        where
          in no step
        works a b
          step 1 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        follows r
        where
          step 1 of 2, starting: 100% of the requests to `2`, on 2 of 2 hosts
        works a b
          step 1 of 2 of `production.shop`: `2` gets 100% of the traffic, on 2 of 2 hosts
        follows r
          step 1 of 2 of `production.shop` is done: `2` is watched on 2 of 2 hosts
        where
          step 1 of 2, watching: 100% of the requests to `2`, on 2 of 2 hosts
        abort
          `production.shop` turns back from `2`: ann aborted it
        where
          on the way back to `1`: `1` comes up where it is gone
        ",
    );
}

#[test]
fn what_takes_no_requests_is_not_said_to() {
    check(
        "
        services
        strategy rolling 1
        says groups web tidy
        hosts a b
        runs 1
        deploy 2 only tidy
          ann prepares `2` of process group `tidy` of `production.shop` on 2 hosts
        steps
          start `2` on 1 of 2 hosts, stop `1` there, watch it for 10 s
          undo: `1` starts again on 1 host, `2` stops
          start `2` on 1 more (2 of 2 hosts), stop `1` there
          undo: `1` starts again on 2 hosts, `2` stops
        works a b
          step 1 of 2 of process group `tidy` of `production.shop`: `2` starts on 1 of 2 hosts
        works a
          step 1 of 2 of process group `tidy` of `production.shop`: `2` runs on 1 of 2 hosts
        ",
    );
}

#[test]
fn releases_that_are_left_together_are_spoken_of_as_several() {
    check(
        "
        services
        strategy rolling 1
        says groups web tidy
        hosts a
        runs 1
        deploy 2 only tidy
          ann prepares `2` of process group `tidy` of `production.shop` on 1 host
        works a
          step 1 of 1 of process group `tidy` of `production.shop`: `2` starts on 1 of 1 host
        works a
          step 1 of 1 of process group `tidy` of `production.shop`: `2` runs on 1 of 1 host
        works a
          step 1 of 1 of process group `tidy` of `production.shop` is done: `2` is watched on 1 of 1 host
          process group `tidy` of `production.shop` runs `2` on 1 target
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        steps
          start `3` on 1 of 1 host, move their requests to it, stop `1` and `2` there
          undo: `1` and `2` start again on 1 host and take the requests, `3` drains and stops
        abort
          `production.shop` was not moved to `3`: ann aborted it; `1` and `2` stay live
        ",
    );
}
