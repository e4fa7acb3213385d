//! The order of every target: the rollout's for those that take part, the steady one for all others that match.

use std::collections::BTreeMap;

use super::{Current, Host};
use crate::generation::Generation;
use crate::name::{GroupName, HostName, Target};
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
        gone && current.track.release.is_some()
    };
    let mut orders = BTreeMap::new();
    for delivery in &deliveries {
        let free = hosts.iter().filter(|(_, host)| host.state.is_none());
        let joined = free.filter(|(name, host)| host.matches(name, &delivery.selector));
        let joined: Vec<&HostName> = joined.map(|(name, _)| name).collect();
        for group in &delivery.groups {
            let Some(order) = steady(current, rollout, group) else { continue };
            let target = |host: &&HostName| Target { host: (*host).clone(), group: group.clone() };
            orders.extend(joined.iter().map(target).map(|target| (target, order.clone())));
        }
    }
    if let Some(rollout) = standing {
        let theirs = rollout::assignments(rollout);
        // What could not go back anywhere is looked after where it was left.
        let stays = rollout.is_active() || matches!(rollout.outcome(), Some(Outcome::LeftAsIs { .. }));
        orders.extend(theirs.into_iter().filter(|(target, _)| stays || !left(target)));
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
        None => steady_age(current, rollout, &target.group),
    }
}

/// Returns the age of a process group's steady orders: while a rollout of it switches or turns back, they follow it.
fn steady_age(current: &Current, rollout: Option<&Rollout>, group: &GroupName) -> Option<Generation> {
    let moving = moving(rollout, group)
        .filter(|rollout| matches!(rollout.phase, Phase::Switching { .. } | Phase::TurningBack { .. }));
    match moving {
        Some(rollout) => Some(rollout.generation),
        None => current.has(group).then_some(current.orders),
    }
}

/// Returns the rollout that moves this process group now.
fn moving<'a>(rollout: Option<&'a Rollout>, group: &GroupName) -> Option<&'a Rollout> {
    rollout.filter(|rollout| rollout.is_active() && rollout.groups.contains(group))
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

/// Returns the order of a process group's targets that take no part in a rollout; nothing before an app's first switch.
fn steady(current: &Current, rollout: Option<&Rollout>, group: &GroupName) -> Option<Assignment> {
    let track = current.track_of(group);
    let (generation, run, keep) = match moving(rollout, group).map(|rollout| (rollout, &rollout.phase)) {
        Some((rollout, Phase::Switching { .. })) => {
            (rollout.generation, Some(&rollout.to), rollout.kept_forward(group))
        }
        Some((rollout, Phase::TurningBack { .. })) => {
            (rollout.generation, rollout.from_of(group), rollout.kept_back(group))
        }
        _ if !current.has(group) => return None,
        _ => (current.orders, track.release.as_ref(), track.kept().cloned().collect()),
    };
    let run = Some(run?.id.clone());
    let pace = &current.delivery.policy.pace;
    Some(Assignment { alone: pace.alone, linger: pace.drain, ..Assignment::to_run(generation, run, keep) })
}
