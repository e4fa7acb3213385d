//! What the judge costs at a million requests a second.

use crate::figures::Line;
use crate::rules::{Footplate, Rule};
use crate::traffic::Second;
use footplate_core::verdict::{Cause, Drawn};
use std::time::Instant;

const SECONDS: u32 = 2_000;

/// Measures the part of a core that it takes when each second brings a million requests, a fiftieth of them failed, and the keys of ten
/// thousand: the largest, the middle and the smallest of five.
pub fn measure() -> Line {
    let mut parts: Vec<f64> = (0..5).map(once).collect();
    parts.sort_unstable_by(f64::total_cmp);
    Line {
        name: "cost at 1,000,000 requests a second".into(),
        unit: "% of a core",
        values: [parts[0], parts[2], parts[4]],
    }
}

fn once(seed: u64) -> f64 {
    let mut rule = Footplate::new(Drawn::Request);
    let second = |number: u64| Second {
        share: 0.1,
        of: [100_000, 900_000],
        failed: [2_000, 18_000],
        slow: [[50_000, 450_000], [10_000, 90_000], [1_000, 9_000], [500, 4_500]],
        causes: (0..10_000)
            .map(|key| Cause {
                key: (seed << 40) + number * 10_000 + key,
                is_canarys: key.is_multiple_of(10),
            })
            .collect(),
        busiest: 1_000,
    };
    let seconds: Vec<Second> = (0..16).map(second).collect();
    let began = Instant::now();
    for number in 0..SECONDS {
        rule.look(&seconds[number as usize % seconds.len()]);
    }
    began.elapsed().as_secs_f64() / f64::from(SECONDS) * 100.0
}
