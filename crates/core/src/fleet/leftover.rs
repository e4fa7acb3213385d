//! Services on targets that are the app's no more: of a process group that it has not any longer, or on a host that its delivery
//! reaches no longer. They are stopped before nobody looks after them.
//!
//! Invariants: they get no requests for the drain time before they are told to stop; the order that says so stands until nothing of
//! them is up. When that time ends stands in their order, so that a controller that was away goes on with it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Current, Host, Seen, Track};
use crate::moment::Moment;
use crate::name::{HostName, Target};
use crate::release::Release;
use crate::rollout::Rollout;
use crate::target::{Assignment, Report};
use crate::traffic::{EndpointState, Route};

/// Lists the targets on which something is up although neither the app's delivery nor a rollout under way reaches them, and that have
/// no other order.
pub(super) fn targets(
    seen: &Seen,
    current: &Current,
    rollout: Option<&Rollout>,
    wanted: &BTreeMap<Target, Assignment>,
) -> BTreeSet<Target> {
    let is_moved =
        |name: &HostName| rollout.is_some_and(|rollout| rollout.is_active() && rollout.concerns(name));
    let is_free = |name: &HostName, host: &Host| {
        current.track.release.is_some() && host.presence.is_some() && host.state.is_none() && !is_moved(name)
    };
    let is_left = |host: &Host, target: &Target, report: &Report| {
        !report.up.is_empty() && !host.is_reached(target, &current.delivery) && !wanted.contains_key(target)
    };
    let hosts = seen.hosts.iter().filter(|(name, host)| is_free(name, host));
    let reports = hosts.flat_map(|(name, host)| {
        let own = host.reports.iter().filter(move |(target, _)| target.host == *name);
        own.map(move |(target, report)| (host, target, report))
    });
    let left = reports.filter(|(host, target, report)| is_left(host, target, report));
    left.map(|(_, target, _)| target.clone()).collect()
}

/// Returns the orders of these targets: what each has, until the requests that it has begun have had the drain time to finish; from
/// then on, once no rollout is under way, what they keep stays, and nothing may be up.
pub(super) fn orders(
    seen: &Seen,
    current: &Current,
    rests: bool,
    left: &BTreeSet<Target>,
) -> BTreeMap<Target, Assignment> {
    let order = |target: &Target| {
        let stands = seen.orders.get(target).cloned();
        let stands =
            stands.unwrap_or_else(|| Assignment::to_run(current.orders, None, kept(current, target)));
        let until = drained_at(seen, current, target, &stands);
        let order = match until > seen.now || !rests {
            true => stands,
            false => Assignment {
                idle: true,
                sources: stands.sources,
                ..Assignment::to_run(current.orders, None, stands.keep)
            },
        };
        (target.clone(), Assignment { leaves_at: Some(until), ..order })
    };
    left.iter().map(order).collect()
}

/// Returns what a target keeps that has lost its order: should the app come back to it, nothing is missing.
fn kept(current: &Current, target: &Target) -> Vec<Release> {
    let track = Some(current.track_of(&target.group)).filter(|_| current.has(&target.group));
    track.into_iter().flat_map(Track::kept).cloned().collect()
}

/// Tells whether a target is told to have nothing up from now on, or was told so and is to run something again: an order of one age
/// has one meaning.
pub(super) fn turns(seen: &Seen, current: &Current, orders: &BTreeMap<Target, Assignment>) -> bool {
    let is_told = |target: &Target, order: &Assignment| {
        let is_news = match seen.orders.get(target) {
            Some(stands) => order.idle && !stands.idle,
            // The one that the target had is gone.
            None => true,
        };
        order.leaves_at.is_some() && is_news
    };
    orders.iter().any(|(target, order)| is_told(target, order) || comes_back(seen, current, target, order))
}

/// Leaves targets that were told to have nothing up, or have lost their order, as they are while a rollout is under way, unless it is
/// about them.
pub(super) fn put_off(seen: &Seen, current: &Current, orders: &mut BTreeMap<Target, Assignment>) {
    let is_lost =
        |target: &Target, order: &Assignment| order.leaves_at.is_some() && !seen.orders.contains_key(target);
    let back: Vec<Target> = orders
        .iter()
        .filter(|(target, order)| comes_back(seen, current, target, order) || is_lost(target, order))
        .map(|(target, _)| target.clone())
        .collect();
    for target in back {
        match seen.orders.get(&target) {
            Some(stands) => orders.insert(target, stands.clone()),
            None => orders.remove(&target),
        };
    }
}

/// Tells whether this order names nothing to run on a target that the app has left.
pub(super) fn leaves_with_nothing(order: &Assignment) -> bool {
    order.leaves_at.is_some() && order.run.is_none()
}

/// Tells whether this order says something else than one of the same age, or a later one, by which nothing may be up. Where no order
/// stands that may have been so: it may have been obeyed, and be gone.
fn comes_back(seen: &Seen, current: &Current, target: &Target, order: &Assignment) -> bool {
    let report = seen.hosts.get(&target.host).and_then(|host| host.reports.get(target));
    let told = match seen.orders.get(target) {
        Some(stands) if leaves_with_nothing(stands) => Some(stands.generation),
        // It has obeyed a later one, which a restored store has forgotten.
        Some(stands) if report.is_some_and(|report| report.generation > stands.generation) => {
            Some(current.left)
        }
        // Others were told to have nothing up since, and a store that was restored may have forgotten that this one was, too.
        Some(stands) if stands.generation < current.left => Some(current.left),
        Some(_) => None,
        None => Some(current.left),
    };
    !order.idle && order.leaves_at.is_none() && told.is_some_and(|told| told >= order.generation)
}

/// Returns when the requests of this target have had the drain time to finish. As long as anything of it has new ones, that has not begun.
pub(super) fn drained_at(seen: &Seen, current: &Current, target: &Target, stands: &Assignment) -> Moment {
    let begun = stands.leaves_at.filter(|_| !serves(seen.routes.get(target)));
    begun.unwrap_or(seen.now + current.delivery.policy.pace.drain)
}

fn serves(route: Option<&Route>) -> bool {
    let mut endpoints = route.iter().flat_map(|route| route.endpoints.values());
    endpoints.any(|endpoint| endpoint.state == EndpointState::Serving)
}

/// Returns when the first of these is told to stop, if any is yet to be.
pub(super) fn until(now: Moment, orders: &BTreeMap<Target, Assignment>) -> Option<Moment> {
    orders.values().filter_map(|order| order.leaves_at).filter(|until| *until > now).min()
}
