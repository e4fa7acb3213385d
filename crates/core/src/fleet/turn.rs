//! One turn of the controller for one app: everything that must be written, computed from one look at the store.
//!
//! Invariants: the records and the barrier are written first, in one transaction guarded by the lease. The one
//! worker that takes turns carries out people's orders too, so no barrier opens for a rollout that was just stopped. Then
//! the orders and the routes, and last how the traffic is divided. A turn on what a turn left behind, whole or cut anywhere, writes the rest and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::assign::age;
use super::{
    Current, Host, assignments, first_generation, halting, late, leftover, observe, routes, waiting,
};
use crate::gate::{self, Door, Gate};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{HostName, ReleaseId, Target};
use crate::release::Release;
use crate::rollout::{self, Announcement, Event, Judged, Missing, Observation, Rollout};
use crate::target::{Assignment, Report, Source};
use crate::traffic::{Route, Traffic};

/// One app as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When the controller looked.
    pub now: Moment,
    /// The app's record.
    pub current: Current,
    /// Its latest rollout.
    pub rollout: Option<Rollout>,
    /// Its gate, and the freeze windows that hold now.
    pub door: Door,
    /// Every host that has a presence, a report of this app or a restriction.
    pub hosts: BTreeMap<HostName, Host>,
    /// The orders that stand there.
    pub orders: BTreeMap<Target, Assignment>,
    /// The barrier that stands there.
    pub barrier: Option<Generation>,
    /// The release records that stand there.
    pub releases: BTreeSet<ReleaseId>,
    /// The routes that stand there.
    pub routes: BTreeMap<Target, Route>,
    /// How the traffic is divided there.
    pub traffic: Option<Traffic>,
    /// What the judge of the latest rollout says at this moment.
    pub judged: Option<Judged>,
}

impl Seen {
    /// Returns an app's records with nothing beside them: no host, and nothing that was ever written for one.
    pub fn new(now: Moment, current: Current, rollout: Option<Rollout>) -> Self {
        Self {
            now,
            current,
            rollout,
            door: Door::default(),
            hosts: BTreeMap::new(),
            orders: BTreeMap::new(),
            barrier: None,
            releases: BTreeSet::new(),
            routes: BTreeMap::new(),
            traffic: None,
            judged: None,
        }
    }
}

/// What to write, in this order, and what to say afterwards. Empty when everything is as it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The app's record, when it changed. Written together with the rollout.
    pub current: Option<Current>,
    /// The rollout, when it changed.
    pub rollout: Option<Rollout>,
    /// The gate, when it was halted or its fix arrived. Written together with the records.
    pub gate: Option<Gate>,
    /// The barrier, when it must rise. Written together with the records.
    pub barrier: Option<Generation>,
    /// Orders that are missing or different.
    pub orders: BTreeMap<Target, Assignment>,
    /// Orders of hosts that are there and no longer match.
    pub obsolete: BTreeSet<Target>,
    /// Routes that are missing or different.
    pub routes: BTreeMap<Target, Route>,
    /// Routes of targets that have nothing up any more.
    pub routes_gone: BTreeSet<Target>,
    /// How the traffic is divided, when that changed. It comes last: a router that follows it knows the routes.
    pub traffic: Option<Traffic>,
    /// Release records that somebody removed and that are still needed.
    pub releases: Vec<Release>,
    /// What to say, once the records are written.
    pub announcements: Vec<Announcement>,
    /// When to look again even if nothing is reported.
    pub look_again_at: Option<Moment>,
    /// How many targets the rollout waits for now; nothing when it waits for no target.
    pub missing: Option<Missing>,
}

impl Turn {
    /// Tells whether nothing must be written.
    pub fn is_settled(&self) -> bool {
        self.current.is_none()
            && self.rollout.is_none()
            && self.gate.is_none()
            && self.barrier.is_none()
            && self.orders.is_empty()
            && self.obsolete.is_empty()
            && self.routes.is_empty()
            && self.routes_gone.is_empty()
            && self.traffic.is_none()
            && self.releases.is_empty()
    }
}

