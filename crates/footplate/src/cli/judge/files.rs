//! Two files of what happened, one for each version: CSV or JSON lines, a row for each stretch of time.
//!
//! Invariants: a row that cannot be read is named with its line; rows of both files that end in one stretch are one reading; what was
//! used to freeze times is not judged by them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::traffic::counts::Histogram;
use footplate_core::verdict::cuts::NAMES;
use footplate_core::verdict::{Cuts, KpiName, Reading, Recording, Said, Side, Split};
use serde::Deserialize;

use super::{JudgeArgs, Judged, absolute, read, subject, unusable};
use crate::failure::{Exit, Failure};

/// The baseline's answers that times are frozen from, when the canary began no later.
const FREEZE: Duration = Duration::from_secs(30);
/// The most rows of a file.
const ROWS_MAX: usize = 1_000_000;

/// What happened in one stretch.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    at: Moment,
    side: Side,
    times: Option<Histogram>,
}

/// A row as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    time: serde_json::Value,
    requests: u64,
    #[serde(default)]
    errors: u64,
    /// Milliseconds.
    durations: Option<Vec<f64>>,
    /// Milliseconds, and how many requests took them.
    histogram: Option<Vec<(f64, u64)>>,
}

/// Makes a recording of both files.
pub fn judge(args: &JudgeArgs) -> Result<Judged, Failure> {
    let name = |given: &Option<String>| given.clone().unwrap_or_default();
    let (canary_name, baseline_name) = (name(&args.canary), name(&args.baseline));
    if args.baseline.is_none() {
        return Err(Failure::new(Exit::Usage, "cannot judge a version alone")
            .because_of("there is no --baseline to hold it against")
            .next("name the file of the version before: --baseline FILE"));
    }
    let canary = rows(Path::new(&canary_name))?;
    let mut baseline = rows(Path::new(&baseline_name))?;
    if args.align {
        align(&canary, &mut baseline);
    }
    check_overlap(&canary, &baseline)?;
    let step = stretch(&canary, &baseline);
    let has_times = canary.iter().chain(&baseline).any(|row| row.times.is_some());
    let plan =
        args.rules.of_requests(args.kpi.as_ref(), has_times, (step * 3).max(Duration::from_secs(10)))?;
    let recording = record(plan, args, &canary, &baseline, step);
    Ok(Judged { recording, subject: subject("files", &canary_name, &baseline_name) })
}

fn rows(file: &Path) -> Result<Vec<Row>, Failure> {
    let text = read(file)?;
    let parsed = match text.trim_start().starts_with('{') {
        true => json(&text),
        false => csv(&text),
    };
    let mut rows =
        parsed.map_err(|why| unusable(file).because_of(why).next("see docs/reference/judge.md"))?;
    if rows.is_empty() {
        return Err(unusable(file).because_of("it has no rows").next("see docs/reference/judge.md"));
    }
    rows.sort_by_key(|row| row.at);
    Ok(rows)
}

fn json(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .take(ROWS_MAX)
        .map(|(index, line)| {
            let wrong = |why: String| format!("line {}: {why}", index + 1);
            let line: Line = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            let time = line.time.as_str().map_or_else(|| line.time.to_string(), str::to_owned);
            let pairs =
                line.durations.map(|all| all.into_iter().map(|time| (time, 1)).collect()).or(line.histogram);
            row(&time, line.requests, line.errors, pairs).map_err(wrong)
        })
        .collect()
}

fn csv(text: &str) -> Result<Vec<Row>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let heading = lines.next().map(|(_, line)| cells(line)).unwrap_or_default();
    let column = |name: &str| heading.iter().position(|cell| cell == name);
    let known = ["time", "requests", "errors", "durations"];
    if let Some(unknown) = heading.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!(
            "line 1: `{}` is no column; known are {}",
            unknown.escape_debug(),
            known.join(", ")
        ));
    }
    let (Some(time), Some(requests)) = (column("time"), column("requests")) else {
        return Err("line 1: it must name the columns: time,requests,errors".to_owned());
    };
    let (errors, durations) = (column("errors"), column("durations"));
    let read = |(index, line): (usize, &str)| {
        let cells = cells(line);
        let wrong = |why: String| format!("line {}: {why}", index + 1);
        let cell = |at: usize| cells.get(at).map_or("", String::as_str);
        let count = |at: usize| {
            let text = cell(at);
            text.parse::<u64>().map_err(|_| wrong(format!("`{}` is no count", text.escape_debug())))
        };
        let pairs = durations.map(cell).filter(|text| !text.is_empty()).map(pairs).transpose();
        let errors = errors.map(count).transpose()?.unwrap_or(0);
        row(cell(time), count(requests)?, errors, pairs.map_err(wrong)?).map_err(wrong)
    };
    lines.take(ROWS_MAX).map(read).collect()
}

fn cells(line: &str) -> Vec<String> {
    line.split(',').map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
}

/// Reads durations: milliseconds with spaces between, each with how many took it when more than one did: `12.5 30x4`.
fn pairs(text: &str) -> Result<Vec<(f64, u64)>, String> {
    let one = |word: &str| {
        let (time, number) = word.split_once('x').unwrap_or((word, "1"));
        let pair = time.parse().ok().zip(number.parse().ok());
        pair.ok_or_else(|| format!("`{}` is no time such as 12.5 or 12.5x4", word.escape_debug()))
    };
    text.split_whitespace().map(one).collect()
}

