//! What a verdict rests on, shown: text for a terminal, JSON, and one page that needs nothing else.
//!
//! Invariants: pure rendering of a recording: the same recording gives the same letters; the verdict's words are the core's; a page asks
//! nobody for anything and runs nothing; whatever came from outside is escaped.

mod page;
mod plot;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::traffic::Share;
use footplate_core::verdict::curve::Point;
use footplate_core::verdict::power::{self, Traffic};
use footplate_core::verdict::recording::NotReplayed;
use footplate_core::verdict::{Evidence, Finding, KpiName, Reading, Recording, Said, Side, Verdict};
use serde::{Deserialize, Serialize};

/// The most points of a KPI's course.
const COURSE_POINTS_MAX: usize = 120;
/// The most requests that are shown.
const SAMPLES_MAX: usize = 50;

/// What is judged, in the words of whoever judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is about: `shop in production, deployment 7`.
    pub title: String,
    /// The release that is judged.
    pub canary: String,
    /// What it is held against.
    pub baseline: String,
    /// What became of it, whoever decided, in a sentence; nothing while it goes on, or where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What the judge said at the end, where judging again says something else: another version of Footplate judged then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_then: Option<String>,
}

/// One request that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When it ended.
    pub at: Moment,
    /// Whether the canary served it.
    pub is_canarys: bool,
    /// Its method.
    pub method: String,
    /// Its path, without a query.
    pub path: String,
    /// The status of its answer, or what became of it instead: `502`, `timeout`.
    pub end: String,
    /// How long it took.
    #[serde(with = "footplate_core::release::duration_millis")]
    pub took: Duration,
}

/// A verdict with all that it rests on, ready to be shown. As JSON it is what programs read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// What is judged.
    pub subject: Subject,
    /// The verdict of the last reading.
    pub verdict: Verdict,
    /// When judging began.
    pub began: Moment,
    /// For how long the canary had requests.
    #[serde(with = "footplate_core::release::duration_millis")]
    pub lasted: Duration,
    /// How many readings there were.
    pub readings: usize,
    /// What is enough for one KPI to be called not worse.
    pub enough_for_not_worse: Evidence,
    /// The sum of the evidence that it is worse, and the weakest KPI's that it is not, over time.
    pub curve: Vec<Point>,
    /// What each KPI was on both versions, over time.
    pub courses: BTreeMap<KpiName, Vec<Piece>>,
    /// What traffic like this can show.
    pub power: Vec<String>,
    /// Requests that went wrong, the newest first.
    pub samples: Vec<Sample>,
}

/// A KPI in one stretch of time: a part of the requests (0 to 1), or a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Piece {
    /// When it ended.
    pub at: Moment,
    /// The canary's; nothing where nothing was heard.
    pub canary: Option<f64>,
    /// The baseline's.
    pub baseline: Option<f64>,
}

impl Shown {
    /// Judges a recording again, to show what came out.
    pub fn new(subject: Subject, recording: &Recording, samples: Vec<Sample>) -> Result<Self, NotReplayed> {
        let judge = recording.replay()?;
        let mut samples = samples;
        samples.sort_by_key(|sample| std::cmp::Reverse(sample.at));
        samples.truncate(SAMPLES_MAX);
        Ok(Self {
            subject,
            verdict: judge.verdict(judge.latest()),
            began: recording.began,
            lasted: judge.lasted(),
            readings: recording.readings.len(),
            enough_for_not_worse: judge.enough_for_not_worse(),
            curve: judge.curve(),
            courses: courses(recording),
            power: power(recording, judge.lasted()),
            samples,
        })
    }

    /// Returns the one word for what was found.
    pub fn word(&self) -> &'static str {
        match self.verdict.finding {
            Finding::NotWorse => "not worse",
            Finding::Worse { .. } => "worse",
            Finding::Unknown(_) => "unknown",
        }
    }

    /// Returns the verdict as one HTML page, which needs nothing else.
    pub fn page(&self) -> String {
        page::render(self)
    }
}

