//! What services use: how often each was started again, and its memory over the last minutes. It feeds KPIs of what answers no requests.
//!
//! Invariants: what is kept is bounded, whatever comes; a service that is not told of any more is not known, and never zero.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::name::{AppPath, ReleaseId, TargetName};
use crate::release::duration_millis;
use crate::traffic::counts::by_name;

/// How long is kept.
pub const KEPT: Duration = Duration::from_secs(600);
/// The most looks that are kept of one service.
pub const LOOKS_MAX: usize = 128;
/// The most services of one host.
pub const SERVICES_MAX: usize = 1_024;
/// How many looks a slope is drawn through, at least.
const SLOPE_LOOKS_MIN: usize = 4;

/// What the service of one release uses on one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// How often its process was started again so far.
    pub restarts: u64,
    /// Its memory in bytes, with all that it started: resident pages, a shared one for each who has it. Nothing while it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// What an agent tells of all services that are up on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageLook {
    /// When it looked, by its own clock.
    pub at: Moment,
    /// By process group (written `ENVIRONMENT.APP.GROUP`) and release.
    #[serde(default, with = "by_name")]
    pub services: BTreeMap<TargetName, BTreeMap<ReleaseId, Usage>>,
}

/// What is known of one host's services from its looks.
#[derive(Clone, Debug, Default)]
pub struct UsageHeard {
    latest: Moment,
    services: BTreeMap<TargetName, BTreeMap<ReleaseId, VecDeque<(Moment, Usage)>>>,
}

/// How one service did over a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// What it uses now.
    pub usage: Usage,
    /// How often it was started again in that while.
    pub restarts: u64,
    /// By how much its memory grows, in bytes a second, since it was started last; nothing with too few looks.
    pub slope: Option<f64>,
}

/// What the services of one release use on all hosts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many services that is.
    pub services: u64,
    /// How often all of them together were started again in that while.
    pub restarts: u64,
    /// The memory of one that runs, in bytes, on average.
    pub memory_bytes: Option<u64>,
    /// By how much that grows, in bytes a second, on average; nothing when too little is known.
    pub slope: Option<f64>,
    /// Over how long, in milliseconds.
    #[serde(with = "duration_millis")]
    pub over: Duration,
}

impl UsageHeard {
    /// Takes a look. What was told of a later moment, by a clock that was set back, is forgotten.
    pub fn hear(&mut self, look: UsageLook) {
        self.latest = look.at;
        let services = look.services.into_iter().flat_map(|(target, releases)| {
            releases.into_iter().map(move |(release, usage)| (target.clone(), release, usage))
        });
        for (target, release, usage) in services.take(SERVICES_MAX) {
            let looks = self.services.entry(target).or_default().entry(release).or_default();
            looks.retain(|(at, _)| *at < look.at);
            looks.push_back((look.at, usage));
        }
        for releases in self.services.values_mut() {
            for looks in releases.values_mut() {
                looks.retain(|(at, _)| *at + KEPT >= look.at && *at <= look.at);
                looks.drain(..looks.len().saturating_sub(LOOKS_MAX));
            }
            releases.retain(|_, looks| !looks.is_empty());
        }
        self.services.retain(|_, releases| !releases.is_empty());
        // Names that come and go must not fill the memory: whoever is not told of now goes first.
        if self.services.values().map(BTreeMap::len).sum::<usize>() > SERVICES_MAX {
            self.services.values_mut().for_each(|releases| releases.retain(|_, looks| is_of(looks, look.at)));
        }
    }

    /// Returns how the services of an app that were told of last did over the last `over`.
    pub fn trends(
        &self,
        path: &AppPath,
        over: Duration,
    ) -> impl Iterator<Item = (&TargetName, &ReleaseId, Trend)> {
        let of_app = self.services.iter().filter(move |(target, _)| target.path == *path);
        let all = of_app.flat_map(|(target, releases)| {
            releases.iter().map(move |(release, looks)| (target, release, looks))
        });
        all.filter(|(_, _, looks)| is_of(looks, self.latest)).filter_map(move |(target, release, looks)| {
            let from = |(at, _): &&(Moment, Usage)| *at + over >= self.latest;
            let lately: Vec<(Moment, Usage)> = looks.iter().filter(from).copied().collect();
            Some((target, release, trend(&lately)?))
        })
    }
}

fn is_of(looks: &VecDeque<(Moment, Usage)>, latest: Moment) -> bool {
    looks.back().is_some_and(|(at, _)| *at == latest)
}

fn trend(looks: &[(Moment, Usage)]) -> Option<Trend> {
    let ((_, first), (_, last)) = (looks.first()?, looks.last()?);
    // A service that was stopped and started anew counts from nothing.
    let restarts = last.restarts.checked_sub(first.restarts).unwrap_or(last.restarts);
    let of_this_life = looks.iter().filter(|(_, usage)| usage.restarts == last.restarts);
    let memory: Vec<(f64, f64)> =
        of_this_life.filter_map(|(at, usage)| Some((seconds(*at), usage.memory_bytes? as f64))).collect();
    Some(Trend { usage: *last, restarts, slope: slope(&memory) })
}

fn seconds(at: Moment) -> f64 {
    at.as_millis() as f64 / 1_000.0
}