fn row(time: &str, of: u64, events: u64, pairs: Option<Vec<(f64, u64)>>) -> Result<Row, String> {
    let at = absolute(time).ok_or_else(|| format!("`{}` is no moment", time.escape_debug()))?;
    if events > of {
        return Err(format!("{events} errors of {of} requests"));
    }
    let microseconds = |(time, number): (f64, u64)| {
        let is_time = (0.0..1e12).contains(&time);
        is_time.then_some(((time * 1000.0) as u64, number)).ok_or_else(|| format!("{time} ms is no time"))
    };
    let times = pairs.map(|pairs| pairs.into_iter().map(microseconds).collect::<Result<Histogram, _>>());
    Ok(Row { at, side: Side { of, events }, times: times.transpose()? })
}

fn ends(rows: &[Row]) -> (Moment, Moment) {
    (rows[0].at, rows[rows.len() - 1].at)
}

fn align(canary: &[Row], baseline: &mut [Row]) {
    let (to, from) = (canary[0].at, baseline[0].at);
    for row in baseline {
        row.at = to + row.at.since(from);
    }
}

fn check_overlap(canary: &[Row], baseline: &[Row]) -> Result<(), Failure> {
    let (canary, baseline) = (ends(canary), ends(baseline));
    if canary.0 <= baseline.1 && baseline.0 <= canary.1 {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, "cannot compare these files")
        .because_of("they are of different times, and what happens to both versions at once would look like a fault of one")
        .next("give files of the same time, or compare them as they are with --align"))
}

/// Returns the length of a stretch: what usually lies between two rows of a file, a second at least.
fn stretch(canary: &[Row], baseline: &[Row]) -> Duration {
    let usual = |rows: &[Row]| {
        let mut gaps: Vec<Duration> = rows.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
        gaps.retain(|gap| !gap.is_zero());
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied().unwrap_or_default()
    };
    usual(canary).max(usual(baseline)).max(Duration::from_secs(1))
}

/// What both versions did in one stretch.
#[derive(Default)]
struct Heap {
    sides: [Side; 2],
    times: [Histogram; 2],
}

fn record(
    plan: footplate_core::verdict::Plan,
    args: &JudgeArgs,
    canary: &[Row],
    baseline: &[Row],
    step: Duration,
) -> Recording {
    let first = canary[0].at.min(baseline[0].at);
    // A row tells of what ended at its time: the first stretch is the one before the first row.
    let began = first - step;
    let frozen = canary[0].at.max(baseline[0].at + FREEZE);
    let is_before = |row: &&Row| row.at < frozen;
    let mut before = Histogram::default();
    baseline
        .iter()
        .filter(is_before)
        .filter_map(|row| row.times.as_ref())
        .for_each(|times| before.add(times));
    let cuts = Cuts::freeze(&before);
    let mut heaps: BTreeMap<u128, Heap> = BTreeMap::new();
    for (index, rows) in [canary, baseline].into_iter().enumerate() {
        for row in rows {
            let place = row.at.since(began).as_millis().div_ceil(step.as_millis());
            let heap = heaps.entry(place).or_default();
            heap.sides[index].add(row.side);
            heap.times[index].add(row.times.as_ref().unwrap_or(&Histogram::default()));
        }
    }
    let errors = args.kpi.clone().unwrap_or_else(|| "errors".parse().expect("it is a name"));
    let has_times = plan.kpis.len() > 1;
    let mut recording = Recording::new(plan, began, cuts);
    for (place, heap) in heaps {
        let after = step * u32::try_from(place).unwrap_or(u32::MAX);
        let at = began + after;
        let split = Split { canary: heap.sides[0], baseline: heap.sides[1], causes: None, busiest: None };
        let mut kpis = BTreeMap::from([(errors.clone(), Said::Events(split))]);
        if has_times {
            kpis.extend(slow(&cuts, &heap, at > frozen));
        }
        recording.readings.push(Reading { at, over: step, share: args.rules.share, kpis });
    }
    recording
}

/// Returns how many answers were slower than each frozen time.
fn slow(cuts: &Cuts, heap: &Heap, is_frozen: bool) -> impl Iterator<Item = (KpiName, Said)> {
    let splits = cuts.splits(&heap.times[0], &heap.times[1]);
    NAMES.into_iter().zip(splits).map(move |(name, split)| {
        let said = match split {
            Some(split) if is_frozen => Said::Events(split),
            Some(_) => Said::Nothing(
                "the times of the first half minute are what the others are held against".to_owned(),
            ),
            None => Said::Nothing("the baseline has too few answers to tell what is slow".to_owned()),
        };
        (name.parse().expect("it is a name"), said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_csv_and_from_json_lines_alike() {
        let csv =
            csv("time, requests, errors, durations\n1700000000,3,1,12.5 30x2\n2023-11-14T22:13:21Z,5,0,\n")
                .unwrap();
        let json = json(
            "{\"time\":1700000000,\"requests\":3,\"errors\":1,\"histogram\":[[12.5,1],[30,2]]}\n\n{\"time\":\"2023-11-14T22:13:21Z\",\"requests\":5}\n",
        )
        .unwrap();
        assert_eq!(csv, json);
        assert_eq!(csv[0].times.as_ref().unwrap().len(), 3);
        assert_eq!(csv[1].at.since(csv[0].at), Duration::from_secs(1));
    }

    #[test]
    fn a_row_that_cannot_be_read_is_named_with_its_line() {
        for (text, expected) in [
            ("requests,errors\n1,2\n", "must name the columns"),
            ("time,requests,errors,x\n", "`x` is no column"),
            ("time,requests,errors\n1,2,3\n", "line 2: 3 errors of 2 requests"),
            ("time,requests,errors\n1,-2,0\n", "line 2: `-2` is no count"),
            ("time,requests,errors\nnow,2,0\n", "line 2: `now` is no moment"),
            ("time,requests,durations\n1,2,fast\n", "line 2: `fast` is no time"),
        ] {
            let told = csv(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
        assert!(json("{\"time\":1}").unwrap_err().contains("line 1: missing field `requests`"));
    }
}