/// What was heard of a KPI in one stretch.
#[derive(Default)]
struct Heap {
    canary: Side,
    baseline: Side,
    numbers: Option<(f64, Option<f64>)>,
}

/// Puts the readings of each KPI into a bounded number of stretches of equal length.
fn courses(recording: &Recording) -> BTreeMap<KpiName, Vec<Piece>> {
    let Some(last) = recording.readings.last() else { return BTreeMap::new() };
    let all = last.at.since(recording.began).as_millis().max(1);
    let number = recording.readings.len().clamp(1, COURSE_POINTS_MAX);
    let place = |reading: &Reading| {
        let passed = reading.at.since(recording.began).as_millis().saturating_sub(1);
        usize::try_from(passed * number as u128 / all).unwrap_or(0).min(number - 1)
    };
    let mut heaps: BTreeMap<&KpiName, Vec<Heap>> = BTreeMap::new();
    for name in recording.plan.kpis.keys() {
        heaps.insert(name, (0..number).map(|_| Heap::default()).collect());
    }
    for reading in &recording.readings {
        for (name, said) in &reading.kpis {
            let Some(heap) = heaps.get_mut(name).map(|heaps| &mut heaps[place(reading)]) else { continue };
            match said {
                Said::Events(split) => {
                    heap.canary.add(split.canary);
                    heap.baseline.add(split.baseline);
                }
                Said::Numbers { canary, baseline } => {
                    heap.numbers = Some((canary.value(), baseline.map(|baseline| baseline.value())));
                }
                Said::Nothing(_) => {}
            }
        }
    }
    let ends = |index: usize| {
        let millis = u64::try_from(all * (index as u128 + 1) / number as u128).unwrap_or(u64::MAX);
        recording.began + Duration::from_millis(millis)
    };
    let piece = |(index, heap): (usize, &Heap)| {
        let (canary, baseline) = match heap.numbers {
            Some((canary, baseline)) => (Some(canary), baseline),
            None => (heap.canary.part(), heap.baseline.part()),
        };
        Piece { at: ends(index), canary, baseline }
    };
    heaps
        .into_iter()
        .map(|(name, heaps)| (name.clone(), heaps.iter().enumerate().map(piece).collect()))
        .collect()
}

/// Says what traffic like that of the recording can show, by its errors.
fn power(recording: &Recording, lasted: Duration) -> Vec<String> {
    let name: Result<KpiName, _> = "errors".parse();
    let Some((name, kpi)) = name.ok().and_then(|name| recording.plan.kpis.get_key_value(&name)) else {
        return Vec::new();
    };
    let (mut canary, mut baseline) = (Side::default(), Side::default());
    for reading in &recording.readings {
        if let Some(Said::Events(split)) = reading.kpis.get(name) {
            canary.add(split.canary);
            baseline.add(split.baseline);
        }
    }
    let (all, seconds) = ((canary.of + baseline.of) as f64, lasted.as_secs_f64());
    let Some(part) = baseline.part().filter(|part| *part > 0.0 && seconds >= 1.0 && canary.of > 0) else {
        return Vec::new();
    };
    let share = Share::from_millionths((canary.of as f64 / all * 1e6).round() as u32);
    let traffic = Traffic { requests_per_second: all / seconds, part };
    let error = recording.plan.budget() * recording.plan.part_of_budget(kpi);
    power::statement(traffic, rounded(share), lasted.max(Duration::from_secs(60)), error)
}

/// Rounds a share to a tenth of a percent, for a sentence.
fn rounded(share: Share) -> Share {
    Share::from_millionths(((share.millionths() + 500) / 1_000).max(1) * 1_000)
}

/// Writes at most three digits that say something.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 9);
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Writes a p-value; below a ten-thousandth its digits say nothing more to anybody.
fn p_value(value: f64) -> String {
    if value < 0.0001 { "<0.0001".to_owned() } else { number(value) }
}

#[cfg(test)]
pub(crate) mod tests;
