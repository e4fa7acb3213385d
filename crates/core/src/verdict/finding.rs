//! What the judge says: not worse, worse, or unknown with what is missing, and for each KPI what it rests on.
//!
//! Invariants: a pure function of the judge and the moment; the same words for the command line, the pages and the notifications.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::curve::Point;
use super::events::Events;
use super::evidence::{Evidence, ln};
use super::interval::Interval;
use super::judge::{Counted, Judge, Standing, Watch};
use super::kpi::{Counting, Then};
use super::power::divergence;
use super::reading::{KpiName, Number, Side};
use super::share::canarys;
use super::words;
use crate::moment::Moment;
use crate::release::duration_millis;

/// How sure an interval for people is.
pub const INTERVAL_ERROR: f64 = 0.05;

/// A verdict on one release, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Of which moment it is.
    pub at: Moment,
    /// What was found.
    pub finding: Finding,
    /// The sentence that decided, or why nothing is decided.
    pub sentence: String,
    /// The sum of all KPIs' evidence that the release is worse, and what is enough.
    pub evidence: Evidence,
    /// See there.
    pub enough: Evidence,
    /// What it rests on.
    pub kpis: BTreeMap<KpiName, KpiVerdict>,
}

impl Verdict {
    /// Tells whether nothing is heard of a KPI although the verdict waits for it.
    pub fn is_any_silent(&self) -> bool {
        let Finding::Unknown(lacks) = &self.finding else { return false };
        lacks.values().any(|lack| matches!(lack, Lack::Silent { .. }))
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Proved not to be worse, by every KPI.
    NotWorse,
    /// Proved to be worse.
    Worse {
        /// By this KPI.
        kpi: KpiName,
        /// Since when that is known.
        since: Moment,
    },
    /// Neither: what is missing, by KPI.
    Unknown(BTreeMap<KpiName, Lack>),
}

/// What is missing before a KPI is proved not to be worse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// Nothing is heard of it.
    Silent {
        /// Since when; nothing when it never was.
        since: Option<Moment>,
        /// Why, where the source said so.
        because: Option<String>,
    },
    /// More of the canary's requests, if it is as good as the baseline.
    Requests {
        /// About how many.
        about: u64,
        /// How long that takes as it goes now; nothing while there is no traffic.
        #[serde(with = "optional_millis")]
        time: Option<Duration>,
    },
    /// Something to compare: it never happened on either version, and no part is said below which it is fine.
    Comparison,
    /// More looks at a number.
    Looks(u64),
}

/// What one KPI says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KpiVerdict {
    /// What stands.
    pub standing: KpiStanding,
    /// In words.
    pub sentence: String,
    /// What it rests on.
    pub basis: Basis,
    /// The evidence that it is worse, and that it is not, by now.
    pub worse: Evidence,
    /// See there.
    pub not_worse: Evidence,
    /// Its anytime p-value: 1 by the most evidence so far.
    pub p_value: f64,
    /// How the evidence went.
    pub curve: Vec<Point>,
}

/// What stands of one KPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KpiStanding {
    /// Proved not to be worse.
    NotWorse,
    /// It alone would be enough to call the release worse, or it was what decided.
    Worse,
    /// Neither.
    Unknown,
    /// Nothing is heard of it.
    Silent,
}

/// What a KPI's verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Events.
    Events {
        /// What came to the canary.
        canary: Side,
        /// What came to the baseline.
        baseline: Side,
        /// How many times as often it happens on the canary: right with 95 %, however often one looks.
        ratio: Option<Interval>,
        /// What was one fact.
        counting: Option<Counting>,
        /// Whether a few keys carry most of the traffic.
        concentrated: bool,
        /// The evidence of the sign test, which is right also where one cause has many events.
        second_opinion: Evidence,
    },
    /// A number.
    Numbers {
        /// The canary's latest.
        canary: Option<Number>,
        /// The baseline's.
        baseline: Option<Number>,
        /// How many looks there were.
        looks: u64,
    },
}

impl Judge {
    /// Returns the verdict of this moment, which may be later than the last reading.
    pub fn verdict(&self, now: Moment) -> Verdict {
        let kpis: BTreeMap<_, _> = self
            .watches()
            .iter()
            .map(|(name, watch)| (name.clone(), self.of_kpi(name, watch, now)))
            .collect();
        let finding = self.finding(now);
        Verdict {
            at: now,
            sentence: words::verdict(&finding, &kpis, self.plan()),
            finding,
            evidence: self.evidence(),
            enough: self.enough_for_worse(),
            kpis,
        }
    }

    fn finding(&self, now: Moment) -> Finding {
        match (self.standing(now), self.decided(now)) {
            (Standing::NotWorse, _) => Finding::NotWorse,
            (Standing::Worse, Some(decided)) => Finding::Worse { kpi: decided.kpi, since: decided.at },
            (Standing::Worse | Standing::Unknown, _) => {
                let lack = |(name, watch): (&KpiName, &Watch)| Some((name.clone(), self.lack(watch, now)?));
                Finding::Unknown(self.watches().iter().filter_map(lack).collect())
            }
        }
    }