/// Returns the slope of the line with the least squares of distances. Source: Legendre (1805).
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < SLOPE_LOOKS_MIN {
        return None;
    }
    let number = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / number;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let square: f64 = points.iter().map(|point| (point.0 - x) * (point.0 - x)).sum();
    (square > 0.0).then(|| both / square)
}

impl Summary {
    /// Adds up how services of one release did over a while.
    pub fn of(trends: &[Trend], over: Duration) -> Self {
        let memory: Vec<u64> = trends.iter().filter_map(|trend| trend.usage.memory_bytes).collect();
        let slopes: Vec<f64> = trends.iter().filter_map(|trend| trend.slope).collect();
        Summary {
            services: trends.len() as u64,
            restarts: trends.iter().map(|trend| trend.restarts).sum(),
            memory_bytes: memory.iter().sum::<u64>().checked_div(memory.len() as u64),
            slope: (!slopes.is_empty()).then(|| slopes.iter().sum::<f64>() / slopes.len() as f64),
            over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn look(second: u64, release: &str, restarts: u64, memory_bytes: Option<u64>) -> UsageLook {
        let usage = Usage { restarts, memory_bytes };
        let target = "production.shop.worker".parse().unwrap();
        let services = [(target, [(release.parse().unwrap(), usage)].into())].into();
        UsageLook { at: Moment::from_millis(second * 1_000), services }
    }

    fn path() -> AppPath {
        "production.shop.worker".parse::<TargetName>().unwrap().path
    }

    fn trends(heard: &UsageHeard, over: Duration) -> Vec<Trend> {
        heard.trends(&path(), over).map(|(_, _, trend)| trend).collect()
    }

    #[test]
    fn a_leak_is_a_slope_of_the_process_that_runs_now_and_restarts_are_of_the_while_that_is_asked_for() {
        let mut heard = UsageHeard::default();
        for step in 0..24 {
            let (restarts, since) = if step < 12 { (3, 0) } else { (5, 12) };
            heard.hear(look(step * 5, "1", restarts, Some(1_000_000 + (step - since) * 5 * 2_000)));
        }
        let all = trends(&heard, MINUTE * 10);
        assert_eq!((all.len(), all[0].restarts, all[0].slope.map(f64::round)), (1, 2, Some(2_000.0)));
        let lately = trends(&heard, Duration::from_secs(30));
        assert_eq!((lately[0].restarts, lately[0].slope.map(f64::round)), (0, Some(2_000.0)));
        assert_eq!(trends(&heard, Duration::from_secs(10))[0].slope, None, "three looks are too few");
    }

    #[test]
    fn what_is_not_told_of_any_more_is_not_known_and_what_began_anew_counts_from_nothing() {
        let mut heard = UsageHeard::default();
        heard.hear(look(0, "1", 9, Some(5)));
        heard.hear(look(5, "2", 0, None));
        let told = trends(&heard, MINUTE);
        assert_eq!((told.len(), told[0].usage.memory_bytes, told[0].slope), (1, None, None));
        heard.hear(look(10, "1", 1, Some(5)));
        assert_eq!(trends(&heard, MINUTE)[0].restarts, 1, "it was stopped and started anew");
        heard.hear(look(2, "1", 1, Some(5)));
        assert_eq!(trends(&heard, MINUTE).len(), 1, "a clock that was set back keeps nothing away");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut heard = UsageHeard::default();
        for step in 0..5_000 {
            heard.hear(look(step, &format!("{}", step % 1_500), 0, Some(step)));
        }
        let releases: usize = heard.services.values().map(BTreeMap::len).sum();
        assert!(releases <= SERVICES_MAX, "{releases}");
        let mut heard = UsageHeard::default();
        (0..5_000).for_each(|step| heard.hear(look(step / 10, "1", 0, Some(step))));
        assert!(heard.services.values().flat_map(BTreeMap::values).all(|looks| looks.len() <= LOOKS_MAX));
    }

    #[test]
    fn services_of_a_release_are_added_up_and_compared_by_their_average() {
        let trend =
            |memory_bytes, slope| Trend { usage: Usage { restarts: 7, memory_bytes }, restarts: 1, slope };
        let all = [trend(Some(10), Some(1.0)), trend(Some(20), Some(3.0)), trend(None, None)];
        let expected =
            Summary { services: 3, restarts: 3, memory_bytes: Some(15), slope: Some(2.0), over: MINUTE };
        assert_eq!(Summary::of(&all, MINUTE), expected);
        assert_eq!(Summary::of(&[], MINUTE).memory_bytes, None);
    }

    #[test]
    fn a_look_is_written_sparsely_and_names_of_later_versions_are_no_harm() {
        let written =
            r#"{"at":5000,"services":{"production.shop.worker":{"1":{"restarts":2,"memory_bytes":7}}}}"#;
        assert_eq!(serde_json::to_string(&look(5, "1", 2, Some(7))).unwrap(), written);
        let later = written.replace("\"restarts\"", "\"open_files\":9,\"restarts\"");
        assert_eq!(serde_json::from_str::<UsageLook>(&later).unwrap(), look(5, "1", 2, Some(7)));
    }
}
