//! What a benchmark found: rows with their targets, as a table for people, JSON for programs, Markdown to keep.
//!
//! A target for a duration or a size is met by the median, as the original's figures are medians. A target that is a
//! promise (nothing early, so many requests at most) is met only by every single run, so by the maximum.

use super::statistics::Spread;
use crate::machine::Machine;
use serde::Serialize;
use std::fmt::Write;

/// The whole finding of one benchmark.
#[derive(Serialize)]
pub struct Report {
    pub bench: String,
    pub machine: Machine,
    pub rows: Vec<Row>,
}

/// One measured quantity.
#[derive(Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub unit: String,
    pub min: f64,
    pub median: f64,
    pub max: f64,
    /// The value that is good enough, where one was promised.
    pub target: Option<f64>,
    /// Whether it was met; nothing where there is no target.
    pub met: Option<bool>,
    /// What the system before this one needed, as it was measured.
    #[serde(skip)]
    pub original: Option<&'static str>,
}

impl Row {
    /// Makes a row without a target. Nothing when there was no run.
    pub fn new(name: impl Into<String>, unit: impl Into<String>, runs: &[f64]) -> Option<Row> {
        let Spread { min, median, max } = Spread::of(runs)?;
        Some(Row {
            name: name.into(),
            unit: unit.into(),
            min,
            median,
            max,
            target: None,
            met: None,
            original: None,
        })
    }

    /// Holds the median against a target.
    pub fn at_most(self, target: f64) -> Row {
        Row { target: Some(target), met: Some(self.median <= target), ..self }
    }

    /// Holds the median against a target that it must reach.
    pub fn at_least(self, target: f64) -> Row {
        Row { target: Some(target), met: Some(self.median >= target), ..self }
    }

    /// Holds every single run against a target.
    pub fn never_above(self, target: f64) -> Row {
        Row { target: Some(target), met: Some(self.max <= target), ..self }
    }

    /// Puts the original's figure beside.
    pub fn original(self, figure: Option<&'static str>) -> Row {
        Row { original: figure, ..self }
    }
}

const HEAD: [&str; 8] = ["name", "unit", "min", "median", "max", "target", "met", "original"];

impl Report {
    /// Lists the rows whose target was missed.
    pub fn missed(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.met == Some(false)).collect()
    }

    /// Renders a table with aligned columns.
    pub fn render_text(&self) -> String {
        let cells: Vec<[String; 8]> =
            std::iter::once(HEAD.map(str::to_owned)).chain(self.rows.iter().map(render_cells)).collect();
        let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let mut text = format!("{}: {}\n", self.bench, self.machine);
        for row in &cells {
            let padded: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(column, cell)| match column {
                    2..=5 => format!("{cell:>width$}", width = width(column)),
                    _ => format!("{cell:<width$}", width = width(column)),
                })
                .collect();
            text += padded.join("  ").trim_end();
            text.push('\n');
        }
        text
    }

    /// Renders the rows as a Markdown table.
    pub fn render_markdown(&self) -> String {
        let mut text = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
        for row in &self.rows {
            // Writing to a string cannot fail.
            writeln!(text, "| {} |", render_cells(row).join(" | ")).expect("a string takes all text");
        }
        text
    }

    /// Renders one JSON object.
    pub fn render_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("rows hold only numbers and text")
    }
}

fn render_cells(row: &Row) -> [String; 8] {
    let met = row.met.map_or("", |met| if met { "yes" } else { "NO" });
    [
        row.name.clone(),
        row.unit.clone(),
        number(row.min),
        number(row.median),
        number(row.max),
        row.target.map_or(String::new(), number),
        met.to_owned(),
        row.original.unwrap_or_default().to_owned(),
    ]
}

/// Three digits behind the point for small numbers, none for whole ones.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let machine = Machine {
            processor: "a processor".into(),
            cores: 2,
            memory_gib: 4,
            system: "a system".into(),
            kernel: "6.1".into(),
        };
        let rows = vec![
            Row::new("switch", "s", &[0.1, 0.2, 0.9]).unwrap().at_most(0.3).original(Some("0.85")),
            Row::new("early", "agents", &[0.0, 0.0, 1.0]).unwrap().never_above(0.0),
            Row::new("floor", "s", &[0.5]).unwrap(),
        ];
        Report { bench: "fleet".into(), machine, rows }
    }

    #[test]
    fn a_duration_is_judged_by_its_median_and_a_promise_by_its_worst_run() {
        let report = report();
        let met: Vec<Option<bool>> = report.rows.iter().map(|row| row.met).collect();
        assert_eq!(met, [Some(true), Some(false), None]);
        assert_eq!(report.missed().len(), 1);
    }

    #[test]
    fn the_json_has_the_agreed_shape() {
        let json: serde_json::Value = serde_json::from_str(&report().render_json()).unwrap();
        let names = |value: &serde_json::Value| {
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&json), "bench machine rows");
        assert_eq!(names(&json["rows"][0]), "max median met min name target unit");
        assert!(json["rows"][2]["target"].is_null() && json["rows"][2]["met"].is_null());
    }

    #[test]
    fn the_table_shows_targets_and_the_originals_figures() {
        let text = report().render_text();
        assert!(text.contains("switch  s       0.100   0.200  0.900   0.300  yes  0.85"), "{text}");
        assert!(report().render_markdown().contains("| early | agents | 0 | 0 | 1 | 0 | NO |  |"));
    }
}
