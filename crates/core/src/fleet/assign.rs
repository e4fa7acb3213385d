//! The order of every target: the rollout's for those that take part, the steady one for all others that match.

use std::collections::BTreeMap;

use super::{Current, Host};
use crate::generation::Generation;
use crate::name::{HostName, Target};
use crate::rollout::{self, Phase, Rollout};
use crate::target::Assignment;

/// Returns what every target must have now; what is not named keeps what it has.
///
/// `rollout` is the app's latest. Its orders hold for all its targets, also those whose hosts are gone, until a newer
/// steady order replaces them. A cordoned host gets nothing new. A host that joins gets the old release until the
/// switch and the new one afterwards.
pub fn assignments(
    current: &Current,
    rollout: Option<&Rollout>,
    hosts: &BTreeMap<HostName, Host>,
) -> BTreeMap<Target, Assignment> {
    let standing = rollout.filter(|rollout| rollout.is_active() || rollout.generation >= current.orders);
    let left = |target: &Target| {
        let host = hosts.get(&target.host);
        host.is_some_and(|host| host.presence.is_some() && !host.matches(&target.host, &current.selector))
    };
    let mut orders = BTreeMap::new();
    if let Some(order) = steady(current, rollout) {
        let joined =
            hosts.iter().filter(|(name, host)| host.matches(name, &current.selector) && host.state.is_none());
        for (host, _) in joined {
            let targets =
                current.groups.iter().map(|group| Target { host: host.clone(), group: group.clone() });
            orders.extend(targets.map(|target| (target, order.clone())));
        }
    }
    if let Some(rollout) = standing {
        let theirs = rollout::assignments(rollout);
        orders.extend(theirs.into_iter().filter(|(target, _)| rollout.is_active() || !left(target)));
    }
    orders
}

/// Returns the generation of the order that a target should have, were it there; nothing before an app's first switch.
pub(super) fn age(current: &Current, rollout: Option<&Rollout>, target: &Target) -> Option<Generation> {
    let standing = rollout.filter(|rollout| rollout.is_active() || rollout.generation >= current.orders);
    let theirs =
        standing.filter(|rollout| rollout.concerns(&target.host) && rollout.groups.contains(&target.group));
    match theirs {
        Some(rollout) => Some(rollout.generation),
        None => steady_age(current, rollout),
    }
}

/// Returns the age of the steady orders: while a rollout switches or turns back, they follow it.
fn steady_age(current: &Current, rollout: Option<&Rollout>) -> Option<Generation> {
    let moving = rollout
        .filter(|rollout| matches!(rollout.phase, Phase::Switching { .. } | Phase::TurningBack { .. }));
    match moving {
        Some(rollout) => Some(rollout.generation),
        None => current.release.as_ref().map(|_| current.orders),
    }
}

/// Returns the order of a target that takes no part in a rollout; nothing before an app's first switch.
fn steady(current: &Current, rollout: Option<&Rollout>) -> Option<Assignment> {
    let active = rollout.filter(|rollout| rollout.is_active());
    let (generation, run, keep) = match active.map(|rollout| (rollout, &rollout.phase)) {
        Some((rollout, Phase::Switching { .. })) => {
            (rollout.generation, Some(&rollout.to), rollout.kept_forward())
        }
        Some((rollout, Phase::TurningBack { .. })) => {
            (rollout.generation, rollout.from.as_ref(), rollout.kept_back())
        }
        _ => (current.orders, current.release.as_ref(), current.kept().cloned().collect()),
    };
    let run = Some(run?.id.clone());
    Some(Assignment { generation, run, switch: None, keep, sources: Vec::new() })
}
