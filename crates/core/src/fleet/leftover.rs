//! Services of process groups that the app has no more: they are stopped before nobody looks after them.
//!
//! Invariants: they get no requests for the drain time before they are told to stop; the order that says so stands until nothing of
//! them is up.

use std::collections::{BTreeMap, BTreeSet};

use super::{Current, Host, Seen};
use crate::moment::Moment;
use crate::name::{HostName, Target};
use crate::rollout::Rollout;
use crate::target::{Assignment, Report};

/// Lists the targets on which something is up although their process group is not the app's any more, once no rollout is under way:
/// its end gives the app's orders a higher generation than any that stand there.
pub(super) fn targets(
    seen: &Seen,
    current: &Current,
    rollout: Option<&Rollout>,
    wanted: &BTreeMap<Target, Assignment>,
) -> BTreeSet<Target> {
    let is_at_rest = current.track.release.is_some() && !rollout.is_some_and(Rollout::is_active);
    let is_free = |name: &HostName, host: &Host| {
        is_at_rest && host.state.is_none() && host.matches(name, &current.delivery.selector)
    };
    let is_left = |target: &Target, report: &Report| {
        !current.has(&target.group) && !report.up.is_empty() && !wanted.contains_key(target)
    };
    let hosts = seen.hosts.iter().filter(|(name, host)| is_free(name, host));
    let reports =
        hosts.flat_map(|(name, host)| host.reports.iter().filter(move |(one, _)| one.host == *name));
    let left = reports.filter(|(target, report)| is_left(target, report));
    left.map(|(target, _)| target.clone()).collect()
}

/// Returns until when these targets are left as they are: requests that they have begun since the end of the rollout that left
/// them out may still be on their way. Nothing when there are none, or the time is over.
pub(super) fn until(seen: &Seen, rollout: Option<&Rollout>, left: &BTreeSet<Target>) -> Option<Moment> {
    let ended = rollout.and_then(|rollout| Some(rollout.phase.ended_at()? + rollout.policy.pace.drain));
    ended.filter(|until| !left.is_empty() && *until > seen.now)
}

/// Returns the orders of these targets: what they keep stays, and nothing may be up.
pub(super) fn orders(
    seen: &Seen,
    current: &Current,
    left: &BTreeSet<Target>,
) -> BTreeMap<Target, Assignment> {
    let order = |target: &Target| {
        let stands = seen.orders.get(target);
        let keep = stands.map(|order| order.keep.clone()).unwrap_or_default();
        let sources = stands.map(|order| order.sources.clone()).unwrap_or_default();
        let nothing = Assignment::to_run(current.orders, None, keep);
        (target.clone(), Assignment { idle: true, sources, ..nothing })
    };
    left.iter().map(order).collect()
}
