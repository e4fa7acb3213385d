//! A controller: the real turn on a snapshot, written bit by bit under the lease. There are two of them, and either may
//! stop for longer than its lease lasts and then go on as if nothing had happened.

use std::collections::VecDeque;
use std::time::Duration;

use footplate_core::fleet::{Current, Host, Seen, Turn, turn};
use footplate_core::gate::{Door, Frozen, Gate};
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, GroupName, HostName, LaneName, Target, TargetName};
use footplate_core::record::Key;
use footplate_core::release::Release;
use footplate_core::rollout::Rollout;

use crate::judge::judged;
use crate::mutation::Mutation;
use crate::store::{Guard, Session, Store, Value, Write};

#[derive(Default)]
pub struct Controller {
    pub session: Option<Session>,
    pub down_until: Moment,
    pub stopped_until: Moment,
    /// Transactions of its last turn that are not written yet.
    pub pending: VecDeque<(Vec<Guard>, Vec<Write>)>,
    pub seen: u64,
    pub look_again_at: Option<Moment>,
}

pub fn path() -> AppPath {
    AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() }
}

pub fn lease() -> Key {
    let lane: LaneName = "main".parse().unwrap();
    Key::Lease(lane)
}

pub fn target_name(group: &GroupName) -> TargetName {
    TargetName { path: path(), group: group.clone() }
}

pub fn current(store: &Store) -> Option<&Current> {
    match store.get(&Key::Current(path())) {
        Some(Value::Current(current)) => Some(current),
        _ => None,
    }
}

/// Returns what this process group runs when nothing rolls out, as the app's record says; nothing when the app has it not.
pub fn wanted<'a>(store: &'a Store, group: &GroupName) -> Option<&'a Release> {
    current(store).filter(|current| current.has(group))?.track_of(group).release.as_ref()
}

pub fn rollout(store: &Store) -> Option<&Rollout> {
    match store.get(&Key::Rollout(path())) {
        Some(Value::Rollout(rollout)) => Some(rollout),
        _ => None,
    }
}

/// Returns the gate and what freezes it. The calendar of these fleets is a short one: a window set by hand freezes from then on,
/// a second for each minute of its end.
pub fn door(store: &Store, now: Moment) -> Door {
    let gate = match store.get(&Key::Gate(path())) {
        Some(Value::Gate(gate)) => Gate::clone(gate),
        _ => Gate::default(),
    };
    let frozen = gate.freezes.iter().map(|freeze| Frozen {
        window: freeze.window.name.clone(),
        reason: freeze.window.reason.clone(),
        until: freeze.since + Duration::from_secs(freeze.window.to.minutes().into()),
    });
    let frozen = frozen.filter(|frozen| frozen.until > now).collect();
    Door { gate, frozen }
}

/// Returns the app as it stands in the store, once somebody has created it.
pub fn look(store: &Store, now: Moment) -> Option<Seen> {
    let mut seen = Seen::new(now, current(store)?.clone(), rollout(store).cloned());
    seen.door = door(store, now);
    seen.judged = judged(rollout(store), now);
    for (key, entry) in &store.entries {
        match (key, &entry.value) {
            (Key::Presence(host), Value::Presence(presence)) => {
                host_of(&mut seen, host).presence = Some(presence.clone());
            }
            (Key::Report(host, name), Value::Report(report)) => {
                let target = Target { host: host.clone(), group: name.group.clone() };
                host_of(&mut seen, host).reports.insert(target, report.clone());
            }
            (Key::HostState(host), Value::HostState(state)) => {
                host_of(&mut seen, host).state = Some(state.clone());
            }
            (Key::Assignment(host, name), Value::Assignment(order)) => {
                let target = Target { host: host.clone(), group: name.group.clone() };
                seen.orders.insert(target, order.clone());
            }
            (Key::Barrier(_), Value::Barrier(generation)) => seen.barrier = Some(*generation),
            (Key::Release(_, id), _) => {
                seen.releases.insert(id.clone());
            }
            (Key::Router(host), Value::Router(report)) => {
                host_of(&mut seen, host).router = Some(report.follows(&path()).cloned().unwrap_or_default());
            }
            (Key::Route(name, host), Value::Route(route)) => {
                let target = Target { host: host.clone(), group: name.group.clone() };
                seen.routes.insert(target, route.clone());
            }
            (Key::Traffic(_), Value::Traffic(traffic)) => seen.traffic = Some(traffic.clone()),
            _ => {}
        }
    }
    Some(seen)
}

