//! What a release is held against once it has all requests: nothing answers beside it any more, so it is held against what was before.
//!
//! Invariants: limits come from what the old release did, and from what the new one did as long as that was proved not to be worse, and
//! never move; they leave room for what chance hid in few requests, and for what changes over a day, so this watch finds what is plainly
//! worse, and less of it than a judge with two versions finds. A shared incident is told from a bad release only by how long it lasts:
//! fourteen looks in a row beyond a limit are needed at the least.

use std::collections::BTreeMap;
use std::time::Duration;

use super::judge::{Counted, Judge, Standing, Watch};
use super::kpi::{Bound, Kpi, Measure, Plan, Silence, Then};
use super::reading::{KpiName, Number, Said, Side};
use crate::traffic::Share;

/// How long one look is.
pub const LOOK: Duration = Duration::from_secs(5);
/// How many times as often as before something may happen.
const TIMES: f64 = 2.0;
/// What may happen besides, as a part of all: what never happened before may happen once in a thousand.
const ROOM: f64 = 0.001;
/// How many standard errors more than was seen something may have happened before: two are exceeded by chance in one of forty pasts.
const STANDARD_ERRORS: f64 = 2.0;
/// For how long nothing need be heard. What is silent says nothing then, good or bad.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns what judges a release by its own past and by the one before it: by what a judge of both has heard, and by what was heard of
/// the old one, as a baseline, before that judge began. Nothing when there is nothing by which it can be looked at alone.
pub fn afterwards(past: &Judge, before: &BTreeMap<KpiName, Said>) -> Option<Plan> {
    let is_proved = past.standing(past.latest()) == Standing::NotWorse;
    let kpis = past.watches().iter().filter_map(|(name, watch)| {
        let measure = Measure::Number(bound(watch, before.get(name), is_proved)?);
        let silence = Silence { patience: PATIENCE, then: Then::GoOn };
        Some((name.clone(), Kpi { weight: watch.kpi.weight, measure, silence, warm_up: Duration::ZERO }))
    });
    let plan = Plan { kpis: kpis.collect(), ..past.plan().clone().after() };
    (!plan.kpis.is_empty()).then_some(plan)
}

fn bound(watch: &Watch, before: Option<&Said>, is_proved: bool) -> Option<Bound> {
    let limit = match (&watch.kpi.measure, &watch.counted) {
        (Measure::Events(tolerance), Counted::Events(events)) => {
            let (mut past, canary) = events.sides();
            if let Some(Said::Events(before)) = before {
                past.add(before.baseline);
            }
            if is_proved {
                past.add(canary);
            }
            let above = tolerance.worse_above.map(Share::part);
            let factor = tolerance.worse_than.map_or(1.0, |factor| factor.value().max(1.0));
            let twice = at_most(past).map(|part| (TIMES * factor * part + ROOM, part));
            match (twice, above) {
                // What happens to half of all requests cannot happen twice as often: there it is half of the way to all of them.
                (Some((twice, part)), above) => twice.max(above.unwrap_or_default()).min(part.midpoint(1.0)),
                (None, above) => above?,
            }
        }
        (Measure::Number(bound), Counted::Numbers(numbers)) => {
            let baseline = match (numbers.latest(), before) {
                (Some((_, baseline)), _) => baseline,
                (None, Some(Said::Numbers { baseline, .. })) => *baseline,
                (None, _) => None,
            };
            let limit = numbers.limit(baseline)?;
            match (bound.worse_than, bound.is_low_bad) {
                // A person said where it ends; the old release's number would move with the hours.
                (None, _) => limit,
                (Some(_), true) => limit.min(baseline?.value() / TIMES),
                (Some(_), false) => limit.max(baseline?.value() * TIMES),
            }
        }
        _ => return None,
    };
    let is_low_bad = matches!(&watch.kpi.measure, Measure::Number(bound) if bound.is_low_bad);
    let is_part = matches!(watch.kpi.measure, Measure::Events(_));
    Some(Bound { worse_than: None, limit: Some(Number::new(limit)?), is_low_bad, is_part })
}

