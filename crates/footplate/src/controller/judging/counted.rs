//! What routers counted of two releases since the last look, all of them together.
//!
//! Invariants: every attempt is in one difference, also when a router was silent meanwhile; while one is silent nobody knows what it saw,
//! and nothing is said.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::name::{HostName, ReleaseId};
use footplate_core::traffic::counts::{Busiest, Counts, FailedRequest, Histogram, Tally};
use footplate_core::verdict::{Cause, Cuts, KpiName, Said, Side, Split, cuts};

use super::Subject;
use crate::controller::traffic::Told;

/// What was counted up to the last look.
#[derive(Default)]
pub(super) struct Counted {
    before: BTreeMap<HostName, Before>,
}

/// What was heard of one router up to then.
struct Before {
    counts: Counts,
    /// How many failed requests had come.
    failed: u64,
}

/// What was counted since.
#[derive(Default)]
pub(super) struct Change {
    pub(super) canary: Tally,
    pub(super) baseline: Tally,
    /// Requests that failed, in the order of their arrival. Of very many some are missing.
    pub(super) failed: Vec<FailedRequest>,
    /// How much the busiest clients carry, where a router says so.
    busiest: Option<Busiest>,
}

impl Counted {
    /// Takes the next look. Fails with why nobody knows what happened.
    pub(super) fn look(&mut self, told: &Told, subject: &Subject) -> Result<Change, String> {
        let routers = told.counts_of(&subject.path);
        let missing: Vec<&HostName> = subject
            .routers
            .iter()
            .filter(|host| routers.get(*host).is_none_or(|heard| heard.is_silent))
            .collect();
        if let Some(host) = missing.first() {
            let more =
                if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
            return Err(format!("the router on `{host}`{more} does not tell what it counts"));
        }
        if routers.is_empty() {
            return Err("no router routes to it".to_owned());
        }
        let mut change = Change::default();
        for (host, heard) in routers {
            let before = self.before.get(&host);
            if let Some(before) = before {
                change.add(&heard.counts.since(&before.counts), subject);
            }
            let (failed, those) = told.failures_after(&host, before.map_or(0, |before| before.failed));
            if before.is_some() {
                let is_its = |failed: &FailedRequest| {
                    let from = subject.targets.get(&failed.target);
                    from.is_some_and(|from| failed.release == *from || failed.release == subject.to)
                };
                change.failed.extend(those.into_iter().filter(is_its));
            }
            for busiest in subject.targets.keys().filter_map(|target| told.busiest(&host, target)) {
                change.busiest.get_or_insert_default().add(busiest);
            }
            self.before.insert(host, Before { counts: heard.counts, failed });
        }
        Ok(change)
    }
}

impl Change {
    /// What the old release alone did.
    pub(super) fn of_baseline(baseline: Tally) -> Self {
        Self { baseline, ..Self::default() }
    }

    fn add(&mut self, counts: &Counts, subject: &Subject) {
        for (target, from) in &subject.targets {
            counts.of(target, &subject.to).iter().for_each(|tally| self.canary.add(tally));
            counts.of(target, from).iter().for_each(|tally| self.baseline.add(tally));
        }
    }

    /// Returns how long the baseline's answers took.
    pub(super) fn times_of_the_baseline(&self) -> Histogram {
        self.baseline.all_times()
    }

    /// Says what routers know: failed attempts, and those slower than the frozen times. A time that is not frozen yet was exceeded by
    /// none of no answers, which proves nothing.
    pub(super) fn said(&self, cuts: &Cuts, canary: &ReleaseId) -> BTreeMap<KpiName, Said> {
        let side = |tally: &Tally| Side { of: tally.ended(), events: tally.errors() };
        let errors = Split {
            canary: side(&self.canary),
            baseline: side(&self.baseline),
            causes: self.causes(canary),
            busiest: self.busiest.and_then(|busiest| busiest.of(self.canary.ended() + self.baseline.ended())),
        };
        let slow = cuts.splits(&self.canary.all_times(), &self.baseline.all_times());
        let slow = cuts::NAMES.into_iter().zip(slow.map(Option::unwrap_or_default));
        let all = [("errors", errors)].into_iter().chain(slow);
        all.map(|(name, split)| (name.parse().expect("it is a name"), Said::Events(split))).collect()
    }

    /// Returns the parts of the new release's requests that failed or were slow; nothing of what had no requests.
    pub(super) fn parts(&self, cuts: &Cuts, canary: &ReleaseId) -> BTreeMap<KpiName, f64> {
        let part = |(name, said)| match said {
            Said::Events(split) => Some((name, split.canary.part()?)),
            Said::Numbers { .. } | Said::Nothing(_) => None,
        };
        self.said(cuts, canary).into_iter().filter_map(part).collect()
    }

    /// Returns the clients to whom it happened, each with the version of the first; nothing where requests failed and no router says whose.
    fn causes(&self, canary: &ReleaseId) -> Option<Vec<Cause>> {
        let any = self.canary.errors() + self.baseline.errors() > 0;
        if any && self.failed.is_empty() {
            return None;
        }
        let mut keys = BTreeSet::new();
        let first = self.failed.iter().filter(|failed| keys.insert(failed.key));
        Some(first.map(|failed| Cause { key: failed.key, is_canarys: failed.release == *canary }).collect())
    }

    /// Adds what came after it.
    pub(super) fn extend(&mut self, later: &Change) {
        self.canary.add(&later.canary);
        self.baseline.add(&later.baseline);
        self.failed.extend(later.failed.iter().cloned());
    }
}
