//! Simulated traffic through the judge, and through the rules of others: what `cargo xtask bench verdict` shows.
//!
//! Prints one line of JSON a figure: `{"name", "unit", "min", "median", "max"}`. Of a part, min and max are its bounds with 95 %. The
//! same seed gives the same figures, however many cores there are. `--quick` makes fewer runs of what has no target of 1 %.

mod cost;
mod figures;
mod rules;
mod traffic;

use figures::{Line, part, quantile, spread};
use footplate_core::verdict::{Drawn, Standing};
use rules::{Bound, Footplate, Kayenta, PerVersion, Rule, watch};
use std::sync::atomic::{AtomicUsize, Ordering};
use traffic::{Clients, Traffic, World};

/// How much is simulated.
struct Extent {
    seed: u64,
    /// Runs of a row that is about false alarms, and of any other.
    alarms: usize,
    others: usize,
}

const HORIZON: u32 = 600;
const BASELINES: [f64; 3] = [0.0005, 0.005, 0.02];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str, otherwise: u64| {
        let value = arguments.iter().skip_while(|argument| *argument != flag).nth(1);
        value.map_or(otherwise, |value| value.parse().expect("a whole number follows the flag"))
    };
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let alarms = number("--runs", if quick { 5_000 } else { 40_000 }) as usize;
    let others = if quick { alarms.min(1_000) } else { alarms.min(10_000) };
    let extent = Extent { seed: number("--seed", 1), alarms, others };
    false_rollbacks(&extent);
    detections(&extent);
    promotions(&extent);
    too_little(&extent);
    others_rules(&extent);
    cost::measure().print();
}

/// Identical versions at 100 requests a second, with a canary of 10 %.
fn world(baseline: f64) -> World {
    World {
        requests: 100,
        ramp: vec![(0, 0.1)],
        errors: (baseline, baseline),
        slower: (1.0, 1.0),
        bursts: false,
        clients: Clients::Many,
        stalls: 0.0,
    }
}

/// One run's traffic: the same for every rule.
fn traffic(world: &World, extent: &Extent, run: usize) -> Traffic {
    Traffic::new(world, (extent.seed << 32).wrapping_add(run as u64))
}

/// Runs a rule on so many seeds, on all cores; what each gave, in the order of the seeds.
fn each<T: Send>(runs: usize, one: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= runs {
                return done;
            }
            done.push((run, one(run)));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run ends")).collect()
    });
    all.sort_by_key(|(run, _)| *run);
    all.into_iter().map(|(_, value)| value).collect()
}

/// When a rule takes the canary back, and after how many of its requests; infinite when it does not.
fn found<R: Rule>(
    world: &World,
    extent: &Extent,
    runs: usize,
    rule: impl Fn() -> R + Sync,
) -> Vec<(f64, f64)> {
    let one = |run| watch(&mut rule(), traffic(world, extent, run), HORIZON);
    each(runs, one).into_iter().map(|found| found.unwrap_or((f64::INFINITY, f64::INFINITY))).collect()
}

fn hits(found: &[(f64, f64)]) -> usize {
    found.iter().filter(|(seconds, _)| seconds.is_finite()).count()
}

fn false_rollbacks(extent: &Extent) {
    let alarms = |name: String, world: World, drawn: Drawn| {
        let found = found(&world, extent, extent.alarms, || Footplate::new(drawn));
        part(format!("false rollback: {name}"), hits(&found), found.len()).print();
    };
    for baseline in BASELINES {
        let percent = baseline * 100.0;
        alarms(format!("{percent}% errors"), world(baseline), Drawn::Request);
        alarms(
            format!("{percent}% errors, shared bursts"),
            World { bursts: true, ..world(baseline) },
            Drawn::Request,
        );
        let batches = |stay| World { clients: Clients::Batches { mean: 20.0, stay }, ..world(baseline) };
        alarms(format!("{percent}% errors in batches of 20, clients stay"), batches(true), Drawn::Client);
        alarms(format!("{percent}% errors in batches of 20, requests drawn"), batches(false), Drawn::Request);
    }
    let one = World { clients: Clients::One, ..world(0.005) };
    alarms("one address carries everything".into(), one.clone(), Drawn::Request);
    let ramp = World { ramp: default_ramp(), ..world(0.005) };
    alarms("default ramp".into(), ramp, Drawn::Request);
    let few = World { clients: Clients::Few { clients: 300, broken: 0.03 }, ..world(0.005) };
    alarms("300 clients stay, 3% of them always fail".into(), few, Drawn::Client);
    let stalls = World { stalls: 1.0 / 60.0, ..world(0.005) };
    // Not promised: what slow answers of one process have in common is only partly known.
    let stalled = found(&stalls, extent, extent.alarms, || Footplate::new(Drawn::Request));
    part(
        "identical, one of ten instances stalls for 2 s each minute: taken back",
        hits(&stalled),
        stalled.len(),
    )
    .print();
    let per_version = found(&one, extent, extent.others, PerVersion::new);
    part(
        "false rollback: one address, counted for each version (not ours)",
        hits(&per_version),
        per_version.len(),
    )
    .print();
}

fn default_ramp() -> Vec<(u32, f64)> {
    vec![(0, 0.01), (30, 0.05), (90, 0.25), (210, 0.5)]
}

