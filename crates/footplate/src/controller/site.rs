//! Everything the store holds, parsed: what the worker decides on and what readers are shown.
//!
//! Invariants: only the worker changes it; a value that cannot be read is kept in mind by its key and changes nothing else.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::fleet::{self, Claim, Current, Host, HostState, Presence, Pushed};
use footplate_core::gate::Gate;
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{AppName, AppPath, HostName, ReleaseId, Target, TargetName};
use footplate_core::record::{self, Barrier, Key, Lease, NewerFormat, Record, Stored, Written};
use footplate_core::rollout::{Judged, Observation, Rollout};
use footplate_core::selector::Selector;
use footplate_core::target::{Assignment, Report};
use footplate_core::traffic::{DiscoveryReport, Route, RouterOrder, RouterReport, Traffic};
use footplate_drivers::store::{Revision, Snapshot};

/// One app in one environment, as it stands in the store.
#[derive(Clone, Debug, Default)]
pub struct App {
    /// Its record; absent when only leftovers of it are there.
    pub current: Option<Current>,
    /// Its latest rollout.
    pub rollout: Option<Rollout>,
    /// Its gate, once somebody or something closed it.
    pub gate: Option<Gate>,
    /// The orders of its targets.
    pub orders: BTreeMap<Target, Assignment>,
    /// The generation that may activate.
    pub barrier: Option<Generation>,
    /// What agents reported of its targets.
    pub reports: BTreeMap<HostName, BTreeMap<Target, Report>>,
    /// Where its requests go.
    pub routes: BTreeMap<Target, Route>,
    /// How they are divided.
    pub traffic: Option<Traffic>,
    /// What the judge of its latest judged rollout said last; not in the store.
    pub judged: Option<Judged>,
}

/// The whole store, parsed.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Every app in every environment.
    pub apps: BTreeMap<AppPath, App>,
    /// The hosts whose agents live.
    pub presences: BTreeMap<HostName, Presence>,
    /// The hosts that somebody set aside.
    pub states: BTreeMap<HostName, HostState>,
    /// What routers say.
    pub routers: BTreeMap<HostName, RouterReport>,
    /// How agents get on with the catalogs that they enter their services in.
    pub catalogs: BTreeMap<HostName, DiscoveryReport>,
    /// What routers are told besides their routes.
    pub router_orders: BTreeMap<HostName, RouterOrder>,
    /// Every release that was pushed.
    pub releases: BTreeMap<(AppName, ReleaseId), Pushed>,
    /// Who acts on this lane.
    pub lease: Option<Lease>,
    /// Keys whose values cannot be read, with the reason.
    pub unreadable: BTreeMap<String, String>,
    revisions: BTreeMap<String, Revision>,
}

impl Site {
    /// Takes over what stands below `prefix`; what is not in the snapshot is gone. Tells whether anything changed.
    pub fn absorb(&mut self, prefix: &str, snapshot: &Snapshot) -> bool {
        let known = self.revisions.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let gone: Vec<String> =
            known.map(|(key, _)| key.clone()).filter(|key| !snapshot.entries.contains_key(key)).collect();
        let mut changed = !gone.is_empty();
        for key in gone {
            self.forget(&key);
        }
        for (key, entry) in &snapshot.entries {
            if self.revisions.get(key) != Some(&entry.revision) {
                self.note(key, &entry.value);
                self.revisions.insert(key.clone(), entry.revision);
                changed = true;
            }
        }
        changed
    }

    /// Takes over one value, as read or as just written by ourselves.
    pub fn note(&mut self, key: &str, value: &[u8]) {
        // Revision 0 is never given out, so the next look at the store parses the entry again.
        self.revisions.insert(key.to_owned(), Revision(0));
        match self.parse(key, value) {
            Ok(()) => drop(self.unreadable.remove(key)),
            Err(why) => drop(self.unreadable.insert(key.to_owned(), why)),
        }
    }

