//! The table in force, as one worker sees it: services, versions and endpoints with their counts and connections.
//!
//! Each worker has its own, so that no count is contended. What all workers must agree on, whether an endpoint takes
//! requests, is its [`Latch`]. Invariant: after a latch was shut and its endpoint was seen with nothing in flight, nothing begins there.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::busy::Sample;
use crate::choose::{self, Candidate};
use crate::count::{Counts, Times};
use crate::pool::Pool;
use crate::route::Routes;
use crate::{clock, table};

/// How long an endpoint that refused a connection is left alone, at first; twice as long each further time.
const AWAY_FIRST: Duration = Duration::from_millis(50);
/// How long at most.
const AWAY_MAX: Duration = Duration::from_secs(1);

/// Whether an endpoint takes requests. One for all workers.
#[derive(Debug, Default)]
pub struct Latch {
    is_open: AtomicBool,
    /// Until when it is left alone, in the clock's microseconds; 0 when it is not.
    away_until: AtomicU64,
    refusals: AtomicU32,
}

/// Where requests of a service wait for an endpoint. One for all workers.
#[derive(Debug, Default)]
pub struct Lobby {
    /// How many wait.
    pub waiting: AtomicUsize,
    /// Rings when an endpoint may have come back.
    pub news: Notify,
    /// How many have waited so far.
    pub held: AtomicU64,
    /// How many were told that there is no endpoint.
    pub refused: AtomicU64,
}

/// A table in force.
#[derive(Debug, Default)]
pub struct Live {
    /// Its revision.
    pub revision: u64,
    /// Which service a request belongs to, as a place in `services`.
    pub routes: Arc<Routes>,
    /// The services in the table's order.
    pub services: Vec<Arc<Service>>,
    /// Endpoints that the table no longer has, with something in flight.
    pub leaving: Vec<Arc<Endpoint>>,
    /// Versions that the table no longer has, with their services, the latest first: their counts stand for a while, so that a
    /// reader who looks now and then misses nothing.
    pub past: Vec<(String, Arc<Version>)>,
}

/// A service in force.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What the table says of it.
    pub settings: Arc<table::Service>,
    /// Its versions in the table's order.
    pub choices: Vec<Choice>,
    /// Where its requests wait.
    pub lobby: Arc<Lobby>,
    /// Some of those who asked lately.
    pub sample: Arc<Sample>,
}

/// A version that can be drawn.
#[derive(Debug)]
pub struct Choice {
    /// Its part of a million.
    pub share: u32,
    /// What is counted of it.
    pub version: Arc<Version>,
    /// Where it answers.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// A version, as far as it is counted.
#[derive(Debug)]
pub struct Version {
    /// Its name.
    pub name: String,
    /// What happened, and how long it took.
    pub counts: Mutex<(Counts, Times)>,
}

/// An endpoint, as one worker uses it.
#[derive(Debug)]
pub struct Endpoint {
    /// The service it belongs to.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    /// Its weight beside its version's others.
    pub weight: AtomicU32,
    /// The version it runs.
    pub version: Arc<Version>,
    /// Whether it takes requests.
    pub latch: Arc<Latch>,
    /// Where requests wait for it.
    pub lobby: Arc<Lobby>,
    /// Its resting connections.
    pub pool: Pool,
    /// How many requests it has now.
    pub in_flight: AtomicUsize,
    /// What happened.
    pub counts: Mutex<Counts>,
}

impl Latch {
    /// Opens or shuts it for new requests.
    pub fn set(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::SeqCst);
    }

