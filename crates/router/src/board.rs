//! The one place where a table comes into force, and where the workers' counts come together.
//!
//! Invariant: when [`Board::publish`] returns, no worker begins a request by an older table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::busy::{self, Busiest, Sample, Second};
use crate::count::Times;
use crate::failed::Failures;
use crate::live::{Choice, Endpoint, Latch, Live, Lobby, Service, Version};
use crate::route::Routes;
use crate::table::{State, Table};
use crate::worker::Worker;
use crate::{clock, report, table};

/// How many versions of a service stay counted that the table no longer has.
const PAST_MAX: usize = 4;
/// How many of all services together.
const PAST_MAX_ALL: usize = 64;

/// What makes an endpoint the same one in the next table: service, name, version and address.
type Key = (String, String, String, SocketAddr);

/// The table in force and everything that all workers share.
#[derive(Debug)]
pub struct Board {
    workers: Vec<Arc<Worker>>,
    failures: Arc<Failures>,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Arc<Table>,
    latches: HashMap<Key, Arc<Latch>>,
    lobbies: HashMap<String, Arc<Lobby>>,
}

fn key(service: &str, endpoint: &table::Endpoint) -> Key {
    (service.to_owned(), endpoint.name.clone(), endpoint.version.clone(), endpoint.address)
}

impl Board {
    /// Begins with an empty table. The workers note their failures together.
    pub fn new(workers: Vec<Arc<Worker>>, failures: Arc<Failures>) -> Board {
        Board { workers, failures, shared: Mutex::default() }
    }

    /// Returns what is kept of requests that failed.
    pub fn failures(&self) -> &Arc<Failures> {
        &self.failures
    }

    /// Returns the table in force.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.shared.lock().unwrap_or_else(PoisonError::into_inner).table)
    }

    /// Returns the workers.
    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// Puts a table, which was judged before, into force.
    pub fn publish(&self, table: Arc<Table>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.gather(&table);
        let routes = Arc::new(Routes::of(&table));
        for worker in &self.workers {
            worker.live.store(Arc::new(shared.view(&table, &routes, &worker.live.load())));
            worker.sweep();
        }
        shared.lobbies.values().for_each(|lobby| lobby.news.notify_waiters());
        // A latch lives as long as a worker has its endpoint, so that one that comes back is opened for all.
        shared.latches.retain(|_, latch| Arc::strong_count(latch) > 1);
        shared.lobbies.retain(|service, _| table.services.contains_key(service));
        shared.table = table;
    }

    /// Brings together what all workers have counted.
    pub fn report(&self) -> report::Report {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = report::Report { revision: shared.table.revision, ..report::Report::default() };
        for (name, lobby) in &shared.lobbies {
            let service = all.services.entry(name.clone()).or_default();
            service.held = lobby.held.load(Ordering::Relaxed);
            service.refused = lobby.refused.load(Ordering::Relaxed);
            service.waiting = lobby.waiting.load(Ordering::Relaxed) as u64;
        }
        let mut times = HashMap::new();
        for worker in &self.workers {
            let live = worker.live.load_full();
            add_clients(&mut all.clients, worker);
            add_versions(&mut all, &mut times, &live);
            add_endpoints(&mut all, &live);
        }
        for ((service, version), times) in times {
            let service = all.services.entry(service).or_default();
            service.versions.entry(version).or_default().times = times.encode();
        }
        all
    }
}

impl Board {
    /// Brings together how much of each service's requests the ten busiest clients carry.
    pub fn busiest(&self) -> BTreeMap<String, Busiest> {
        let now = clock::microseconds() / 1_000_000;
        let mut seen: BTreeMap<String, Vec<Second>> = BTreeMap::new();
        for worker in &self.workers {
            for service in &worker.live.load_full().services {
                let seconds = service.sample.before(now);
                seen.entry(service.name.clone()).or_default().extend(seconds);
            }
        }
        seen.into_iter().map(|(service, seconds)| (service, busy::busiest(&seconds))).collect()
    }
}

impl Shared {
    /// Shuts and opens latches. The first thing that happens: from here on nothing begins where it should not.
    fn gather(&mut self, table: &Table) {
        let mut ready = HashSet::new();
        for (name, service) in &table.services {
            self.lobbies.entry(name.clone()).or_default();
            for endpoint in &service.endpoints {
                self.latches.entry(key(name, endpoint)).or_default();
                ready.extend((endpoint.state == State::Ready).then(|| key(name, endpoint)));
            }
        }
        // None is shut that stays open, not even for a moment.
        self.latches.iter().for_each(|(key, latch)| latch.set(ready.contains(key)));
    }

