//! Stories of people who hold, promote, pause, abort and clean up.

use crate::check;

#[test]
fn a_second_deploy_is_refused_while_one_is_under_way() {
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
        clean
          error: cannot clean up `production.shop`
          because: rollout 2 is preparing
          next: wait for its end
        remove 1
          error: cannot remove `1` from `production.shop`
          because: it is what runs
          next: deploy another version first
        remove 2
          error: cannot remove `2` from `production.shop`
          because: a rollout needs it
          next: wait for the rollout's end
        prepares a
          `production.shop` switches to `2` on 1 host
        activates a
          `production.shop` runs `2` on 1 target
        deploy 2
          error: cannot move `production.shop` to `2`
          because: it runs that release already
          next: see it with `footplate status shop`
        ",
    );
}

#[test]
fn a_hold_waits_for_promote() {
    check(
        "
        hosts a b
        runs 1
        policy hold
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        promote
          error: cannot promote `production.shop`
          because: it is still preparing and nothing is switched
          next: wait until it holds
        prepares a b
          `2` of `production.shop` is prepared on 2 hosts and waits for `footplate promote shop`
        waiting
          waiting for somebody to run `footplate promote shop`, for another 1 d
        pause
        promote
          error: cannot promote `production.shop`
          because: ann paused it
          next: resume it first with `footplate resume shop`
        waiting
          waiting for somebody to run `footplate resume shop` (ann paused it), for another 1 d
        resume
        promote
          ann promotes `2` of `production.shop` on 2 hosts
          `production.shop` switches to `2` on 2 hosts
        promote
          error: cannot promote `production.shop`
          because: its targets are switching already
          next: wait until it holds
        activates a b
          `production.shop` runs `2` on 2 targets
        ",
    );
}

#[test]
fn promote_waits_for_a_host_that_was_reimaged_during_the_hold() {
    check(
        "
        hosts a b
        runs 1
        policy hold
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a b
          `2` of `production.shop` is prepared on 2 hosts and waits for `footplate promote shop`
        reimaged b
        promote
          ann promotes `2` of `production.shop` on 2 hosts
        waiting
          waiting for b (1 of 2 targets prepared), for another 10 min
        prepares b
          `production.shop` switches to `2` on 2 hosts
        activates b
        prepares b
        activates a b
          `production.shop` runs `2` on 2 targets
        live
          a: 2, b: 2
        ",
    );
}

#[test]
fn nobody_promotes() {
    check(
        "
        hosts a
        runs 1
        policy hold
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        prepares a
          `2` of `production.shop` is prepared on 1 host and waits for `footplate promote shop`
        wait 24h
          `production.shop` was not moved to `2`: nobody promoted it within 1 d; `1` stays live
        ",
    );
}

#[test]
fn a_pause_moves_the_deadline() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a
        wait 9m
        pause
        prepares b
        wait 5h
        waiting
          waiting for somebody to run `footplate resume shop` (ann paused it), for another 19 h
        pause
          error: cannot pause `production.shop`
          because: ann paused it
          next: resume it first with `footplate resume shop`
        resume
          `production.shop` switches to `2` on 2 hosts
        activates a b
          `production.shop` runs `2` on 2 targets
        ",
    );
}

#[test]
fn a_pause_that_nobody_ends_fails_the_rollout() {
    check(
        "
        hosts a
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        pause
        prepares a
        wait 24h
          `production.shop` was not moved to `2`: ann paused it and nobody resumed it within 1 d; `1` stays live
        resume
          error: cannot resume `production.shop`
          because: it is not paused
          next: see it with `footplate status shop`
        ",
    );
}

#[test]
fn a_failed_prepare_ends_a_paused_rollout() {
    check(
        "
        hosts a
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 1 host
        pause
        fails a prepare 2: disk full
          `production.shop` was not moved to `2`: a/web could not prepare `2`: disk full; `1` stays live
        ",
    );
}

#[test]
fn an_abort_before_the_switch_switches_nothing() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a
        abort
          `production.shop` was not moved to `2`: ann aborted it; `1` stays live
        abort
          error: cannot abort `production.shop`
          because: rollout 2 is over: `production.shop` was not moved to `2`: ann aborted it; `1` stays live
          next: wait for its end, then deploy or roll back
        orders
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
        cleans a
        live
          a: 1, b: 1
        ",
    );
}

#[test]
fn clean_follows_the_rule_and_orders_anew() {
    check(
        "
        hosts a
        keep 4
        runs 1
        runs 2
        runs 3
        runs 4
        clean
          4 stays: it is what runs
          3 stays: it is what ran before
          2 stays: it is among the newest 4
          1 stays: it is among the newest 4
        keep 2
        clean
          4 stays: it is what runs
          3 stays: it is what ran before
          2 goes
          1 goes
        orders
          a/web 0.5: run 4, keep 4 3
        cleans a
        clean
          4 stays: it is what runs
          3 stays: it is what ran before
        remove 4
          error: cannot remove `4` from `production.shop`
          because: it is what runs
          next: deploy another version first
        remove 3
          error: cannot remove `3` from `production.shop`
          because: it is what ran before
          next: deploy another version first
        remove 9
          error: cannot remove `9` from `production.shop`
          because: its hosts do not keep it
          next: see what they keep with `footplate status shop`
        ",
    );
}
