//! The lines of the example as rows, with what was promised of each.
//!
//! Of a part, the smallest and largest value are its bounds with 95 %: a promise is held against the bound, not against the part.

use crate::bench::report::Row;
use crate::failure::Failure;
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    name: String,
    unit: String,
    min: f64,
    median: f64,
    max: f64,
}

/// Reads what the example printed.
pub fn read(text: &str) -> Result<Vec<Row>, Failure> {
    let lines: Result<Vec<Line>, serde_json::Error> = text.lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|error| {
        Failure::new("cannot read what the example printed", error, "read crates/core/examples/verdict")
    })?;
    Ok(lines.into_iter().map(row).collect())
}

fn row(line: Line) -> Row {
    let Line { name, unit, min, median, max } = line;
    let row = Row { name, unit, min, median, max, target: None, met: None, original: None };
    let of = |part: &str| row.name.strip_suffix(part);
    if row.name.starts_with("false rollback: ") {
        return if row.name.ends_with("(not ours)") { row } else { row.never_above(1.0) };
    }
    if row.name.starts_with("promoted: twice") {
        return row.never_above(6.0);
    }
    if row.name.contains(": looks of 600") {
        return row.never_above(0.0);
    }
    if row.name.starts_with("cost ") {
        return row.at_most(1.0);
    }
    if let Some(part) = of(": found within 600 s").and_then(part_min) {
        return Row { target: Some(part), met: Some(row.min >= part), ..row };
    }
    if let Some(seconds) = of(": found after").and_then(seconds_max) {
        let every_run = row.name.starts_with("half ");
        return if every_run { row.never_above(seconds) } else { row.at_most(seconds) };
    }
    match of(": canary requests").and_then(requests_max) {
        Some(requests) => row.at_most(requests),
        None => row,
    }
}

fn part_min(name: &str) -> Option<f64> {
    match name {
        "errors 0.5 to 1%" => Some(75.0),
        "errors 0.5 to 1%, default ramp" => Some(99.0),
        _ => None,
    }
}

fn seconds_max(name: &str) -> Option<f64> {
    Some(match name {
        "errors 0.5 to 5%" => 15.0,
        "errors 0.5 to 2%" => 75.0,
        "errors 0.5 to 1%, default ramp" => 260.0,
        "half of the canary's requests fail" | "all answers +100%" => 5.0,
        "all answers +20%" => 45.0,
        "p99 alone +100%" => 120.0,
        _ => return None,
    })
}

fn requests_max(name: &str) -> Option<f64> {
    match name {
        "errors 0.5 to 5%" => Some(150.0),
        "errors 0.5 to 2%" => Some(750.0),
        "half of the canary's requests fail" => Some(20.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(name: &str, values: [f64; 3]) -> Option<bool> {
        let [min, median, max] = values;
        let text = format!(r#"{{"name":"{name}","unit":"x","min":{min},"median":{median},"max":{max}}}"#);
        read(&text).unwrap()[0].met
    }

    #[test]
    fn a_part_is_held_against_its_bound_and_a_delay_against_its_median() {
        assert_eq!(met("false rollback: 2% errors", [0.4, 0.5, 0.99]), Some(true));
        assert_eq!(met("false rollback: 2% errors", [0.4, 0.5, 1.01]), Some(false));
        assert_eq!(met("errors 0.5 to 1%: found within 600 s", [74.9, 80.0, 85.0]), Some(false));
        assert_eq!(met("errors 0.5 to 2%: found after", [1.0, 75.0, 600.0]), Some(true));
        assert_eq!(met("half of the canary's requests fail: found after", [1.0, 1.0, 6.0]), Some(false));
        assert_eq!(met("errors 0.5 to 2%: found after, 90 of 100", [1.0, 175.0, 600.0]), None);
        assert_eq!(met("Flagger: errors 0.5 to 2%: after", [1.0, 175.0, 600.0]), None);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert!(read("no JSON").is_err());
    }
}
