//! What a judge's verdict makes of a canary.

use super::check_from;
use super::openings::{A_AND_B_RUN_ONE, BESIDE_R, CANARY};

/// A tenth of all requests goes to `2` on a, and somebody judges it.
const TWO_IS_JUDGED_ON_A: &str = "
    deploy 2
      ann prepares `2` of `production.shop` on 2 hosts
    works a b
      step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
    follows r
    works a
      step 1 of 2 of `production.shop`: `2` gets 10% of the traffic, on 1 of 2 hosts
    follows r
      step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
";

fn check(judged: &str, story: &str) {
    check_from(&[CANARY, judged, A_AND_B_RUN_ONE, BESIDE_R, TWO_IS_JUDGED_ON_A], story);
}

const OR_HOLD: &str = "policy judged=hold";

#[test]
fn what_is_proved_good_goes_on_at_once() {
    check(
        OR_HOLD,
        "
        judge unknown: nothing is proved
        judge good: it is not worse
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        where
          step 2 of 2, starting: `2` on 2 of 2 hosts
    ",
    );
}

#[test]
fn what_is_called_worse_goes_back_at_once_even_when_it_is_paused() {
    check(
        OR_HOLD,
        "
        judge doubtful: it may fail twice as often
        pause
        judge worse: it fails 3 to 9 times as often
          `production.shop` turns back from `2`: it fails 3 to 9 times as often
    ",
    );
}

#[test]
fn what_is_unknown_is_held_at_the_end_of_the_ramp_and_a_person_may_promote_it() {
    check(
        OR_HOLD,
        "
        judge unknown: 400 more requests are needed
        waiting
          waiting for nothing bad to happen to `2`, for another 10 s
        wait 10s
          step 1 of 2 of `production.shop`: `2` is not proved good yet; it waits for that, or for `footplate promote shop`
        waiting
          waiting for proof that `2` is not worse (400 more requests are needed), or somebody to run `footplate promote shop`, for another 2 h
        wait 1h
        promote
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        where
          step 2 of 2, starting: `2` on 2 of 2 hosts
    ",
    );
}

#[test]
fn what_nobody_judges_is_held_and_goes_back_when_nobody_promotes_it() {
    check(
        OR_HOLD,
        "
        wait 10s
          step 1 of 2 of `production.shop`: `2` is not proved good yet; it waits for that, or for `footplate promote shop`
        waiting
          waiting for proof that `2` is not worse, or somebody to run `footplate promote shop`, for another 2 h
        wait 2h
          `production.shop` turns back from `2`: `2` was not proved good after 2 h more: nobody judged it
    ",
    );
}

#[test]
fn what_is_unknown_goes_on_or_back_where_the_rules_say_so() {
    check(
        "policy judged=promote",
        "
        judge unknown: 400 more requests are needed
        wait 10s
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        where
          step 2 of 2, starting: `2` on 2 of 2 hosts
    ",
    );
    check(
        "policy judged=rollback",
        "
        judge unknown: 400 more requests are needed
        wait 10s
          `production.shop` turns back from `2`: `2` was not proved good: 400 more requests are needed
    ",
    );
}

#[test]
fn an_early_step_is_held_while_something_speaks_against_it_whatever_becomes_of_an_unknown_one() {
    check_from(
        &["
    services
    strategy canary 5% 10% then 2
    policy judged=rollback
", A_AND_B_RUN_ONE, BESIDE_R],
        "
    deploy 2
      ann prepares `2` of `production.shop` on 2 hosts
    works a b
      step 1 of 3 of `production.shop`: `2` starts on 1 of 2 hosts
    follows r
    works a
      step 1 of 3 of `production.shop`: `2` gets 5% of the traffic, on 1 of 2 hosts
    follows r
      step 1 of 3 of `production.shop` is done: `2` is watched on 1 of 2 hosts
    judge doubtful: nothing is heard of `errors`
    wait 10s
      step 1 of 3 of `production.shop`: something speaks against `2`; it waits for that to change, or for `footplate promote shop`
    judge unknown: 400 more requests are needed
      step 2 of 3 of `production.shop`: `2` gets 10% of the traffic, on 1 of 2 hosts
    follows r
      step 2 of 3 of `production.shop` is done: `2` is watched on 1 of 2 hosts
    wait 10s
      `production.shop` turns back from `2`: `2` was not proved good: 400 more requests are needed
",
    );
}