    /// Takes over that a key is gone.
    pub fn forget(&mut self, key: &str) {
        self.revisions.remove(key);
        self.unreadable.remove(key);
        let Ok(key) = key.parse::<Key>() else { return };
        match key {
            Key::Assignment(host, name) => {
                let target = Target { host, group: name.group };
                self.app(&name.path).orders.remove(&target);
            }
            Key::Report(host, name) => {
                let target = Target { host: host.clone(), group: name.group };
                let reports = &mut self.app(&name.path).reports;
                if let Some(of_host) = reports.get_mut(&host) {
                    of_host.remove(&target);
                }
                reports.retain(|_, of_host| !of_host.is_empty());
            }
            Key::Barrier(path) => self.app(&path).barrier = None,
            Key::Current(path) => self.app(&path).current = None,
            Key::Rollout(path) => self.app(&path).rollout = None,
            Key::Gate(path) => self.app(&path).gate = None,
            Key::Traffic(path) => self.app(&path).traffic = None,
            Key::Route(name, host) => {
                let target = Target { host, group: name.group };
                self.app(&name.path).routes.remove(&target);
            }
            Key::Router(host) => drop(self.routers.remove(&host)),
            Key::Discovery(host) => drop(self.catalogs.remove(&host)),
            Key::RouterOrder(host) => drop(self.router_orders.remove(&host)),
            Key::Presence(host) => drop(self.presences.remove(&host)),
            Key::HostState(host) => drop(self.states.remove(&host)),
            Key::Release(app, id) => drop(self.releases.remove(&(app, id))),
            Key::Lease(_) => self.lease = None,
        }
    }

    /// Returns one app as the core's turn wants to see it; nothing without its record.
    pub fn seen(&self, path: &AppPath, now: Moment) -> Option<fleet::Seen> {
        if self.unreadable_of(path).is_some() {
            return None;
        }
        let app = self.apps.get(path)?;
        let releases = self.releases.keys().filter(|(of, _)| *of == path.app).map(|(_, id)| id.clone());
        Some(fleet::Seen {
            now,
            current: app.current.clone()?,
            rollout: app.rollout.clone(),
            door: self.door(path, None, now),
            hosts: self.hosts(path, app),
            orders: app.orders.clone(),
            barrier: app.barrier,
            releases: releases.collect(),
            routes: app.routes.clone(),
            traffic: app.traffic.clone(),
            judged: app.judged.clone(),
        })
    }

    /// Returns a key of this app whose value cannot be read, with the reason. Such an app is left alone: what a newer
    /// footplate wrote must not be overwritten by an older one.
    pub fn unreadable_of(&self, path: &AppPath) -> Option<(&String, &String)> {
        let is_its = |key: &Key| match key {
            Key::Current(of) | Key::Rollout(of) | Key::Gate(of) | Key::Barrier(of) | Key::Traffic(of) => {
                of == path
            }
            Key::Assignment(_, name) | Key::Route(name, _) => name.path == *path,
            Key::Presence(_)
            | Key::Report(..)
            | Key::Router(_)
            | Key::Discovery(_)
            | Key::RouterOrder(_)
            | Key::HostState(_)
            | Key::Release(..)
            | Key::Lease(_) => false,
        };
        self.unreadable.iter().find(|(key, _)| key.parse::<Key>().is_ok_and(|key| is_its(&key)))
    }

    /// Returns what a rollout of this app to these hosts gets to see.
    pub fn observation(&self, path: &AppPath, selector: &Selector, now: Moment) -> Observation {
        let nothing = App::default();
        let app = self.apps.get(path).unwrap_or(&nothing);
        let seen = fleet::observe(selector, app.rollout.as_ref(), &self.hosts(path, app), now);
        Observation { judged: app.judged.clone(), ..seen }
    }

    /// Lists which requests belong to which service, by what every app runs and moves to.
    pub fn claims(&self) -> Vec<Claim> {
        let apps = self.apps.values().filter_map(|app| Some((app.current.as_ref()?, app.rollout.as_ref())));
        apps.flat_map(|(current, rollout)| fleet::claimed(current, rollout)).collect()
    }

