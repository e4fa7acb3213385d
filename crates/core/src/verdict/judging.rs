//! How a rollout is judged: the plan, where each KPI comes from, and what happens when nobody knows. It travels with the rollout.
//!
//! Invariants: a judging that was checked has a source for each KPI and a KPI for each source, and each source can say what its KPI
//! measures; it is small enough to stand in a record.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cause::Drawn;
use super::kpi::{Impossible, Measure, Plan};
use super::reading::KpiName;
use super::source::Source;
use crate::release::duration_millis;

/// The most KPIs that one app has.
pub const KPIS_MAX: usize = 32;
/// For how long an unknown release is held, when nobody says.
const UNKNOWN_MAX: Duration = Duration::from_secs(2 * 3600);
/// For how long a promoted release is watched on, when nobody says.
const AFTER: Duration = Duration::from_secs(10 * 60);
/// The most bytes that all sources have together, as they are written.
const SOURCES_BYTES_MAX: usize = 64 * 1024;

/// How a rollout is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judging {
    /// What is judged, and how surely.
    pub plan: Plan,
    /// Where each KPI comes from.
    pub sources: BTreeMap<KpiName, Source>,
    /// What happens when neither "worse" nor "not worse" is proved by the end.
    pub on_unknown: OnUnknown,
    /// For how long it is held then before it is rolled back.
    #[serde(with = "duration_millis")]
    pub unknown_max: Duration,
    /// For how long the new release is watched on once it has all requests. Zero: not at all.
    #[serde(with = "duration_millis")]
    pub after: Duration,
}

/// What happens to a release of which nobody knows whether it is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// It is held, and a person is asked; it goes back when nobody answers in time.
    #[default]
    Hold,
    /// It goes on.
    Promote,
    /// It goes back.
    Rollback,
}

impl Judging {
    /// Returns what judges unless somebody says otherwise: the KPIs of requests ([`Plan::of_requests`]), told by the routers; who is
    /// unknown is held for two hours, and who was promoted is watched for ten more minutes.
    pub fn of_requests(drawn: Drawn) -> Self {
        let plan = Plan::of_requests(drawn);
        let sources = plan.kpis.keys().map(|name| (name.clone(), Source::Router)).collect();
        Self { plan, sources, on_unknown: OnUnknown::default(), unknown_max: UNKNOWN_MAX, after: AFTER }
    }

    /// Returns what is left of it where no router counts the app's requests; nothing when that is nothing.
    pub fn without_routers(mut self) -> Option<Self> {
        self.sources.retain(|_, source| *source != Source::Router);
        self.plan.kpis.retain(|name, _| self.sources.contains_key(name));
        (!self.sources.is_empty()).then_some(self)
    }

    /// Tells whether one can judge by it.
    pub fn check(&self) -> Result<(), Impossible> {
        self.plan.check()?;
        if self.plan.kpis.len() > KPIS_MAX {
            return Err(Impossible(format!("there are more than {KPIS_MAX} KPIs")));
        }
        for (name, kpi) in &self.plan.kpis {
            let Some(source) = self.sources.get(name) else {
                return Err(Impossible(format!("KPI `{name}`: it has no source; nobody would tell of it")));
            };
            if let Some(why) = source.fault(name).or_else(|| misfit(source, &kpi.measure)) {
                return Err(Impossible(format!("KPI `{name}`: {why}")));
            }
        }
        if let Some(name) = self.sources.keys().find(|name| !self.plan.kpis.contains_key(*name)) {
            return Err(Impossible(format!("KPI `{name}`: it has a source and no tolerance")));
        }
        let bytes: usize = self.sources.values().map(bytes).sum();
        if bytes > SOURCES_BYTES_MAX {
            return Err(Impossible(format!(
                "all queries together have {bytes} bytes; at most {SOURCES_BYTES_MAX} are taken"
            )));
        }
        Ok(())
    }
}

/// Returns why a source cannot say what a KPI measures.
fn misfit(source: &Source, measure: &Measure) -> Option<String> {
    match (measure, source.says_events()) {
        (Measure::Events(_), Some(false)) => {
            Some("it judges how often something happens, and its source says a number".to_owned())
        }
        (Measure::Number(_), Some(true)) => {
            Some("it judges a number, and its source says how often something happens".to_owned())
        }
        (Measure::Number(bound), _) if bound.limit.is_none() && !source.knows_the_baseline() => {
            Some("`worse_than` compares with the baseline, and its source says nothing of it".to_owned())
        }
        _ => None,
    }
}

fn bytes(source: &Source) -> usize {
    match source {
        Source::Router | Source::Service { .. } => 0,
        Source::Prometheus(it) => it.url.len() + it.ask.texts().map(str::len).sum::<usize>(),
        Source::Http(it) => it.url.len() + it.ask.texts().map(str::len).sum::<usize>(),
        Source::Command(it) => it.name.len() + it.arguments.iter().map(String::len).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kpi::{Bound, Factor, Kpi, Silence, Then};
    use super::super::source::{Asked, OfService, Prometheus};
    use super::*;

    fn with(name: &str, measure: Measure, source: Source) -> Judging {
        let mut judging = Judging::of_requests(Drawn::Request);
        let name: KpiName = name.parse().unwrap();
        let silence = Silence { patience: Duration::from_secs(30), then: Then::Unknown };
        judging.plan.kpis.insert(name.clone(), Kpi { weight: 1, measure, silence, warm_up: Duration::ZERO });
        judging.sources.insert(name, source);
        judging
    }

    fn bound() -> Bound {
        Bound { worse_than: Some(Factor::ONE), limit: None, is_low_bad: false, is_part: false }
    }

    fn fault(judging: &Judging) -> String {
        judging.check().expect_err("it cannot be judged by").to_string()
    }

    #[test]
    fn what_judges_by_itself_can_be_judged_by() {
        assert_eq!(Judging::of_requests(Drawn::Client).check(), Ok(()));
        let restarts = Source::Service { what: OfService::Restarts };
        let with_restarts = with("restarts", Measure::Number(bound()), restarts);
        assert_eq!(with_restarts.check(), Ok(()));
        assert_eq!(Judging::of_requests(Drawn::Client).without_routers(), None);
        let alone = with_restarts.without_routers().expect("restarts are told by agents");
        assert_eq!((alone.plan.kpis.len(), alone.check()), (1, Ok(())));
    }

    #[test]
    fn a_source_that_cannot_say_what_its_kpi_measures_is_refused() {
        let number = |baseline: Option<&str>| {
            let ask = Asked::Number { canary: "age".to_owned(), baseline: baseline.map(str::to_owned) };
            Source::Prometheus(Prometheus { url: "http://localhost:9090".to_owned(), ask, token: None })
        };
        let age = |source| with("age", Measure::Number(bound()), source);
        assert_eq!(age(number(Some("age"))).check(), Ok(()));
        assert!(fault(&age(number(None))).contains("`age`: `worse_than` compares with the baseline"));
        assert!(
            fault(&with("errors", Measure::Number(bound()), Source::Router)).contains("it judges a number")
        );
        let events = Plan::of_requests(Drawn::Request).kpis.into_values().next().unwrap().measure;
        assert!(fault(&with("age", events, number(None))).contains("its source says a number"));
        let mut torn = Judging::of_requests(Drawn::Request);
        torn.sources.remove(&"errors".parse().unwrap());
        assert!(fault(&torn).contains("`errors`: it has no source"));
        let mut torn = Judging::of_requests(Drawn::Request);
        torn.plan.kpis.remove(&"errors".parse().unwrap());
        assert!(fault(&torn).contains("`errors`: it has a source and no tolerance"));
    }
}
