//! What a release is held against once it has all requests: nothing answers beside it any more, so it is held against what was before.
//!
//! Invariants: limits come from what was measured while both answered, and never move; they leave room for what changes over a day, so
//! this watch finds what is plainly worse, and less of it than a judge with two versions finds. A shared incident is told from a bad
//! release only by how long it lasts: eleven looks in a row beyond a limit are needed at the least.

use std::time::Duration;

use super::judge::{Counted, Judge};
use super::kpi::{Bound, Kpi, Measure, Plan, Silence, Then};
use super::reading::Number;

/// How long one look is.
pub const LOOK: Duration = Duration::from_secs(5);
/// How many times as often as before something may happen.
const TIMES: f64 = 2.0;
/// What may happen besides, as a part of all: what never happened before may happen once in a thousand.
const ROOM: f64 = 0.001;
/// For how long nothing need be heard. What is silent says nothing then, good or bad.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns what judges a release by its own past and by the one before it, from what a judge of both has heard; nothing when that has
/// heard of nothing that can be looked at alone.
pub fn afterwards(past: &Judge) -> Option<Plan> {
    let kpis = past.watches().iter().filter_map(|(name, watch)| {
        let measure = Measure::Number(bound(&watch.kpi, &watch.counted)?);
        let silence = Silence { patience: PATIENCE, then: Then::GoOn };
        Some((name.clone(), Kpi { weight: watch.kpi.weight, measure, silence, warm_up: Duration::ZERO }))
    });
    let plan = Plan { kpis: kpis.collect(), ..past.plan().clone() };
    (!plan.kpis.is_empty()).then_some(plan)
}

fn bound(kpi: &Kpi, counted: &Counted) -> Option<Bound> {
    let limit = match (&kpi.measure, counted) {
        (Measure::Events(tolerance), Counted::Events(events)) => {
            let (mut all, canary) = events.sides();
            all.add(canary);
            let part = all.part()?;
            let factor = tolerance.worse_than.map_or(1.0, |factor| factor.value().max(1.0));
            let twice = TIMES * factor * part + ROOM;
            let above = tolerance.worse_above.map_or(0.0, |share| f64::from(share.millionths()) / 1e6);
            // What happens to half of all requests cannot happen twice as often: there it is half of the way to all of them.
            twice.max(above).min(part.midpoint(1.0))
        }
        (Measure::Number(bound), Counted::Numbers(numbers)) => {
            let (canary, baseline) = numbers.latest()?;
            let limit = numbers.limit(baseline)?;
            // The old release is gone: what the new one had itself is as good a measure as that one's number was.
            match bound.is_low_bad {
                true => limit.min(canary.value() / TIMES),
                false => limit.max(canary.value() * TIMES),
            }
        }
        _ => return None,
    };
    let is_low_bad = matches!(&kpi.measure, Measure::Number(bound) if bound.is_low_bad);
    Some(Bound { worse_than: None, limit: Some(Number::new(limit)?), is_low_bad })
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

    #[test]
    fn what_fails_more_than_twice_as_often_as_before_is_worse_and_what_fails_as_before_is_not() {
        let mut past = Judge::new(Plan::of_requests(Drawn::Request), Moment::default()).unwrap();
        for second in 1..=10 {
            past.hear(&both(second, 1)).unwrap();
        }
        let plan = afterwards(&past).expect("errors were counted");
        plan.check().expect("one can judge by it");
        assert_eq!(
            plan.kpis.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["errors"],
            "no latency was heard"
        );
        let found = |part: f64| {
            let mut judge = Judge::new(plan.clone(), Moment::default()).unwrap();
            let heard = (1..=60).map(|look| judge.hear(&alone(look * 5, part)).unwrap());
            heard.last().expect("it heard something")
        };
        assert_eq!(found(0.01), Standing::NotWorse);
        assert_eq!(found(0.02), Standing::NotWorse, "twice as often is what may be");
        assert_eq!(found(0.03), Standing::Worse);
    }

    #[test]
    fn what_was_never_heard_of_cannot_be_watched() {
        let past = Judge::new(Plan::of_requests(Drawn::Request), Moment::default()).unwrap();
        assert_eq!(afterwards(&past), None);
    }
}
