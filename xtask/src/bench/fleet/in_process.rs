//! More agents than a machine can hold as processes: the example `fleet_in_process` runs them in one, and prints lines of
//! `{"agents", "quantity", "unit", "runs"}` that become rows here.

use crate::bench::report::Row;
use crate::failure::Failure;
use crate::program;
use crate::workspace::Workspace;
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    agents: usize,
    quantity: String,
    unit: String,
    runs: Vec<f64>,
}

/// Runs the example with so many agents, over sockets or not, and returns its rows.
pub fn measure(
    workspace: &Workspace,
    agents: usize,
    sockets: bool,
    runs: usize,
) -> Result<Vec<Row>, Failure> {
    let way = if sockets { "over sockets" } else { "in one process" };
    eprintln!("embedded × {agents} {way}: {runs} runs");
    let mut cargo = workspace.cargo();
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "footplate",
        "--example",
        "fleet_in_process",
        "--",
    ]);
    cargo.args(["--agents", &agents.to_string(), "--runs", &runs.to_string()]);
    if sockets {
        cargo.arg("--sockets");
    }
    let text = program::read(&mut cargo, "run the example by hand with fewer agents")?;
    let lines: Result<Vec<Line>, serde_json::Error> = text.lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|error| {
        Failure::new("cannot read what the example printed", error, "read crates/footplate/examples")
    })?;
    Ok(lines.into_iter().filter_map(|line| row(line, way)).collect())
}

fn row(line: Line, way: &str) -> Option<Row> {
    let agents = line.agents;
    let row = Row::new(format!("embedded × {agents} {way}: {}", line.quantity), line.unit, &line.runs)?;
    Some(match line.quantity.as_str() {
        "switch" if agents >= 10_000 => row.at_most(2.0),
        "unfinished at the switch" | "early" => row.never_above(0.0),
        "requests per agent" => row.never_above(6.0),
        "writes of the barrier" => row.never_above(1.0),
        _ => row,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_of_ten_thousand_has_a_target() {
        let line = |agents, quantity: &str| Line {
            agents,
            quantity: quantity.into(),
            unit: "s".into(),
            runs: vec![3.0],
        };
        assert_eq!(row(line(10_000, "switch"), "in one process").unwrap().met, Some(false));
        assert_eq!(row(line(1_000, "switch"), "over sockets").unwrap().met, None);
        assert_eq!(row(line(10_000, "writes of the barrier"), "in one process").unwrap().target, Some(1.0));
    }
}
