//! Stories of routers that follow late, or whose agents are away.

use crate::openings::{A_AND_B_RUN_ONE, BESIDE_R, ROLLING, TWO_SERVES_ON_A, TWO_STARTS_ON_A, WITHOUT_Q};
use crate::{check, check_from};

#[test]
fn a_router_that_does_not_follow_turns_it_back() {
    check_from(
        &[ROLLING, A_AND_B_RUN_ONE, BESIDE_R, TWO_STARTS_ON_A, "follows r", TWO_SERVES_ON_A],
        "
        wait 5m
          `production.shop` turns back from `2`: the router on r did not follow within 5 min
        works a b
        wait 5m
        waiting
          waiting for requests in flight on what is to stop, for another 20 s at most
        wait 20s
        works a b
          `production.shop` went back to `1`: the router on r did not follow within 5 min
        up
          a: 1, b: 1, r: 
        ",
    );
}

#[test]
fn a_router_whose_agent_went_away_meanwhile_is_waited_for_and_one_that_was_gone_before_is_not() {
    check_from(
        &[ROLLING, A_AND_B_RUN_ONE, WITHOUT_Q, BESIDE_R, TWO_STARTS_ON_A, "follows r", "wait 30s", TWO_SERVES_ON_A],
        "
        gone r
        waiting
          waiting for the router on r, whose agent is away, to follow the new shares, for another 5 min
        back r
        follows r
        waiting
          waiting for a (0 of 1 targets without the old release), for another 5 min
        works a
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        wait 10s
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        follows r
        works b
          step 2 of 2 of `production.shop`: `2` takes requests on 2 of 2 hosts
        gone r
        wait 5m
          `production.shop` turns back from `2`: the router on r, whose agent is away, did not follow within 5 min
        routes
          a: 2 serves, b: 1 serves 2 drains
        ",
    );
}

#[test]
fn routers_whose_agents_are_away_are_given_up_where_a_rollout_may_go_on_without_what_vanished() {
    check_from(
        &[
            ROLLING,
            "policy go_on",
            A_AND_B_RUN_ONE,
            WITHOUT_Q,
            BESIDE_R,
            TWO_STARTS_ON_A,
            "follows r",
            "wait 30s",
            TWO_SERVES_ON_A,
        ],
        "
        gone r
        waiting
          waiting for the router on r, whose agent is away, to follow the new shares, for another 5 min
        wait 5m
        works a
          step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
        wait 10s
          step 2 of 2 of `production.shop`: `2` starts on 2 of 2 hosts
        works b
          step 2 of 2 of `production.shop`: `2` takes requests on 2 of 2 hosts
        works b
          step 2 of 2 of `production.shop` is done: `2` is watched on 2 of 2 hosts
          `production.shop` runs `2` on 2 targets
        wait 10s
        ",
    );
}

#[test]
fn a_router_whose_agent_went_away_before_it_heard_the_last_news_is_called_too() {
    check(
        "
        services
        strategy rolling 1
        policy replace
        hosts a b
        runs 1
        router r
        follows r
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        deploy 3
          `production.shop` was not moved to `2`: ann ordered `3` instead
          ann prepares `3` of `production.shop` on 2 hosts
        gone r
        works a b
          step 1 of 2 of `production.shop`: `3` starts on 1 of 2 hosts
        works a b
        waiting
          waiting for the router on r, whose agent is away, to follow the new shares, for another 30 s
        wait 30s
        waiting
          waiting for a (0 of 1 targets with a healthy `3`), for another 5 min
        ",
    );
}