/// Computes one turn. `sources` says where a host fetches artifacts from.
pub fn turn(seen: &Seen, sources: impl Fn(&HostName) -> Vec<Source>) -> Turn {
    let Advanced { mut current, rollout, gate, announcements } = advance(seen);
    let rests = !rollout.as_ref().is_some_and(Rollout::is_active);
    let orders = |current: &Current| orders(seen, current, rollout.as_ref(), rests, &sources);
    let mut wanted = orders(&current);
    if rests && leftover::turns(seen, &current, &wanted) {
        current.generation = current.generation.after(seen.now);
        current.orders = current.generation;
        wanted = orders(&current);
    }
    if rests && wanted.values().any(leftover::leaves_with_nothing) {
        current.left = current.orders;
    }
    let left_until = leftover::until(seen.now, &wanted);
    let obsolete = obsolete(seen, &current, rollout.as_ref(), &wanted);
    let routes = routes::routes(&current, rollout.as_ref(), seen, &wanted);
    let traffic = routes::traffic(&current, rollout.as_ref(), seen.now);
    let opened = rollout.as_ref().filter(|rollout| rollout.generation >= current.orders);
    let barrier = opened.and_then(rollout::barrier);
    Turn {
        barrier: barrier.filter(|needed| seen.barrier.is_none_or(|stands| stands < *needed)),
        obsolete,
        releases: lost_releases(seen, &current, rollout.as_ref()),
        look_again_at: if begins_soon(seen, &current, rollout.as_ref()) {
            Some(seen.now)
        } else {
            let deadline = rollout.as_ref().and_then(Rollout::deadline);
            let passes = passes_at(seen, &current);
            let renewed = traffic.as_ref().and_then(routes::renewed_at);
            [deadline, renewed, left_until, passes].into_iter().flatten().min()
        },
        routes_gone: seen.routes.keys().filter(|target| !routes.contains_key(*target)).cloned().collect(),
        routes: routes.into_iter().filter(|(target, route)| seen.routes.get(target) != Some(route)).collect(),
        traffic: traffic.filter(|traffic| seen.traffic.as_ref() != Some(traffic)),
        missing: rollout.as_ref().and_then(|rollout| {
            let selector = current.selector(Some(rollout));
            rollout::missing(rollout, &observe(selector, Some(rollout), &seen.hosts, seen.now))
        }),
        current: (current != seen.current).then_some(current),
        rollout: rollout.filter(|rollout| seen.rollout.as_ref() != Some(rollout)),
        gate: (gate != seen.door.gate).then_some(gate),
        orders: wanted.into_iter().filter(|(target, order)| seen.orders.get(target) != Some(order)).collect(),
        announcements,
    }
}

/// Tells whether something waits for a rollout that is over, or just began: the next turn goes on with it.
fn begins_soon(seen: &Seen, current: &Current, rollout: Option<&Rollout>) -> bool {
    let began = seen.current.waiting.is_some() && current.rollouts > seen.current.rollouts;
    let waits = current.waiting.as_ref().is_some_and(|waiting| !waiting.at_gate);
    began || (waits && rollout.is_none_or(|rollout| !rollout.is_active()))
}

/// Returns when something that keeps out what waits at the gate ends by itself.
fn passes_at(seen: &Seen, current: &Current) -> Option<Moment> {
    let waiting = current.waiting.as_ref().filter(|waiting| waiting.at_gate)?;
    gate::ends_at(&seen.door.keeps_out(&waiting.actor, waiting.fix.as_ref(), seen.now))
}

/// More steps than a rollout can take on one observation.
const STEPS_MAX: usize = 8;

/// The records as far as what was seen takes them.
struct Advanced {
    current: Current,
    rollout: Option<Rollout>,
    gate: Gate,
    announcements: Vec<Announcement>,
}

/// Takes the records as far as what was seen allows.
fn advance(seen: &Seen) -> Advanced {
    let (mut current, mut rollout, mut said) = (seen.current.clone(), seen.rollout.clone(), Vec::new());
    let mut gate = seen.door.gate.clone();
    let restored = restored(seen);
    if let Some(generation) = restored {
        current.generation = generation;
        current.orders = generation;
    }
    if let Some(rollout) = &mut rollout {
        if let Some(generation) = restored {
            said.extend(take(rollout, &mut gate, &Event::Restored { generation, now: seen.now }, seen.now));
        }
        // One that ended has no say in what the app's own orders, which are newer, do with its hosts.
        let is_past = !rollout.is_active() && rollout.generation < current.orders;
        for _ in 0..if is_past { 0 } else { STEPS_MAX } {
            let before = (rollout.phase.clone(), rollout.course.clone());
            let told = seen.traffic.as_ref().map(|traffic| traffic.revision).unwrap_or_default();
            let observation = Observation {
                told: Some(told),
                judged: seen.judged.clone(),
                ..observe(current.selector(Some(rollout)), Some(rollout), &seen.hosts, seen.now)
            };
            said.extend(take(rollout, &mut gate, &Event::Observed(observation), seen.now));
            if (&rollout.phase, &rollout.course) == (&before.0, &before.1) {
                break;
            }
        }
        current.roll_call = current.roll_call.max(rollout.roll_call);
        current.settle(rollout);
    }
    said.extend(waiting::take_up(&mut current, &mut rollout, seen));
    Advanced { current, rollout, gate, announcements: said }
}

