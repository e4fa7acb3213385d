//! How far each target is, judged by what counts of its report.
//!
//! A fact counts only when it belongs to the present orders: a report's `live` and failures when the report has obeyed
//! them, its `prepared` since [`Rollout::kept_since`] (before that an older order may be cleaning the release away), and
//! only from a living agent, because a dead host may come back re-imaged. An agent therefore writes its reports before
//! its presence.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::Few;
use super::{HostSeen, Observation, Rollout};
use crate::name::{HostName, Target};
use crate::target::{Failure, Report, Verb};

/// How far one required target is, judged by what it reported under the present orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// Nothing that counts yet.
    Missing,
    /// It has what it needs.
    There,
    /// It could not.
    Failed(&'a Failure),
}

impl Rollout {
    pub(super) fn prepared<'a>(&self, seen: &'a Observation, target: &Target) -> Standing<'a> {
        let Some(HostSeen { alive: true, reports, .. }) = seen.hosts.get(&target.host) else {
            return Standing::Missing;
        };
        let since_kept = |report: &&Report| report.generation >= self.kept_since;
        let report = reports.get(target).filter(since_kept);
        match report {
            Some(report) if report.prepared.contains(&self.to.id) => Standing::There,
            _ => self.failed(seen, target, Verb::Prepare).map_or(Standing::Missing, Standing::Failed),
        }
    }

    pub(super) fn activated<'a>(&self, seen: &'a Observation, target: &Target) -> Standing<'a> {
        match seen.report(target).filter(|report| report.generation >= self.since(&target.host)) {
            Some(report) if report.runs(&self.to.id) => Standing::There,
            _ => self.failed(seen, target, Verb::Activate).map_or(Standing::Missing, Standing::Failed),
        }
    }

    pub(super) fn came_back<'a>(&self, seen: &'a Observation, target: &Target) -> Standing<'a> {
        let from = self.from_of(&target.group).map(|from| &from.id);
        let is_alone = |report: &Report| report.up.keys().all(|id| Some(id) == from);
        match seen.report(target).filter(|report| report.generation >= self.since(&target.host)) {
            Some(report) if from.is_none_or(|from| report.runs(from)) && is_alone(report) => Standing::There,
            _ => Standing::Missing,
        }
    }

    pub(super) fn failed<'a>(
        &self,
        seen: &'a Observation,
        target: &Target,
        verb: Verb,
    ) -> Option<&'a Failure> {
        let failure = seen.report(target)?.failure(&self.to.id, verb)?;
        (failure.generation >= self.generation).then_some(failure)
    }

    pub(super) fn first_failure<'a>(
        &self,
        seen: &'a Observation,
        verb: Verb,
    ) -> Option<(Target, &'a Failure)> {
        self.required().find_map(|target| {
            let failure = self.failed(seen, &target, verb)?;
            Some((target, failure))
        })
    }

    pub(super) fn failures(&self, seen: &Observation, verb: Verb) -> BTreeMap<Target, String> {
        let failed = |target: Target| {
            let failure = self.failed(seen, &target, verb)?;
            Some((target, failure.reason.clone()))
        };
        self.required().filter_map(failed).collect()
    }

    pub(super) fn missing<'a>(&self, standing: impl Fn(&Target) -> Standing<'a>) -> BTreeSet<Target> {
        self.required().filter(|target| standing(target) != Standing::There).collect()
    }
}

/// Names hosts, and says which of them are gone, and what the others wait for themselves:
/// `web-1, web-4 (gone), web-5 (no artifact source answers) and 3 more`.
pub(super) fn named(targets: &BTreeSet<Target>, seen: &Observation) -> Few {
    let hosts: BTreeMap<&HostName, &Target> = targets.iter().map(|target| (&target.host, target)).collect();
    let name = |(host, target): (&&HostName, &&Target)| match seen.report(target) {
        _ if !seen.is_alive(host) => format!("{host} (gone)"),
        Some(Report { waiting: Some(waiting), .. }) => format!("{host} ({waiting})"),
        _ => host.to_string(),
    };
    Few::new(hosts.iter().map(name).collect::<Vec<_>>(), 0)
}
