//! What agents tell of the services of both versions, as numbers.
//!
//! Invariant: of services that no agent tells of nothing is said.

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::name::TargetName;
use footplate_core::usage::Summary;
use footplate_core::verdict::afterwards::LOOK;
use footplate_core::verdict::source::OfService;
use footplate_core::verdict::{KpiName, Number, Said, Source};

use super::Subject;
use crate::controller::Shared;

/// Over which while it is looked at how memory grows.
const SLOPE_OVER: Duration = Duration::from_secs(60);
/// Over which while restarts are counted: each is in a few looks, so that one alone proves nothing.
const RESTARTS_OVER: Duration = Duration::from_secs(20);

/// Looks at what agents tell, as often as they tell it.
#[derive(Default)]
pub(super) struct Used {
    at: Option<Moment>,
}

/// The numbers of one KPI.
struct Numbers {
    name: KpiName,
    canary: Option<Number>,
    baseline: Option<Number>,
}

impl Used {
    /// Says what agents see of both versions; nothing when it is not yet time to look again.
    pub(super) fn look(
        &mut self,
        shared: &Shared,
        subject: &Subject,
        now: Moment,
    ) -> BTreeMap<KpiName, Said> {
        let said = |numbers: Numbers| match numbers.canary {
            Some(canary) => (numbers.name, Said::Numbers { canary, baseline: numbers.baseline }),
            None => (numbers.name, Said::Nothing("no agent tells of its services yet".to_owned())),
        };
        self.numbers(shared, subject, now).into_iter().map(said).collect()
    }

    /// Says what agents see of the old release as long as there is no other.
    pub(super) fn of_baseline(
        &mut self,
        shared: &Shared,
        subject: &Subject,
        now: Moment,
    ) -> BTreeMap<KpiName, Said> {
        let said = |numbers: Numbers| {
            let baseline = numbers.baseline?;
            Some((numbers.name, Said::Numbers { canary: baseline, baseline: Some(baseline) }))
        };
        self.numbers(shared, subject, now).into_iter().filter_map(said).collect()
    }

    fn numbers(&mut self, shared: &Shared, subject: &Subject, now: Moment) -> Vec<Numbers> {
        let asked = |(name, source): (&KpiName, &Source)| match source {
            Source::Service { what } => Some((name.clone(), *what)),
            _ => None,
        };
        let asked: Vec<(KpiName, OfService)> = subject.judging.sources.iter().filter_map(asked).collect();
        if asked.is_empty() || self.at.is_some_and(|at| now.since(at) < LOOK) {
            return Vec::new();
        }
        self.at = Some(now);
        let numbers = |(name, what)| {
            let over = match what {
                OfService::Restarts => RESTARTS_OVER,
                OfService::MemorySlope => SLOPE_OVER,
            };
            let told = shared.told.services(&subject.path, over);
            let of = |is_canary: bool| {
                let told = subject.from.iter().filter_map(|(group, from)| {
                    let target = TargetName { path: subject.path.clone(), group: group.clone() };
                    told.get(&target)?.get(if is_canary { &subject.to } else { from })
                });
                number(what, &told.collect::<Vec<_>>())
            };
            Numbers { name, canary: of(true), baseline: of(false) }
        };
        asked.into_iter().map(numbers).collect()
    }
}

/// Returns what agents told of the services of one version, as one number; nothing where they told nothing.
fn number(what: OfService, of: &[&Summary]) -> Option<Number> {
    let (mut services, mut sum) = (0, 0.0);
    for summary in of.iter().filter(|summary| summary.services > 0) {
        sum += match what {
            OfService::Restarts => summary.restarts as f64,
            OfService::MemorySlope => summary.slope? * summary.services as f64,
        };
        services += summary.services;
    }
    (services > 0).then(|| Number::new(sum / services as f64)).flatten()
}