    fn of_kpi(&self, name: &KpiName, watch: &Watch, now: Moment) -> KpiVerdict {
        let decided = self.decided(now).filter(|decided| decided.kpi == *name);
        let standing = match (decided, self.is_silent(watch, now)) {
            (Some(_), _) => KpiStanding::Worse,
            (None, true) => KpiStanding::Silent,
            (None, false) if self.is_proved(watch) => KpiStanding::NotWorse,
            (None, false) => KpiStanding::Unknown,
        };
        let basis = basis(watch);
        let lack = self.lack(watch, now);
        KpiVerdict {
            standing,
            sentence: words::kpi(name, &watch.kpi, standing, &basis, lack.as_ref()),
            basis,
            worse: watch.worse,
            not_worse: watch.not_worse,
            p_value: watch.worse_most.p_value(),
            curve: watch.curve.points(),
        }
    }

    /// Returns what a KPI still needs; nothing when it is proved, or goes on without being heard.
    fn lack(&self, watch: &Watch, now: Moment) -> Option<Lack> {
        if self.is_silent(watch, now) {
            let silent = Lack::Silent { since: watch.heard, because: watch.trouble.clone() };
            return (watch.kpi.silence.then != Then::GoOn).then_some(silent);
        }
        if self.is_proved(watch) {
            return None;
        }
        let enough = self.enough_for_not_worse().ln();
        let missing = (enough - watch.not_worse.ln()).max(0.0);
        Some(match &watch.counted {
            // Bets that are not the best one are paid for on the way, in all about ln 8.
            Counted::Events(events) => requests(events, missing * (1.0 + ln(8.0) / enough), self.lasted()),
            Counted::Numbers(_) => Lack::Looks(libm::ceil(missing / ln(1.9)).max(1.0) as u64),
        })
    }
}

fn basis(watch: &Watch) -> Basis {
    match &watch.counted {
        Counted::Events(events) => {
            let (canary, baseline) = events.sides();
            let is_compared = events.tolerance().worse_than.is_some();
            Basis::Events {
                canary,
                baseline,
                ratio: is_compared.then(|| events.shares().interval(INTERVAL_ERROR)).flatten(),
                counting: events.counting(),
                concentrated: events.is_concentrated(),
                second_opinion: events.second_opinion(),
            }
        }
        Counted::Numbers(numbers) => {
            let latest = numbers.latest();
            let (canary, baseline) = (latest.map(|latest| latest.0), latest.and_then(|latest| latest.1));
            Basis::Numbers { canary, baseline, looks: numbers.looks() }
        }
    }
}

/// Returns about how many more requests of the canary give the missing evidence, if it is as good as the baseline.
///
/// By the way that needs fewer: the ratio, as fast as events come, or the part below which it is fine.
fn requests(events: &Events, missing: f64, lasted: Duration) -> Lack {
    let (canary, baseline) = events.sides();
    let all = (canary.of + baseline.of) as f64;
    let share = if all > 0.0 { canary.of as f64 / all } else { 0.0 };
    let part = baseline.part().or(canary.part()).unwrap_or(0.0);
    let by_ratio = match events.tolerance().worse_than {
        Some(_) if share > 0.0 && share < 1.0 => {
            let (same, null) =
                (canarys(1.0, share), canarys(events.tolerance().not_worse_than.value(), share));
            part * divergence(same, same, null) / share
        }
        _ => 0.0,
    };
    let tolerance = events.tolerance();
    let absolute = tolerance.worse_above.filter(|_| tolerance.worse_than.is_none());
    let by_part = tolerance.fine_below.or(absolute).map_or(0.0, |limit| {
        let limit = limit.part();
        // A block of two events' worth of requests multiplies the bet by 1.9 at most.
        let gain = if events.is_concentrated() { limit * ln(1.9) / 2.0 } else { -ln(1.0 - limit) };
        if part < limit { gain } else { 0.0 }
    });
    let gain = by_ratio.max(by_part);
    if gain <= 0.0 {
        return Lack::Comparison;
    }
    let about = libm::ceil(missing / gain).max(1.0);
    let rate = canary.of as f64 / lasted.as_secs_f64().max(1.0);
    let time = (canary.of > 0).then(|| Duration::from_secs_f64((about / rate).min(1e9)));
    Lack::Requests { about: about as u64, time }
}

mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::duration_millis;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Millis(#[serde(with = "duration_millis")] Duration);

    /// Writes a duration as its milliseconds, or nothing.
    pub fn serialize<S: Serializer>(length: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        length.map(Millis).serialize(serializer)
    }

    /// Reads a duration from its milliseconds, or nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Millis>::deserialize(deserializer)?.map(|Millis(length)| length))
    }
}
