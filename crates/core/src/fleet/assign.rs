//! The order of every target: the rollout's for those that take part, the steady one for all others that match.

use std::collections::BTreeMap;

use super::{Current, Host};
use crate::generation::Generation;
use crate::name::{HostName, Target};
use crate::rollout::{self, Delivery, Outcome, Phase, Rollout};
use crate::target::Assignment;

/// Returns what every target must have now; what is not named keeps what it has.
///
/// `rollout` is the app's latest. Its orders hold for all its targets, also those whose hosts are gone, until a newer
/// steady order replaces them. A cordoned host gets nothing new. A host that joins gets the old release until the
/// switch and the new one afterwards. While a rollout switches, the hosts that it is delivered to count, not the app's own.
pub fn assignments(
    current: &Current,
    rollout: Option<&Rollout>,
    hosts: &BTreeMap<HostName, Host>,
) -> BTreeMap<Target, Assignment> {
    let standing = rollout.filter(|rollout| rollout.is_active() || rollout.generation >= current.orders);
    let deliveries = deliveries(current, rollout);
    let left = |target: &Target| {
        let reached = |host: &Host| deliveries.iter().any(|delivery| host.is_reached(target, delivery));
        let gone = hosts.get(&target.host).is_some_and(|host| host.presence.is_some() && !reached(host));
        gone && current.release.is_some()
    };
    let mut orders = BTreeMap::new();
    if let Some(order) = steady(current, rollout) {
        let free = || hosts.iter().filter(|(_, host)| host.state.is_none());
        for delivery in &deliveries {
            let joined = free().filter(|(name, host)| host.matches(name, &delivery.selector));
            let targets = joined.flat_map(|(host, _)| {
                delivery.groups.iter().map(|group| Target { host: host.clone(), group: group.clone() })
            });
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
        Some(rollout) => Some(rollout::age(rollout, &target.host)),
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

/// Lists by which deliveries targets have a steady order: the app's own, but the rollout's while it switches. What such
/// a switch reached goes back with it, so after a turn both count until the next order.
fn deliveries<'a>(current: &'a Current, rollout: Option<&'a Rollout>) -> Vec<&'a Delivery> {
    let own = &current.delivery;
    let Some((rollout, new)) = rollout.and_then(|rollout| Some((rollout, rollout.delivery.as_ref()?))) else {
        return vec![own];
    };
    match &rollout.phase {
        Phase::Switching { .. } => vec![new],
        Phase::TurningBack { .. } => vec![own, new],
        Phase::Ended { outcome: Outcome::TurnedBack { .. }, .. } if rollout.generation >= current.orders => {
            vec![own, new]
        }
        Phase::Preparing { .. } | Phase::Holding { .. } | Phase::Stepping { .. } | Phase::Ended { .. } => {
            vec![own]
        }
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
    let pace = &current.delivery.policy.pace;
    Some(Assignment { alone: pace.alone, linger: pace.drain, ..Assignment::to_run(generation, run, keep) })
}
