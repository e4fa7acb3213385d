//! The evidence for a terminal: sentences, counts, a curve drawn in characters, requests.

use std::fmt;

use footplate_core::moment::in_words;
use footplate_core::verdict::finding::{Basis, KpiStanding};
use footplate_core::verdict::interval::Interval;
use footplate_core::verdict::{KpiVerdict, Side};

use super::plot::{self, Plot};
use super::{Sample, Shown, number, p_value};
use crate::cli::table;

/// How wide and high the curve is.
const COLUMNS: usize = 64;
const ROWS: usize = 10;
/// The marks of both curves, and where they meet.
const MARKS: [char; 2] = ['*', 'o'];
/// The most requests that a terminal shows.
const SAMPLES_MAX: usize = 10;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        writeln!(f, "{}: {} beside {}", subject.title, subject.canary, subject.baseline)?;
        writeln!(f, "{}", self.verdict.sentence)?;
        subject.said_then.iter().try_for_each(|said| writeln!(f, "At the end its judge said: {said}"))?;
        subject.ended.iter().try_for_each(|ended| writeln!(f, "What became of it: {ended}"))?;
        writeln!(f)?;
        let rows = self.verdict.kpis.iter().map(|(name, kpi)| row(name.as_str(), kpi));
        f.write_str(&table(&["KPI", "STANDS", "CANARY", "BASELINE", "TIMES AS OFTEN", "P"], rows))?;
        writeln!(f)?;
        for kpi in self.verdict.kpis.values() {
            writeln!(f, "  {}", kpi.sentence)?;
        }
        writeln!(f, "\nEvidence over {}, as a part of what is enough:", in_words(self.lasted))?;
        f.write_str(&draw(&plot::evidence(self)))?;
        writeln!(f, "  * it is worse   o it is not   - enough")?;
        if !self.power.is_empty() {
            writeln!(f, "\nWhat such traffic can show:")?;
        }
        for sentence in &self.power {
            writeln!(f, "  {sentence}")?;
        }
        if !self.samples.is_empty() {
            writeln!(f, "\nRequests that went wrong, the newest first:")?;
            let rows = self.samples.iter().take(SAMPLES_MAX).map(|sample| request(self, sample));
            f.write_str(&table(&["AFTER", "RELEASE", "REQUEST", "END", "TOOK"], rows))?;
        }
        Ok(())
    }
}

fn row(name: &str, kpi: &KpiVerdict) -> Vec<String> {
    let [canary, baseline, ratio] = basis(&kpi.basis);
    vec![name.to_owned(), standing(kpi.standing).to_owned(), canary, baseline, ratio, p_value(kpi.p_value)]
}

/// Returns the word for what stands of a KPI.
pub fn standing(standing: KpiStanding) -> &'static str {
    match standing {
        KpiStanding::NotWorse => "not worse",
        KpiStanding::Worse => "worse",
        KpiStanding::Unknown => "unknown",
        KpiStanding::Silent => "silent",
    }
}

/// Returns what stands for canary and baseline, and how many times as often it happens.
pub fn basis(basis: &Basis) -> [String; 3] {
    match basis {
        Basis::Events { canary, baseline, ratio, .. } => [side(*canary), side(*baseline), times(*ratio)],
        Basis::Numbers { canary, baseline, .. } => {
            let value = |value: &Option<footplate_core::verdict::Number>| {
                value.map_or_else(|| "-".to_owned(), |value| number(value.value()))
            };
            [value(canary), value(baseline), "-".to_owned()]
        }
    }
}

fn side(side: Side) -> String {
    match side.part() {
        None => "no requests".to_owned(),
        Some(part) => format!("{}% ({} of {})", number(part * 100.0), side.events, side.of),
    }
}

fn times(ratio: Option<Interval>) -> String {
    match ratio {
        Some(Interval { low, high: Some(high) }) if low > 0.0 => {
            format!("{} to {}", number(low), number(high))
        }
        Some(Interval { low, high: None }) if low > 0.0 => format!("{} or more", number(low)),
        Some(Interval { high: Some(high), .. }) => format!("up to {}", number(high)),
        Some(Interval { high: None, .. }) | None => "-".to_owned(),
    }
}

/// Returns one request's line.
pub fn request(shown: &Shown, sample: &Sample) -> Vec<String> {
    let release = if sample.is_canarys { &shown.subject.canary } else { &shown.subject.baseline };
    vec![
        in_words(sample.at.since(shown.began)),
        release.clone(),
        format!("{} {}", sample.method, sample.path),
        sample.end.clone(),
        in_words(sample.took),
    ]
}

/// Draws a plot in characters; each column shows the last point that falls into it.
fn draw(plot: &Plot) -> String {
    let mut cells = vec![[' '; COLUMNS]; ROWS];
    let row = |up: f64| ROWS - 1 - ((up * (ROWS - 1) as f64).round() as usize).min(ROWS - 1);
    let column = |across: f64| ((across * (COLUMNS - 1) as f64).round() as usize).min(COLUMNS - 1);
    if let Some(level) = plot.level {
        cells[row(level)] = ['-'; COLUMNS];
    }
    // What is worse is drawn last: nothing may hide it.
    for (line, mark) in plot.lines.iter().zip(MARKS).rev() {
        let mut latest: Option<usize> = None;
        let mut shown = [None; COLUMNS];
        for (across, up) in line.iter().flatten() {
            shown[column(*across)] = Some(row(*up));
        }
        for (column, here) in shown.into_iter().enumerate() {
            latest = here.or(latest);
            if let Some(row) = latest {
                cells[row][column] = mark;
            }
        }
    }
    let level = plot.level.map(row);
    let zero = row((0.0 - plot.range.0) / (plot.range.1 - plot.range.0));
    let label = |index: usize| match index {
        index if Some(index) == level => "100%",
        index if index == zero => "0%",
        _ => "",
    };
    let lines = cells.iter().enumerate();
    lines
        .map(|(index, cells)| {
            format!("{:>6} |{}\n", label(index), cells.iter().collect::<String>().trim_end())
        })
        .collect()
}