    /// Tells whether new requests are let in.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::SeqCst)
    }

    /// Tells whether the endpoint is left alone at this moment.
    pub fn is_away(&self, now: u64) -> bool {
        self.away_until.load(Ordering::Relaxed) > now
    }

    /// Returns when the endpoint may be tried again; 0 when it is not away at all.
    pub fn away_until(&self) -> u64 {
        self.away_until.load(Ordering::Relaxed)
    }

    /// Asks to try the endpoint. Of those who ask after it was away, one at a time gets leave.
    fn enter(&self, now: u64) -> bool {
        let until = self.away_until();
        let next = now + micros(AWAY_FIRST);
        until == 0
            || (until <= now
                && self
                    .away_until
                    .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok())
    }

    /// Notes that it refused a connection.
    pub fn refused(&self) {
        let times = self.refusals.fetch_add(1, Ordering::Relaxed).min(8);
        let pause = (AWAY_FIRST * 2_u32.pow(times)).min(AWAY_MAX);
        self.away_until.store(clock::microseconds() + micros(pause), Ordering::Relaxed);
    }

    /// Notes that it took a connection; tells whether it had been away.
    pub fn returned(&self) -> bool {
        if self.away_until() == 0 {
            return false;
        }
        self.refusals.store(0, Ordering::Relaxed);
        self.away_until.swap(0, Ordering::Relaxed) != 0
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Live {
    /// Lists every endpoint, those that leave as well.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let choices = self.services.iter().flat_map(|service| &service.choices);
        choices.flat_map(|choice| &choice.endpoints).chain(&self.leaving)
    }

    /// Lists every version once, with its service: those of the table, then the past ones, the latest first.
    pub fn versions(&self) -> impl Iterator<Item = (&str, &Arc<Version>)> {
        let present = self.services.iter().flat_map(|service| {
            service.choices.iter().map(|choice| (service.name.as_str(), &choice.version))
        });
        present.chain(self.past.iter().map(|(service, version)| (service.as_str(), version)))
    }
}

impl Service {
    /// Chooses an endpoint: of the version at `point`, else of one that has a share too; never one that was tried while
    /// there is another. Returns nothing when all are away or drain.
    pub fn choose(&self, point: u64, random: u64, tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        let now = clock::microseconds();
        let drawn = choose::version(self.choices.iter().map(|choice| choice.share), point)?;
        let first_of = |tried: &[Arc<Endpoint>]| {
            let mut others =
                (0..self.choices.len()).filter(|place| *place != drawn && self.choices[*place].share > 0);
            let chosen = self.choices[drawn].choose(random, now, tried);
            chosen.or_else(|| others.find_map(|place| self.choices[place].choose(random, now, tried)))
        };
        match first_of(tried) {
            None if !tried.is_empty() => first_of(&[]),
            fresh => fresh,
        }
    }

    /// Returns how long until an endpoint that is away may be tried again; nothing when none is.
    pub fn next_return(&self) -> Option<Duration> {
        let now = clock::microseconds();
        let shared = self.choices.iter().filter(|choice| choice.share > 0);
        let latches = shared.flat_map(|choice| &choice.endpoints).map(|endpoint| &endpoint.latch);
        let away = latches.filter(|latch| latch.is_open()).map(|latch| latch.away_until());
        away.min().map(|until| Duration::from_micros(until.saturating_sub(now)))
    }
}

impl Choice {
    fn choose(&self, random: u64, now: u64, tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        let was_tried =
            |endpoint: &Arc<Endpoint>| tried.iter().any(|other| Arc::ptr_eq(&other.latch, &endpoint.latch));
        let takes = |endpoint: &&Arc<Endpoint>| {
            endpoint.latch.is_open() && !endpoint.latch.is_away(now) && !was_tried(endpoint)
        };
        if let [only] = self.endpoints.as_slice() {
            return Some(only).filter(takes).filter(|only| only.latch.enter(now)).cloned();
        }
        let mut endpoints: Vec<&Arc<Endpoint>> = self.endpoints.iter().filter(takes).collect();
        while !endpoints.is_empty() {
            let candidates: Vec<Candidate> = endpoints.iter().map(|endpoint| endpoint.candidate()).collect();
            let place = choose::endpoint(&candidates, random)?;
            if endpoints[place].latch.enter(now) {
                return Some(Arc::clone(endpoints[place]));
            }
            endpoints.swap_remove(place);
        }
        None
    }
}

impl Endpoint {
    fn candidate(&self) -> Candidate {
        Candidate {
            weight: self.weight.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// Makes one behind a shut latch.
    #[cfg(test)]
    pub fn at(address: SocketAddr) -> Endpoint {
        Endpoint {
            service: "shop".into(),
            name: "a".into(),
            address,
            weight: AtomicU32::new(1),
            version: Arc::new(Version { name: "1".into(), counts: Mutex::default() }),
            latch: Arc::default(),
            lobby: Arc::default(),
            pool: Pool::default(),
            in_flight: AtomicUsize::new(0),
            counts: Mutex::default(),
        }
    }

    /// Changes what is counted of it.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Version {
    /// Changes what is counted of it.
    pub fn count(&self, change: impl FnOnce(&mut Counts, &mut Times)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (counts, times) = &mut *counts;
        change(counts, times);
    }
}
