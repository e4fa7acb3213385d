//! Stories: what people, hosts and time do, line by line, and what the core says to it, indented below.
//!
//! A story is its own expectation. To write one, give the lines without answers, run it, and read what it says.

#![allow(clippy::unwrap_used)] // The stage of a test: what cannot be parsed is a mistake in the story.

mod stage;

use stage::play;

/// Plays a story and expects the answers that stand in it.
fn check(story: &str) {
    let expected: Vec<&str> = story.lines().filter(|line| !line.trim().is_empty()).collect();
    let indent = expected.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expected: Vec<&str> = expected.into_iter().map(|line| &line[indent..]).collect();
    let told = play(expected.iter().copied().filter(|line| !line.starts_with(' ')));
    let expected = expected.join("\n");
    assert!(told == expected, "the story went like this:\n{told}\n\nand not like this:\n{expected}");
}

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
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
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
          `production.shop` was not moved to `3`: ann rolls it back to `1` instead
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
          because: it is the first deployment, so there is nothing to go back to
          next: stop it with `footplate abort shop`, or wait for its end and deploy a better version
        abort
          `production.shop` was not moved to `1` everywhere: ann aborted it; there is nothing to go back to, so `1` stays where it was activated
        current
          runs nothing, past [], verified nothing, rollback goes to nothing, generation 0.1
        ",
    );
}

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
          next: wait for its end, or stop it with `footplate abort shop`
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
fn a_cordoned_host_is_excused() {
    check(
        "
        hosts a b
        runs 1
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        prepares a
        cordon b
          `production.shop` switches to `2` on 1 host
        activates a
          `production.shop` runs `2` on 1 target
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, then 2 at 0.2, keep 2 1
        hosts c
        cordon c
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, then 2 at 0.2, keep 2 1
          c/web 0.2: run 2, keep 2 1
        uncordon c
        orders
          a/web 0.2: run 1, then 2 at 0.2, keep 2 1
          b/web 0.2: run 1, then 2 at 0.2, keep 2 1
          c/web 0.2: run 2, keep 2 1
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
          a/web 0.3: run 1, keep 1
          b/web 0.3: run 1, keep 1
        deploy 3
          ann prepares `3` of `production.shop` on 1 host
        prepares a
          `production.shop` switches to `3` on 1 host
        activates a
          `production.shop` runs `3` on 1 target
        back b
        orders
          a/web 0.4: run 1, then 3 at 0.4, keep 3 1
          b/web 0.4: run 3, keep 3 1
        ",
    );
}
