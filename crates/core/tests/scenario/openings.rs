//! How stories open that begin alike: first the rules, then what runs, then what has begun. A story may have lines of its own
//! between these parts. The answers in them are expected as those of the story are.

/// Services, which are renewed on one host after the other.
pub const ROLLING: &str = "
    services
    strategy rolling 1
";

/// Services, of which a tenth of the requests tries the new release first.
pub const CANARY: &str = "
    services
    strategy canary 10% then 2
";

/// The hosts a and b run `1`.
pub const A_AND_B_RUN_ONE: &str = "
    hosts a b
    runs 1
";

/// There is a router on r.
pub const BESIDE_R: &str = "
    router r
    follows r
";

/// There was a router on q, too, but its agent went away.
pub const WITHOUT_Q: &str = "
    router q
    follows q
    gone q
";

/// Both have prepared `2`, which is starting on a.
pub const TWO_STARTS_ON_A: &str = "
    deploy 2
      ann prepares `2` of `production.shop` on 2 hosts
    works a b
      step 1 of 2 of `production.shop`: `2` starts on 1 of 2 hosts
";

/// The requests of a go to `2`.
pub const TWO_SERVES_ON_A: &str = "
    works a
      step 1 of 2 of `production.shop`: `2` takes requests on 1 of 2 hosts
";

/// A tenth of all requests goes to `2` on a, and nothing bad has happened yet.
pub const TWO_IS_WATCHED_ON_A: &str = "
    works a
      step 1 of 2 of `production.shop`: `2` gets 10% of the traffic, on 1 of 2 hosts
      step 1 of 2 of `production.shop` is done: `2` is watched on 1 of 2 hosts
";

/// The host a prepares `2`, and `3` waits for that rollout.
pub const THREE_WAITS_FOR_TWO: &str = "
    hosts a
    runs 1
    policy wait
    deploy 2
      ann prepares `2` of `production.shop` on 1 host
    deploy 3
      `3` of `production.shop` waits for rollout 2 to `2`, and begins when that arrives
";

/// The process groups web and worker of a run `1`.
pub const WEB_AND_WORKER_RUN_ONE: &str = "
    says groups web worker
    hosts a
    runs 1
";

/// Then worker alone came to `2`.
pub const WORKER_RUNS_TWO: &str = "
    deploy 2 only worker
      ann prepares `2` of process group `worker` of `production.shop` on 1 host
    prepares a
      process group `worker` of `production.shop` switches to `2` on 1 host
    activates a
      process group `worker` of `production.shop` runs `2` on 1 target
";

/// `2` runs on a, and `3`, which waited for that, waits on at a gate that is locked.
pub const THREE_WAITS_AT_A_LOCKED_GATE: &str = "
    gated
    hosts a
    runs 1
    deploy 2
      ann prepares `2` of `production.shop` on 1 host
    says policy wait
    deploy 3
      `3` of `production.shop` waits for rollout 2 to `2`, and begins when that arrives
    lock bob 60s
    prepares a
      `production.shop` switches to `2` on 1 host
    activates a
      `production.shop` runs `2` on 1 target
    wait 1s
      `3` of `production.shop` waits for the gate: bob locked it for another 59 s: a sale
";