fn host_of<'a>(seen: &'a mut Seen, host: &HostName) -> &'a mut Host {
    seen.hosts.entry(host.clone()).or_default()
}

/// Returns the guards under which records may be written: ours is the lease, and nobody wrote since we looked.
pub fn record_guards(store: &Store, session: Session) -> Vec<Guard> {
    let unchanged = |key: Key| {
        let revision = store.revision_of(&key);
        Guard::Unchanged(key, revision)
    };
    let records = [Key::Current(path()), Key::Rollout(path()), Key::Gate(path())];
    [Guard::HeldBy(lease(), session)].into_iter().chain(records.map(unchanged)).collect()
}

impl Controller {
    /// Computes a turn and queues its transactions. Returns what was seen and what was decided.
    pub fn decide(
        &mut self,
        store: &Store,
        session: Session,
        now: Moment,
        mutation: Option<Mutation>,
    ) -> Option<(Seen, Turn)> {
        self.seen = store.revision;
        let truly_seen = look(store, now)?;
        let mut seen = truly_seen.clone();
        if let Some(mutation) = mutation {
            mutation.blur(&mut seen);
        }
        let mut turn = turn(&seen, |_| Vec::new());
        if let Some(mutation) = mutation {
            mutation.bend(&seen, &mut turn);
        }
        self.look_again_at = turn.look_again_at;
        self.pending = transactions(store, session, turn.clone());
        if mutation == Some(Mutation::ControllerWritesTrafficBeforeRoutes) {
            let is_traffic =
                |writes: &[Write]| writes.iter().any(|write| matches!(write.key, Key::Traffic(_)));
            if let Some(at) = self.pending.iter().position(|(_, writes)| is_traffic(writes)) {
                let traffic = self.pending.remove(at).expect("it was found there");
                self.pending.insert(usize::from(turn.rollout.is_some()), traffic);
            }
        }
        if mutation == Some(Mutation::ControllerWritesWithoutLease) {
            for (guards, _) in &mut self.pending {
                guards.retain(|guard| !matches!(guard, Guard::HeldBy(..)));
            }
        }
        Some((truly_seen, turn))
    }
}

/// Returns a turn's writes in their order: the records with gate and barrier, the releases, the orders, the routes, the traffic.
fn transactions(store: &Store, session: Session, turn: Turn) -> VecDeque<(Vec<Guard>, Vec<Write>)> {
    let mut all = VecDeque::new();
    let current =
        turn.current.map(|current| Write::put(Key::Current(path()), Value::Current(Box::new(current))));
    let rollout =
        turn.rollout.map(|rollout| Write::put(Key::Rollout(path()), Value::Rollout(Box::new(rollout))));
    let gate = turn.gate.map(|gate| Write::put(Key::Gate(path()), Value::Gate(Box::new(gate))));
    let barrier = turn.barrier.map(|generation| Write::put(Key::Barrier(path()), Value::Barrier(generation)));
    let records: Vec<Write> = current.into_iter().chain(rollout).chain(gate).chain(barrier).collect();
    if !records.is_empty() {
        all.push_back((record_guards(store, session), records));
    }
    let held = vec![Guard::HeldBy(lease(), session)];
    let releases = turn.releases.into_iter().map(|release| {
        Write::put(Key::Release(path().app, release.id.clone()), Value::Release(Box::new(release)))
    });
    let releases: Vec<Write> = releases.collect();
    if !releases.is_empty() {
        all.push_back((held.clone(), releases));
    }
    let key = |target: &Target| Key::Assignment(target.host.clone(), target_name(&target.group));
    let orders =
        turn.orders.into_iter().map(|(target, order)| Write::put(key(&target), Value::Assignment(order)));
    let route = |target: &Target| Key::Route(target_name(&target.group), target.host.clone());
    let routes =
        turn.routes.into_iter().map(|(target, stands)| Write::put(route(&target), Value::Route(stands)));
    let writes: Vec<Write> = orders
        .chain(turn.obsolete.iter().map(|target| Write::delete(key(target))))
        .chain(routes)
        .chain(turn.routes_gone.iter().map(|target| Write::delete(route(target))))
        .collect();
    // Small batches, so that a kill falls between two of them.
    all.extend(writes.chunks(3).map(|chunk| (held.clone(), chunk.to_vec())));
    let traffic = turn.traffic.map(|traffic| Write::put(Key::Traffic(path()), Value::Traffic(traffic)));
    all.extend(traffic.map(|traffic| (held.clone(), vec![traffic])));
    all
}
