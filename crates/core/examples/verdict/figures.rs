//! Figures of many runs: medians, and parts with bounds that hold with 95 %.

use serde_json::json;

/// One line for the table.
pub struct Line {
    pub name: String,
    pub unit: &'static str,
    /// Smallest, middle, largest; of a part: its lower bound, itself, its upper bound.
    pub values: [f64; 3],
}

impl Line {
    /// Prints it as JSON.
    pub fn print(&self) {
        let [min, median, max] = self.values;
        println!(
            "{}",
            json!({ "name": self.name, "unit": self.unit, "min": min, "median": median, "max": max })
        );
    }
}

/// Returns a part in percent with the bounds that it is above, and below, each with 95 % (Clopper & Pearson, Biometrika 26, 1934).
pub fn part(name: impl Into<String>, hits: usize, runs: usize) -> Line {
    let upper = if hits == runs { 1.0 } else { root(|p| at_most(hits, runs, p) - 0.05) };
    let lower = if hits == 0 { 0.0 } else { root(|p| 0.05 - (1.0 - at_most(hits - 1, runs, p))) };
    let values = [lower, hits as f64 / runs as f64, upper].map(|part| part * 100.0);
    Line { name: name.into(), unit: "%", values }
}

/// Returns the spread of a figure of each run; what was never reached counts as beyond all.
pub fn spread(name: impl Into<String>, unit: &'static str, mut values: Vec<f64>) -> Line {
    values.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
    Line { name: name.into(), unit, values: [at(0.0), at(0.5), at(1.0)] }
}

/// Returns a quantile of a figure, as a line of its own.
pub fn quantile(name: impl Into<String>, unit: &'static str, mut values: Vec<f64>, part: f64) -> Line {
    values.sort_unstable_by(f64::total_cmp);
    let value = values[((values.len() - 1) as f64 * part).ceil() as usize];
    Line { name: name.into(), unit, values: [value; 3] }
}

/// Finds where a falling function of a part crosses 0.
fn root(function: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if function(middle) > 0.0 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The probability of so many hits or fewer.
fn at_most(hits: usize, runs: usize, part: f64) -> f64 {
    if part <= 0.0 {
        return 1.0;
    }
    let term = |hit: usize| {
        let (hit, runs) = (hit as f64, runs as f64);
        let choose = libm::lgamma(runs + 1.0) - libm::lgamma(hit + 1.0) - libm::lgamma(runs - hit + 1.0);
        (choose + hit * part.ln() + (runs - hit) * (1.0 - part).ln()).exp()
    };
    (0..=hits).map(term).sum()
}