/// Takes one fact. What it takes back halts the gate in the same change, and what it lets arrive is noted there if it is the fix.
fn take(rollout: &mut Rollout, gate: &mut Gate, event: &Event, now: Moment) -> Vec<Announcement> {
    let step = rollout::step(rollout, event).expect("a fact is never refused");
    if let Some(halted) = halting::by_step(rollout, &step.next, now) {
        *gate = gate.halt(halted);
    }
    if let Some(fixed) = halting::fixed_by(rollout, &step.next) {
        *gate = gate.fixed(fixed);
    }
    *rollout = step.next;
    step.effects
}

/// Returns the generation to start from when the store was restored from a backup; see [`first_generation`].
///
/// It was when anything names a generation that was never issued, or when a target obeyed a newer order than the one it
/// should have: the orders of one target only ever get newer. What a host writes reaches no further than its own
/// targets: reports of others, and generations that no controller can have issued, count for nothing.
fn restored(seen: &Seen) -> Option<Generation> {
    let rollout = seen.rollout.as_ref();
    let selector = seen.current.selector(rollout);
    let is_ours = |host: &Host, target: &Target| {
        host.matches(&target.host, selector) || seen.orders.contains_key(target)
    };
    let can_be = |report: &Report| report.generation.can_have_been_issued(seen.current.generation, seen.now);
    let reports = || {
        let all = seen.hosts.values().flat_map(|host| host.reports.iter().map(move |said| (host, said)));
        all.filter(|(host, (target, report))| is_ours(host, target) && can_be(report)).map(|(_, said)| said)
    };
    let obeyed = reports().map(|(_, report)| report.generation);
    let ordered = seen.orders.values().map(|order| order.generation);
    let highest = obeyed.chain(ordered).chain(seen.barrier).max().unwrap_or_default();
    let ahead = |(target, report): (&Target, &Report)| {
        age(&seen.current, rollout, target).is_some_and(|age| report.generation > age)
    };
    let issued = seen.current.generation;
    let restored = highest > issued || reports().any(ahead);
    restored.then(|| first_generation(issued, highest, seen.now))
}

/// Returns the order of every target that must have one: those that the app reaches, and those that it leaves.
fn orders(
    seen: &Seen,
    current: &Current,
    rollout: Option<&Rollout>,
    rests: bool,
    sources: impl Fn(&HostName) -> Vec<Source>,
) -> BTreeMap<Target, Assignment> {
    let mut orders = wanted(seen, current, rollout, sources);
    let left = leftover::targets(seen, current, rollout, &orders);
    let held = late::held(seen, current, rollout, &orders);
    orders.extend(leftover::orders(seen, current, rests, &left));
    orders.extend(held);
    if !rests {
        leftover::put_off(seen, current, &mut orders);
    }
    orders
}

fn wanted(
    seen: &Seen,
    current: &Current,
    rollout: Option<&Rollout>,
    sources: impl Fn(&HostName) -> Vec<Source>,
) -> BTreeMap<Target, Assignment> {
    let under_way = rollout.is_some_and(Rollout::is_active);
    let there = |target: &Target| seen.hosts.get(&target.host).is_some_and(|host| host.presence.is_some());
    let mut wanted = assignments(current, rollout, &seen.hosts);
    // A host that was removed has no order any more, and gets none back from a rollout that is over.
    wanted.retain(|target, _| under_way || there(target) || seen.orders.contains_key(target));
    for (target, order) in &mut wanted {
        order.sources = sources(&target.host);
    }
    wanted
}

fn obsolete(
    seen: &Seen,
    current: &Current,
    rollout: Option<&Rollout>,
    wanted: &BTreeMap<Target, Assignment>,
) -> BTreeSet<Target> {
    let idle = current.track.release.is_none();
    let concerned =
        |host: &HostName| rollout.is_some_and(|rollout| rollout.is_active() && rollout.concerns(host));
    let leaves = |target: &&Target| {
        let host = seen.hosts.get(&target.host);
        // Out of the delivery that a rollout would establish, but not out of the app's own before it arrives.
        let stays = host.is_some_and(|host| host.is_reached(target, &current.delivery));
        let free = host.is_some_and(|host| host.presence.is_some() && host.state.is_none());
        free && !stays && !idle && !wanted.contains_key(*target) && !concerned(&target.host)
    };
    seen.orders.keys().filter(leaves).cloned().collect()
}

fn lost_releases(seen: &Seen, current: &Current, rollout: Option<&Rollout>) -> Vec<Release> {
    let moving = rollout.filter(|rollout| rollout.is_active()).map(|rollout| &rollout.to);
    let waiting = current.waiting.iter().map(|waiting| &waiting.to);
    let needed = rollout::distinct(current.kept().chain(moving).chain(waiting));
    needed.into_iter().filter(|release| !seen.releases.contains(&release.id)).collect()
}