/// Returns how large a part it may have been to which something happened; nothing without requests.
/// Source: the upper end of the score interval, Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22,
/// 1927.
fn at_most(side: Side) -> Option<f64> {
    let (part, of) = (side.part()?, side.of as f64);
    let squared = STANDARD_ERRORS * STANDARD_ERRORS;
    let spread = libm::sqrt(part * (1.0 - part) / of + squared / (4.0 * of * of));
    Some((part + squared / (2.0 * of) + STANDARD_ERRORS * spread) / (1.0 + squared / of))
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Reading, Said, Side, Split};
    use super::super::{Drawn, Standing};
    use super::*;
    use crate::moment::Moment;

    /// A look at errors of both versions, so many of a hundred requests each.
    fn both(second: u64, errors: u64) -> Reading {
        let side = Side { of: 100, events: errors };
        let split = Split { canary: side, baseline: side, causes: None, busiest: None };
        Reading {
            at: Moment::from_millis(second * 1000),
            over: Duration::from_secs(1),
            share: None,
            kpis: [("errors".parse().unwrap(), Said::Events(split))].into(),
        }
    }

    fn alone(second: u64, part: f64) -> Reading {
        let canary = Number::new(part).unwrap();
        let kpis = [("errors".parse().unwrap(), Said::Numbers { canary, baseline: None })].into();
        Reading { at: Moment::from_millis(second * 1000), over: LOOK, share: None, kpis }
    }

    /// The standing after five minutes in which such a part failed.
    fn found(plan: &Plan, part: f64) -> Standing {
        let mut judge = Judge::new(plan.clone(), Moment::default()).unwrap();
        let heard = (1..=60).map(|look| judge.hear(&alone(look * 5, part)).unwrap());
        heard.last().expect("it heard something")
    }

    #[test]
    fn what_fails_more_than_twice_as_often_as_before_is_worse_and_what_fails_as_before_is_not() {
        let mut past = Judge::new(Plan::of_requests(Drawn::Request), Moment::default()).unwrap();
        for second in 1..=100 {
            past.hear(&both(second, 1)).unwrap();
        }
        let plan = afterwards(&past, &BTreeMap::new()).expect("errors were counted");
        plan.check().expect("one can judge by it");
        assert_eq!(
            plan.kpis.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["errors"],
            "no latency was heard"
        );
        assert_eq!(found(&plan, 0.01), Standing::NotWorse);
        assert_eq!(found(&plan, 0.02), Standing::NotWorse, "twice as often is what may be");
        assert_eq!(found(&plan, 0.03), Standing::Worse);
    }

    #[test]
    fn one_that_came_at_once_is_held_against_the_old_one_alone() {
        let mut past = Judge::new(Plan::of_requests(Drawn::Request), Moment::default()).unwrap();
        let old = Side { of: 10_000, events: 100 };
        let of_old = Split { canary: Side::default(), baseline: old, causes: None, busiest: None };
        let before = [("errors".parse().unwrap(), Said::Events(of_old))].into();
        // A few of the old one's last requests, and the new one fails a third of its own.
        let split = Split {
            canary: Side { of: 300, events: 100 },
            baseline: Side { of: 3, events: 0 },
            causes: None,
            busiest: None,
        };
        past.hear(&Reading { kpis: [("errors".parse().unwrap(), Said::Events(split))].into(), ..both(1, 0) })
            .unwrap();
        let plan = afterwards(&past, &before).expect("the old one was counted");
        assert_eq!(found(&plan, 0.02), Standing::NotWorse);
        assert_eq!(found(&plan, 0.33), Standing::Worse, "it is not held against itself");
    }

    #[test]
    fn few_requests_before_leave_room_for_what_they_hid() {
        let side = |of| at_most(Side { of, events: 0 }).expect("there were requests");
        assert!((side(100) - 0.038).abs() < 0.001, "{}", side(100));
        assert!(side(10_000) < 0.001);
        let half = at_most(Side { of: 100, events: 50 }).expect("there were requests");
        assert!((half - 0.598).abs() < 0.001, "{half}");
        assert_eq!(at_most(Side::default()), None);
    }

    #[test]
    fn what_was_never_heard_of_cannot_be_watched() {
        let past = Judge::new(Plan::of_requests(Drawn::Request), Moment::default()).unwrap();
        assert_eq!(afterwards(&past, &BTreeMap::new()), None);
    }
}
