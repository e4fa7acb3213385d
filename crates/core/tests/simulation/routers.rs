//! Routers on hosts of their own: they say that they are there before they read anything, read how the traffic is divided
//! and then the routes, put both into force together, and say so. They may be slow, cut off or killed.

use std::collections::BTreeMap;
use std::time::Duration;

use footplate_core::fleet::Presence;
use footplate_core::moment::Moment;
use footplate_core::name::{HostName, ReleaseId, Target};
use footplate_core::record::{Key, Writer};
use footplate_core::traffic::{
    Busy, EndpointState, Followed, Following, Route, RouterReport, Share, Traffic,
};
use rand::Rng;

use crate::controller::path;
use crate::store::{Author, Guard, Session, Store, Value, Write};
use crate::world::World;

pub struct Router {
    pub name: HostName,
    pub session: Option<Session>,
    stage: usize,
    /// The traffic as it read it; the routes come next.
    read: Option<Option<Traffic>>,
    /// What is in force.
    pub table: Option<Table>,
    pub flights: Vec<Flight>,
    down_until: Moment,
    slow_until: Moment,
    cut_off_until: Moment,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub traffic: Option<Traffic>,
    pub routes: BTreeMap<Target, Route>,
}

/// A request on its way.
pub struct Flight {
    pub target: Target,
    pub release: ReleaseId,
    until: Moment,
}

impl Router {
    pub fn new(number: usize) -> Self {
        Self {
            name: format!("router-{number}").parse().unwrap(),
            session: None,
            stage: 0,
            read: None,
            table: None,
            flights: Vec::new(),
            down_until: Moment::default(),
            slow_until: Moment::default(),
            cut_off_until: Moment::default(),
        }
    }

    /// Tells whether it may send new requests there.
    pub fn sends_to(&self, target: &Target, release: &ReleaseId) -> bool {
        let route = self.table.as_ref().and_then(|table| table.routes.get(target));
        let endpoint = route.and_then(|route| route.endpoints.get(release));
        endpoint.is_some_and(|endpoint| endpoint.state == EndpointState::Serving)
    }

    fn followed(&self) -> Followed {
        let traffic = self.table.as_ref().and_then(|table| table.traffic.as_ref());
        let leaving = self.flights.iter().filter(|flight| !self.sends_to(&flight.target, &flight.release));
        let busy =
            leaving.map(|flight| Busy { target: flight.target.clone(), release: flight.release.clone() });
        Followed {
            revision: traffic.map(|traffic| traffic.revision).unwrap_or_default(),
            busy: busy.collect(),
        }
    }

    pub fn report(&self) -> Value {
        Value::Router(RouterReport { apps: vec![Following { path: path(), followed: self.followed() }] })
    }

    /// Draws where a request goes: the canary's share first, then any that serves.
    fn choose(&self, rng: &mut impl Rng) -> Option<(Target, ReleaseId)> {
        let table = self.table.as_ref()?;
        let serving = table.routes.iter().flat_map(|(target, route)| {
            let serving = route.endpoints.iter().filter(|(_, one)| one.state == EndpointState::Serving);
            serving.map(move |(id, _)| (target.clone(), id.clone()))
        });
        let canary = table.traffic.as_ref().and_then(|traffic| traffic.canary.as_ref());
        let (picked, others): (Vec<_>, Vec<_>) =
            serving.partition(|(_, id)| canary.is_some_and(|canary| canary.release == *id));
        let share = canary.map_or(Share::NONE, |canary| canary.share);
        let is_picked = rng.random_range(0..Share::ALL.millionths()) < share.millionths();
        let among = if others.is_empty() || (is_picked && !picked.is_empty()) { picked } else { others };
        (!among.is_empty()).then(|| among[rng.random_range(0..among.len())].clone())
    }

    pub fn calm_down(&mut self, now: Moment) {
        (self.down_until, self.slow_until, self.cut_off_until) = (now, now, now);
    }

    /// Tells whether it follows what stands there, has said so, and is idle.
    pub fn is_at_rest(&self, store: &Store) -> bool {
        let says = store.get(&Key::Router(self.name.clone()));
        self.flights.is_empty()
            && self.table.as_ref() == Some(&Table { traffic: traffic(store), routes: routes(store) })
            && says == Some(&self.report())
    }

    fn presence(&self) -> Presence {
        Presence {
            instance: self.name.to_string(),
            address: "127.0.0.1".to_owned(),
            labels: BTreeMap::from([("role".to_owned(), "edge".to_owned())]),
            version: "0.1.0".to_owned(),
            vitals: None,
        }
    }
}