    /// Returns the highest generation that anything of this app names.
    pub fn highest(&self, path: &AppPath) -> Generation {
        let Some(app) = self.apps.get(path) else { return Generation::default() };
        let reports = app.reports.values().flat_map(BTreeMap::values).map(|report| report.generation);
        let orders = app.orders.values().map(|order| order.generation);
        reports.chain(orders).chain(app.barrier).max().unwrap_or_default()
    }

    /// Lists the hosts that are known in any way.
    pub fn known_hosts(&self) -> BTreeSet<HostName> {
        let with_orders = self.apps.values().flat_map(|app| app.orders.keys().map(|target| &target.host));
        let with_reports = self.apps.values().flat_map(|app| app.reports.keys());
        let said = self.presences.keys().chain(self.states.keys()).chain(self.routers.keys());
        said.chain(with_orders).chain(with_reports).cloned().collect()
    }

    fn hosts(&self, path: &AppPath, app: &App) -> BTreeMap<HostName, Host> {
        let follows = |name: &HostName| {
            let report = self.routers.get(name)?;
            Some(report.follows(path).cloned().unwrap_or_default())
        };
        let known = self.presences.keys().chain(self.states.keys()).chain(self.routers.keys());
        let names: BTreeSet<&HostName> = known.chain(app.reports.keys()).collect();
        let host = |name: &HostName| Host {
            presence: self.presences.get(name).cloned(),
            state: self.states.get(name).cloned(),
            reports: app.reports.get(name).cloned().unwrap_or_default(),
            router: follows(name),
        };
        names.into_iter().map(|name| (name.clone(), host(name))).collect()
    }

    fn app(&mut self, path: &AppPath) -> &mut App {
        self.apps.entry(path.clone()).or_default()
    }

    fn parse(&mut self, text: &str, value: &[u8]) -> Result<(), String> {
        let key: Key = text.parse().map_err(|error: record::NotAKey| error.to_string())?;
        match key.clone() {
            Key::Assignment(host, name) => {
                let (path, target) = placed(host, name);
                let order = decode(&key, value)?;
                self.app(&path).orders.insert(target, order);
            }
            Key::Report(host, name) => {
                let (path, target) = placed(host, name);
                let report = decode(&key, value)?;
                let of_host = self.app(&path).reports.entry(target.host.clone()).or_default();
                of_host.insert(target, report);
            }
            Key::Barrier(path) => {
                self.app(&path).barrier = Some(decode::<Barrier>(&key, value)?.generation);
            }
            Key::Current(path) => self.app(&path).current = Some(decode(&key, value)?),
            Key::Rollout(path) => self.app(&path).rollout = Some(decode(&key, value)?),
            Key::Gate(path) => self.app(&path).gate = Some(decode(&key, value)?),
            Key::Traffic(path) => self.app(&path).traffic = Some(decode(&key, value)?),
            Key::Route(name, host) => {
                let (path, target) = placed(host, name);
                let route = decode(&key, value)?;
                self.app(&path).routes.insert(target, route);
            }
            Key::Router(host) => drop(self.routers.insert(host, decode(&key, value)?)),
            Key::Discovery(host) => drop(self.catalogs.insert(host, decode(&key, value)?)),
            Key::RouterOrder(host) => drop(self.router_orders.insert(host, decode(&key, value)?)),
            Key::Presence(host) => drop(self.presences.insert(host, decode(&key, value)?)),
            Key::HostState(host) => drop(self.states.insert(host, decode(&key, value)?)),
            Key::Release(app, id) => drop(self.releases.insert((app, id), decode(&key, value)?)),
            Key::Lease(_) => self.lease = Some(decode(&key, value)?),
        }
        Ok(())
    }
}

/// Returns the bytes of a record as they are stored.
pub fn encode<T: Record>(record: &T) -> Vec<u8> {
    serde_json::to_vec(&Written(record)).expect("a record has only text keys")
}

/// Returns the record in `value`, or why it cannot be read.
pub fn decode<T: Record>(key: &Key, value: &[u8]) -> Result<T, String> {
    let stored: Stored<T> = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    stored.known(key).map_err(|error: NewerFormat| error.to_string())
}

fn placed(host: HostName, name: TargetName) -> (AppPath, Target) {
    (name.path, Target { host, group: name.group })
}
