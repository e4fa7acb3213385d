//! Stories of routers that follow late, or whose agents are away.

use crate::check;

#[test]
fn a_router_that_does_not_follow_turns_it_back() {
    check(
        "
        services
        strategy rolling 1
        hosts a b
        runs 1
        router r
        follows r
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
        follows r
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
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
    check(
        "
        services
        strategy rolling 1
        hosts a b
        runs 1
        router q r
        follows q
        gone q
        follows r
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
        follows r
        wait 30s
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
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
    check(
        "
        services
        strategy rolling 1
        policy go_on
        hosts a b
        runs 1
        router q r
        follows q
        gone q
        follows r
        deploy 2
          ann prepares `2` of `production.shop` on 2 hosts
        works a b
          step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
        follows r
        wait 30s
        works a
          step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
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
