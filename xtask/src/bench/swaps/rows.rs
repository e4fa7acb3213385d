//! The rows of the benchmark: what was promised of swaps, and what stands behind it.

use super::site::Strategy;
use super::{Found, Options, Run};
use crate::bench::report::Row;

/// The most that the p99 may grow by swaps.
const RATIO_MAX: f64 = 1.5;

/// Returns what was found behind one router.
pub fn rows(found: &Found, options: &Options) -> Vec<Row> {
    let Found { swapped, idle, .. } = found;
    let name = |quantity: &str| format!("{}: {quantity}", found.kind.name());
    let of = |runs: &[Run], value: fn(&Run) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
    let failed = |run: &Run| (run.steady.failed + run.others.failed) as f64;
    let p50 = |run: &Run| run.steady.p50_us;
    let p99 = |run: &Run| run.steady.p99_us;
    let ratios: Vec<f64> = swapped.iter().zip(idle).map(|(with, without)| p99(with) / p99(without)).collect();
    let at_rate = |quantity: &str| name(&format!("{quantity}, at {}/s", options.rate));
    let promised = [
        Row::new(name("failed requests"), "requests", &[of(swapped, failed), of(idle, failed)].concat())
            .map(|row| row.never_above(0.0)),
        Row::new(name("swaps (at least)"), "swaps", &[found.swaps() as f64])
            .map(|row| row.at_least(options.swaps_min as f64)),
        Row::new(name("requests during swaps (at least)"), "requests", &[found.requests() as f64])
            .map(|row| row.at_least(options.requests_min as f64)),
        Row::new(name("p99 with swaps / with idle processes"), "times", &ratios)
            .map(|row| row.at_most(RATIO_MAX)),
    ];
    let behind = [
        Row::new(at_rate("p99 with swaps"), "µs", &of(swapped, p99)),
        Row::new(at_rate("p99 with idle processes"), "µs", &of(idle, p99)),
        Row::new(at_rate("p50 with swaps"), "µs", &of(swapped, p50)),
        Row::new(at_rate("p50 with idle processes"), "µs", &of(idle, p50)),
        Row::new(name("memory grown in these runs"), "MiB", &[found.grown / f64::from(1 << 20)]),
    ];
    let took = Strategy::ALL.map(|strategy| {
        let swaps = swapped.iter().flat_map(|run| &run.swaps).filter(|swap| swap.strategy == strategy);
        let took: Vec<f64> = swaps.map(|swap| swap.took).collect();
        Row::new(name(&format!("one swap, {}", strategy.name())), "s", &took)
    });
    promised.into_iter().chain(behind).chain(took).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Seen, Swap, front};
    use super::*;

    fn run(p99_us: f64, failed: u64) -> Run {
        let steady = Seen { requests: 100, failed, p50_us: 1.0, p99_us };
        Run { steady, ..Run::default() }
    }

    #[test]
    fn each_run_is_compared_with_its_own_control_run() {
        let swap = Swap { strategy: Strategy::Canary, took: 3.0 };
        let swapped = |p99_us, failed| Run { swaps: vec![swap.clone(); 2], ..run(p99_us, failed) };
        let found = Found {
            kind: front::Kind::Haproxy,
            swapped: vec![swapped(300.0, 0), swapped(200.0, 1)],
            idle: vec![run(100.0, 0), run(200.0, 0)],
            grown: 0.0,
        };
        let options = Options { runs_min: 2, seconds: 1, rate: 1, swaps_min: 4, requests_min: 201 };
        assert!(found.lacks(&options), "a request");
        let rows = rows(&found, &options);
        let row = |part: &str| rows.iter().find(|row| row.name.contains(part)).expect("it is there");
        assert_eq!((row("swaps / with").min, row("swaps / with").max), (1.0, 3.0));
        assert_eq!(row("failed").met, Some(false), "one of all runs failed");
        assert_eq!(
            (row("swaps (at least)").met, row("requests during swaps").met),
            (Some(true), Some(false))
        );
        assert_eq!(row("one swap, canary").median, 3.0);
    }
}