fn detections(extent: &Extent) {
    let see = |name: &str, world: World| {
        let drawn = Drawn::Request;
        let found = found(&world, extent, extent.others, || Footplate::new(drawn));
        part(format!("{name}: found within 600 s"), hits(&found), found.len()).print();
        let seconds: Vec<f64> = found.iter().map(|(seconds, _)| *seconds).collect();
        let requests: Vec<f64> = found.iter().map(|(_, requests)| *requests).collect();
        finite(spread(format!("{name}: found after"), "s", seconds.clone())).print();
        finite(spread(format!("{name}: canary requests"), "requests", requests.clone())).print();
        finite(quantile(format!("{name}: found after, 90 of 100"), "s", seconds, 0.9)).print();
        finite(quantile(format!("{name}: canary requests, 90 of 100"), "requests", requests, 0.9)).print();
    };
    let errors = |canary| World { errors: (0.005, canary), ..world(0.005) };
    see("errors 0.5 to 5%", errors(0.05));
    see("errors 0.5 to 2%", errors(0.02));
    see("errors 0.5 to 1%", errors(0.01));
    see("errors 0.5 to 1%, default ramp", World { ramp: default_ramp(), ..errors(0.01) });
    see("half of the canary's requests fail", errors(0.5));
    let slower = |slower| World { slower, ..world(0.005) };
    see("all answers +100%", slower((2.0, 1.0)));
    see("all answers +20%", slower((1.2, 1.0)));
    see("p99 alone +100%", slower((1.0, 2.0)));
    see("p99 alone +20%", slower((1.0, 1.2)));
    let one = World { clients: Clients::One, ..errors(0.05) };
    see("errors 0.5 to 5%, one address carries everything", one);
}

/// What was not found counts as the horizon: a table has no infinity.
fn finite(line: Line) -> Line {
    Line {
        values: line.values.map(|value| if value.is_finite() { value } else { f64::from(HORIZON) }),
        ..line
    }
}

fn promotions(extent: &Extent) {
    let promoted = |world: &World, run: usize| {
        let (mut rule, mut traffic) = (Footplate::new(Drawn::Request), traffic(world, extent, run));
        for second in 1..=2 * HORIZON {
            match rule.look(&traffic.next_second()) {
                Standing::NotWorse => return Some(f64::from(second)),
                Standing::Worse => return None,
                Standing::Unknown => {}
            }
        }
        None
    };
    for baseline in BASELINES {
        let bad = World { errors: (baseline, baseline * 2.0), ..world(baseline) };
        let good = World { ramp: default_ramp(), ..world(baseline) };
        let bad: Vec<_> = each(extent.alarms.min(10_000), |run| promoted(&bad, run));
        let good: Vec<_> = each(extent.others, |run| promoted(&good, run));
        let percent = baseline * 100.0;
        part(format!("promoted: twice as bad as {percent}%"), bad.iter().flatten().count(), bad.len())
            .print();
        let name = format!("promoted: identical, {percent}%, default ramp");
        part(&name, good.iter().flatten().count(), good.len()).print();
        let seconds: Vec<f64> = good.into_iter().map(|seconds| seconds.unwrap_or(f64::INFINITY)).collect();
        let line = spread(format!("{name}: after"), "s", seconds);
        let values = line.values.map(|value| if value.is_finite() { value } else { f64::from(2 * HORIZON) });
        Line { values, ..line }.print();
    }
}

/// No traffic, or hardly any: every look must say "unknown".
fn too_little(extent: &Extent) {
    for (name, requests, share) in [("no requests", 0, 0.1), ("one request a second, canary of 1%", 1, 0.01)]
    {
        let little = World { requests, ramp: vec![(0, share)], ..world(0.005) };
        let decided = each(extent.others, |run| {
            let (mut rule, mut traffic) = (Footplate::new(Drawn::Request), traffic(&little, extent, run));
            (0..HORIZON).filter(|_| rule.look(&traffic.next_second()) != Standing::Unknown).count()
        });
        let decided: Vec<f64> = decided.into_iter().map(|looks| looks as f64).collect();
        spread(format!("{name}: looks of 600 that are not unknown"), "looks", decided).print();
    }
}

/// The rules of others, on the same traffic.
fn others_rules(extent: &Extent) {
    let worlds = [
        ("identical, 0.05%", world(0.0005)),
        ("identical, 0.5%", world(0.005)),
        ("identical, 0.5%, shared bursts", World { bursts: true, ..world(0.005) }),
        ("identical, 2%", world(0.02)),
        ("errors 0.5 to 1%", World { errors: (0.005, 0.01), ..world(0.005) }),
        ("errors 0.5 to 2%", World { errors: (0.005, 0.02), ..world(0.005) }),
        ("errors 0.5 to 5%", World { errors: (0.005, 0.05), ..world(0.005) }),
        ("p99 alone +100%", World { slower: (1.0, 2.0), ..world(0.005) }),
    ];
    for (name, world) in worlds {
        let runs = extent.others.min(2_000);
        compare("Argo Rollouts", name, &found(&world, extent, runs, Bound::argo));
        compare("Flagger", name, &found(&world, extent, runs, Bound::flagger));
        compare("Kayenta each minute", name, &found(&world, extent, runs.min(1_000), || Kayenta::new(60)));
        compare(
            "Kayenta at the end",
            name,
            &found(&world, extent, runs.min(1_000), || Kayenta::new(HORIZON)),
        );
    }
}

fn compare(rule: &str, name: &str, found: &[(f64, f64)]) {
    part(format!("{rule}: {name}: taken back"), hits(found), found.len()).print();
    let seconds: Vec<f64> = found.iter().map(|(seconds, _)| *seconds).collect();
    if !name.starts_with("identical") {
        finite(spread(format!("{rule}: {name}: after"), "s", seconds)).print();
    }
}
