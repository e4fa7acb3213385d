//! Verdicts in words: one sentence for each, the same wherever it is shown.
//!
//! Invariant: every number in a sentence stands in the verdict as well.

use std::collections::BTreeMap;

use super::finding::{Basis, Finding, KpiStanding, KpiVerdict, Lack};
use super::interval::Interval;
use super::kpi::{Bound, Counting, Kpi, Measure, Plan};
use super::power::number;
use super::reading::{KpiName, Side};
use crate::moment::in_words;

/// Says what was found and why.
pub fn verdict(finding: &Finding, kpis: &BTreeMap<KpiName, KpiVerdict>, plan: &Plan) -> String {
    match finding {
        Finding::NotWorse => format!(
            "not worse: proved for {}; a release that is as bad as what was excluded passes at most {} of the time",
            list(kpis.iter().filter(|(_, kpi)| kpi.standing == KpiStanding::NotWorse).map(|(name, _)| name)),
            plan.false_promotion
        ),
        Finding::Worse { kpi, .. } => format!(
            "worse: {}; a release that is not worse is called worse in at most {} of deployments",
            kpis.get(kpi).map_or_else(|| kpi.to_string(), |kpi| kpi.sentence.clone()),
            plan.false_rollback
        ),
        Finding::Unknown(lacks) => {
            let said: Vec<String> =
                lacks.iter().map(|(name, lack)| format!("`{name}` {}", missing(lack))).collect();
            format!("unknown: {}", said.join("; "))
        }
    }
}

/// Says how one KPI stands.
pub fn kpi(name: &KpiName, kpi: &Kpi, standing: KpiStanding, basis: &Basis, lack: Option<&Lack>) -> String {
    let seen = match basis {
        Basis::Events { canary, baseline, ratio, counting, concentrated, .. } => {
            let fine = match (&kpi.measure, standing) {
                (Measure::Events(tolerance), KpiStanding::NotWorse) => tolerance.fine_below,
                _ => None,
            };
            let fine = fine.filter(|fine| {
                canary.part().is_some_and(|part| part < fine.part())
                    && ratio.and_then(|ratio| ratio.high).is_none_or(|high| high > 1.0)
            });
            let fine = fine.map_or(String::new(), |fine| format!(", and below {fine} is fine"));
            events(*canary, *baseline, *ratio, *counting, *concentrated) + &fine
        }
        Basis::Numbers { canary, baseline, looks } => {
            let Measure::Number(bound) = &kpi.measure else { return format!("`{name}`") };
            let value = |number: &Option<super::reading::Number>| {
                number.map_or_else(|| "unknown".to_owned(), |number| written(number.value(), bound))
            };
            let beside = match (bound.worse_than, baseline) {
                (None, None) => String::new(),
                _ => format!(" beside {}", value(baseline)),
            };
            format!("{}{beside}, {}, in {looks} looks", value(canary), limits(bound))
        }
    };
    let stands = match (standing, lack) {
        (KpiStanding::NotWorse, _) => "is not worse".to_owned(),
        (KpiStanding::Worse, Some(lack @ Lack::Silent { .. })) => format!("is worse: it {}", missing(lack)),
        (KpiStanding::Worse, _) => "is worse".to_owned(),
        (KpiStanding::Unknown | KpiStanding::Silent, Some(lack)) => missing(lack),
        (KpiStanding::Unknown, None) => "is unknown".to_owned(),
        (KpiStanding::Silent, None) => "is silent, and the verdict goes on without it".to_owned(),
    };
    format!("`{name}` {stands}: {seen}")
}

fn events(
    canary: Side,
    baseline: Side,
    ratio: Option<Interval>,
    counting: Option<Counting>,
    concentrated: bool,
) -> String {
    let side = |side: Side| {
        let part =
            side.part().map_or_else(|| "nothing".to_owned(), |part| format!("{}%", number(part * 100.0)));
        format!("{part} ({} of {})", side.events, side.of)
    };
    // What the interval is made of did not judge.
    let ratio = ratio.filter(|_| counting != Some(Counting::Windows));
    let times = ratio.map(|ratio| format!(", {} as often", interval(ratio))).unwrap_or_default();
    let by = match (concentrated, counting) {
        (true, Some(Counting::Windows)) => {
            "; a few clients carry most of the traffic, so the sign test judges"
        }
        (false, Some(Counting::Windows)) => "; no clients are known, so the sign test judges",
        _ => "",
    };
    format!("{} beside {}{times}{by}", side(canary), side(baseline))
}

fn interval(ratio: Interval) -> String {
    match (ratio.low > 0.0, ratio.high) {
        (true, Some(high)) => format!("{} to {} times", number(ratio.low), number(high)),
        (true, None) => format!("at least {} times", number(ratio.low)),
        (false, Some(high)) => format!("at most {} times", number(high)),
        (false, None) => "nobody knows how many times".to_owned(),
    }
}

/// Writes a number as people read it: a part of the requests as a percentage.
fn written(value: f64, bound: &Bound) -> String {
    match bound.is_part {
        true => format!("{}%", number(value * 100.0)),
        false => number(value),
    }
}

fn limits(bound: &Bound) -> String {
    let relative = bound.worse_than.map(|factor| format!("{factor} of the baseline"));
    let fixed = bound.limit.map(|limit| written(limit.value(), bound));
    let limits: Vec<String> = relative.into_iter().chain(fixed).collect();
    let side = if bound.is_low_bad { "at least" } else { "at most" };
    format!("{side} {}", limits.join(" or "))
}

fn missing(lack: &Lack) -> String {
    match lack {
        Lack::Silent { since, because } => {
            let because = because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            match since {
                Some(_) => format!("is silent{because}"),
                None => format!("has said nothing yet{because}"),
            }
        }
        Lack::Requests { about, time: Some(time) } => {
            format!("needs about {about} more requests of the canary, {} as it goes now", in_words(*time))
        }
        Lack::Requests { about, time: None } => {
            format!("needs about {about} requests of the canary, and there are none")
        }
        Lack::Comparison => {
            "has nothing to compare: it has not happened yet; `fine_below` says below which part it is fine"
                .to_owned()
        }
        Lack::Looks(looks) => format!("needs {looks} more looks at least"),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a KpiName>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.join(""),
    }
}