    /// Makes one worker's view of the table, with what it has counted so far.
    fn view(&self, table: &Table, routes: &Arc<Routes>, before: &Live) -> Live {
        let mut endpoints: HashMap<Key, &Arc<Endpoint>> = HashMap::new();
        for endpoint in before.endpoints() {
            let Endpoint { service, name, version, address, .. } = &**endpoint;
            endpoints.insert((service.clone(), name.clone(), version.name.clone(), *address), endpoint);
        }
        let versions: HashMap<(&str, &str), &Arc<Version>> =
            before.versions().map(|(service, version)| ((service, version.name.as_str()), version)).collect();
        let samples: HashMap<&str, &Arc<Sample>> =
            before.services.iter().map(|service| (service.name.as_str(), &service.sample)).collect();
        let mut view = Live { revision: table.revision, routes: Arc::clone(routes), ..Live::default() };
        for (name, settings) in &table.services {
            let lobby = Arc::clone(&self.lobbies[name]);
            let mut choices = Vec::with_capacity(settings.versions.len());
            for table::Version { name: version, share } in &settings.versions {
                let known = versions.get(&(name.as_str(), version.as_str()));
                let version =
                    known.map_or_else(|| Arc::new(Version::new(version)), |known| Arc::clone(known));
                choices.push(Choice { share: *share, version, endpoints: Vec::new() });
            }
            for endpoint in &settings.endpoints {
                let at = choices.iter_mut().find(|choice| choice.version.name == endpoint.version);
                let choice = at.expect("the table was judged: an endpoint's version is there");
                let key = key(name, endpoint);
                let kept = endpoints.remove(&key).map(Arc::clone);
                let kept = kept.unwrap_or_else(|| {
                    Arc::new(Endpoint::new(&key, &choice.version, &self.latches[&key], &lobby))
                });
                kept.weight.store(endpoint.weight, Ordering::Relaxed);
                choice.endpoints.push(kept);
            }
            let settings = Arc::new(settings.clone());
            let sample = samples.get(name.as_str()).map_or_else(Arc::default, |sample| Arc::clone(sample));
            view.services.push(Arc::new(Service { name: name.clone(), settings, choices, lobby, sample }));
        }
        // Whatever is left over is not in this table. Nothing begins there, so what is idle now stays idle.
        let is_busy = |endpoint: &&Arc<Endpoint>| endpoint.in_flight.load(Ordering::SeqCst) > 0;
        view.leaving = endpoints.into_values().filter(is_busy).map(Arc::clone).collect();
        view.past = past(table, before, &view.leaving);
        view
    }
}

/// Lists the versions that were counted and are not in the table: the latest, and all that still have something in flight.
fn past(table: &Table, before: &Live, leaving: &[Arc<Endpoint>]) -> Vec<(String, Arc<Version>)> {
    let stays = |service: &str, version: &Version| {
        let versions = table.services.get(service).map(|service| &service.versions);
        versions.is_some_and(|versions| versions.iter().any(|other| other.name == version.name))
    };
    let mut kept: Vec<(String, Arc<Version>)> = Vec::new();
    for (service, version) in before.versions().filter(|(service, version)| !stays(service, version)) {
        let of_service = kept.iter().filter(|(other, _)| other == service).count();
        let is_late = of_service < PAST_MAX && kept.len() < PAST_MAX_ALL;
        if is_late || leaving.iter().any(|endpoint| Arc::ptr_eq(&endpoint.version, version)) {
            kept.push((service.to_owned(), Arc::clone(version)));
        }
    }
    kept
}

impl Version {
    fn new(name: &str) -> Version {
        Version { name: name.to_owned(), counts: Mutex::default() }
    }
}

impl Endpoint {
    fn new(key: &Key, version: &Arc<Version>, latch: &Arc<Latch>, lobby: &Arc<Lobby>) -> Endpoint {
        let (service, name, _, address) = key;
        Endpoint {
            service: service.clone(),
            name: name.clone(),
            address: *address,
            weight: AtomicU32::new(1),
            version: Arc::clone(version),
            latch: Arc::clone(latch),
            lobby: Arc::clone(lobby),
            pool: crate::pool::Pool::default(),
            in_flight: AtomicUsize::new(0),
            counts: Mutex::default(),
        }
    }
}

fn add_clients(clients: &mut report::Clients, worker: &Worker) {
    clients.connections += worker.counts.connections.load(Ordering::Relaxed);
    clients.open += worker.counts.open.load(Ordering::Relaxed) as u64;
    clients.unrouted += worker.counts.unrouted.load(Ordering::Relaxed);
    clients.bad += worker.counts.bad.load(Ordering::Relaxed);
}

/// Adds each version once, also one that the table no longer has.
fn add_versions(all: &mut report::Report, times: &mut HashMap<(String, String), Times>, live: &Live) {
    for (service, version) in live.versions() {
        let at = all.services.entry(service.to_owned()).or_default();
        let at = at.versions.entry(version.name.clone()).or_default();
        version.count(|counts, recorded| {
            at.counts.add(counts);
            times.entry((service.to_owned(), version.name.clone())).or_default().add(recorded);
        });
    }
}

fn add_endpoints(all: &mut report::Report, live: &Live) {
    let now = clock::microseconds();
    let listed =
        live.services.iter().flat_map(|service| &service.choices).flat_map(|choice| &choice.endpoints);
    let listed = listed.map(|endpoint| {
        (endpoint, if endpoint.latch.is_open() { report::Stand::Ready } else { report::Stand::Draining })
    });
    let leaving = live.leaving.iter().map(|endpoint| (endpoint, report::Stand::Gone));
    for (endpoint, state) in listed.chain(leaving) {
        let mut counts = endpoint.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        counts.in_flight = endpoint.in_flight.load(Ordering::SeqCst) as u64;
        if state == report::Stand::Gone && counts.in_flight == 0 {
            continue;
        }
        let service = all.services.entry(endpoint.service.clone()).or_default();
        service.versions.entry(endpoint.version.name.clone()).or_default().counts.in_flight +=
            counts.in_flight;
        service.add_endpoint(&report::Endpoint {
            name: endpoint.name.clone(),
            address: endpoint.address,
            version: endpoint.version.name.clone(),
            state,
            is_away: endpoint.latch.is_away(now),
            counts,
        });
    }
}
