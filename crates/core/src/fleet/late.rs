//! Targets that follow a rollout late, where old and new may never be up at once: nothing covers for the old release while the new one
//! comes up, so routers let it go before its order changes.
//!
//! Invariant: such a target keeps the order that it has until its requests had the drain time to finish, and as long as its agent is
//! away, which could not stop it in time.

use std::collections::BTreeMap;

use super::leftover::drained_at;
use super::{Current, Seen};
use crate::name::Target;
use crate::rollout::Rollout;
use crate::target::{Assignment, Readiness, Report};

/// Returns the orders that such targets keep for now, of those that are `wanted`.
pub(super) fn held(
    seen: &Seen,
    current: &Current,
    rollout: Option<&Rollout>,
    wanted: &BTreeMap<Target, Assignment>,
) -> BTreeMap<Target, Assignment> {
    let is_moved = |target: &Target| {
        rollout.is_some_and(|rollout| {
            rollout.is_active() && rollout.has_come_to(&target.host) && rollout.groups.contains(&target.group)
        })
    };
    let held = |(target, order): (&Target, &Assignment)| {
        let host = seen.hosts.get(&target.host)?;
        let stands =
            seen.orders.get(target).filter(|stands| ends(stands, order, host.reports.get(target)))?;
        if host.presence.is_none() {
            return Some((target.clone(), stands.clone()));
        }
        let until = drained_at(seen, current, target, stands);
        let order = Assignment { leaves_at: Some(until), ..stands.clone() };
        (until > seen.now).then_some((target.clone(), order))
    };
    wanted.iter().filter(|(target, order)| order.alone && !is_moved(target)).filter_map(held).collect()
}

/// Tells whether the new order ends what takes requests under the one that stands.
fn ends(stands: &Assignment, order: &Assignment, report: Option<&Report>) -> bool {
    let Some(report) = report.filter(|_| order.switch.is_none() && stands.run != order.run) else {
        return false;
    };
    let answers =
        |id| report.up.get(id).is_some_and(|up| up.address.is_some() && up.readiness == Readiness::Ready);
    order.run.is_some() && stands.run.as_ref().is_some_and(answers)
}