impl World {
    pub fn router_step(&mut self, number: usize) {
        let now = self.now();
        if self.router_misfortune(number) {
            return;
        }
        let router = &mut self.scene.routers[number];
        if now < router.down_until {
            return;
        }
        self.carry_requests(number);
        let router = &mut self.scene.routers[number];
        let reaches = now >= router.slow_until && now >= router.cut_off_until && now >= self.down_until;
        if !reaches {
            return;
        }
        router.stage = (router.stage + 1) % 4;
        match router.stage {
            0 => self.keep_router_session(number),
            1 if router.session.is_some() => router.read = Some(traffic(&self.scene.store)),
            2 => {
                if let Some(traffic) = router.read.take() {
                    router.table = Some(Table { traffic, routes: routes(&self.scene.store) });
                }
            }
            3 => self.report_followed(number),
            _ => {}
        }
    }

    fn router_misfortune(&mut self, number: usize) -> bool {
        let now = self.now();
        let knobs = self.knobs.clone();
        let away = Duration::from_secs(self.rng.random_range(1..60));
        let short_away = Duration::from_millis(self.rng.random_range(100..6_000));
        let (slow, cut, killed, left) = (
            self.chance(knobs.router_slow),
            self.chance(knobs.router_cut_off),
            self.chance(knobs.router_killed),
            self.chance(knobs.router_left),
        );
        let router = &mut self.scene.routers[number];
        if slow {
            router.slow_until = now + away;
        }
        if cut {
            router.cut_off_until = now + away;
        }
        if killed {
            *router = Router { down_until: now + away, ..Router::new(number) };
        }
        if left {
            router.cut_off_until = now + short_away;
            self.leave_router(number);
        }
        let told = [
            (slow, "is slow"),
            (cut, "is cut off"),
            (killed, "is killed"),
            (left, "serves on without its agent"),
        ];
        for (happened, what) in told {
            if happened {
                self.note(|| format!("router-{number} {what}"));
            }
        }
        killed
    }

    /// Ends requests and begins new ones; some take longer than anybody waits for.
    fn carry_requests(&mut self, number: usize) {
        let now = self.now();
        let router = &mut self.scene.routers[number];
        router.flights.retain(|flight| flight.until > now);
        if self.calm || router.flights.len() > 8 {
            return;
        }
        let most = if self.rng.random_bool(0.1) { 60_000 } else { 3_000 };
        let until = now + Duration::from_millis(self.rng.random_range(100..most));
        if let Some((target, release)) = router.choose(&mut self.rng) {
            router.flights.push(Flight { target, release, until });
        }
    }

    /// Renews the session, or says first that the router is there.
    fn keep_router_session(&mut self, number: usize) {
        // Where all is in order a router is never thought dead.
        let patience = Duration::from_secs(if self.scene.in_order { 3600 } else { 0 });
        let end = self.session_end() + patience;
        let router = &self.scene.routers[number];
        if let Some(session) = router.session {
            if !self.scene.store.renew_session(session, end) {
                self.scene.routers[number].session = None;
            }
            return;
        }
        let name = router.name.clone();
        let key = Key::Presence(name.clone());
        if self.scene.store.get(&key).is_some() {
            return;
        }
        let (report, presence) = (router.report(), Value::Presence(router.presence()));
        let session = Some(self.scene.store.open_session(end));
        let writes = [
            Write { key: Key::Router(name.clone()), value: Some(report), session: None },
            Write { key: key.clone(), value: Some(presence), session },
        ];
        self.write(&Author::Agent(Writer::Agent(name)), &[Guard::Absent(key)], &writes);
        self.scene.routers[number].session = session;
    }

    /// Has the agent beside it killed and started again: its session ends, and the router serves on as it was told.
    fn leave_router(&mut self, number: usize) {
        if let Some(session) = self.scene.routers[number].session.take() {
            self.scene.store.end_session(session);
        }
    }

    fn report_followed(&mut self, number: usize) {
        let router = &self.scene.routers[number];
        let (name, report) = (router.name.clone(), router.report());
        let key = Key::Router(name.clone());
        let Some(session) = router.session else { return };
        if self.scene.store.get(&key) == Some(&report) {
            return;
        }
        let write = Write { key, value: Some(report), session: None };
        let guard = Guard::HeldBy(Key::Presence(name.clone()), session);
        self.write(&Author::Agent(Writer::Agent(name)), &[guard], &[write]);
    }
}

fn traffic(store: &Store) -> Option<Traffic> {
    match store.get(&Key::Traffic(path())) {
        Some(Value::Traffic(traffic)) => Some(traffic.clone()),
        _ => None,
    }
}

pub fn routes(store: &Store) -> BTreeMap<Target, Route> {
    let route = |(key, entry): (&Key, &crate::store::Entry)| match (key, &entry.value) {
        (Key::Route(name, host), Value::Route(route)) => {
            Some((Target { host: host.clone(), group: name.group.clone() }, route.clone()))
        }
        _ => None,
    };
    store.entries.iter().filter_map(route).collect()
}
