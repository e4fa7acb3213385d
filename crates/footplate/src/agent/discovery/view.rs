//! What the store says of the requests of this host's services, and the bells that ring when it says something else.
//!
//! Invariants: one key each is followed for a process group and for an app, never what other hosts' routes do; how traffic is
//! divided is read before the routes, so that the routes are those of that division or newer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::{AppPath, HostName, ReleaseId, TargetName};
use footplate_core::record::{Key, Record, Stored};
use footplate_core::traffic::{EndpointState, Pool, Route, Traffic};
use footplate_drivers::store::{Scope, Store, StoreError, Troubles, Watch};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::agent::renewals::Renewals;

/// What an endpoint of this host may do: its state, and its weight among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub state: EndpointState,
    /// 0 when it gets nothing.
    pub weight: u16,
}

/// What the store says of the groups that this host serves.
pub struct View {
    host: HostName,
    divisions: BTreeMap<AppPath, Traffic>,
    /// Those of each process group.
    routes: BTreeMap<TargetName, BTreeMap<HostName, Route>>,
    renewals: Renewals,
}

impl View {
    pub fn new(host: HostName) -> Self {
        let (divisions, routes) = (BTreeMap::new(), BTreeMap::new());
        Self { host, divisions, routes, renewals: Renewals::default() }
    }

    /// Tells whether the store said something of each of these.
    pub fn covers(&self, targets: &BTreeSet<TargetName>) -> bool {
        targets.iter().all(|target| self.routes.contains_key(target))
    }

    /// Reads what the store says of these groups, and forgets all others.
    pub async fn refresh(
        &mut self,
        store: &dyn Store,
        targets: &BTreeSet<TargetName>,
    ) -> Result<(), StoreError> {
        let paths: BTreeSet<&AppPath> = targets.iter().map(|target| &target.path).collect();
        let mut divisions = BTreeMap::new();
        for path in paths {
            let key = Key::Traffic(path.clone()).to_string();
            let seen = store.read(&Scope::Key(key.clone())).await?;
            let traffic = seen.entries.get(&key).and_then(|entry| known(&key, &entry.value));
            divisions.extend(traffic.map(|traffic| (path.clone(), traffic)));
        }
        let mut routes = BTreeMap::new();
        for target in targets {
            let traffic: Option<&Traffic> = divisions.get(&target.path);
            // Shares are of all hosts together; without one a host needs to know of itself alone.
            let scope = match traffic.and_then(|traffic| traffic.canary.as_ref()) {
                Some(canary) if canary.is_of(&target.group) => Scope::Prefix(Key::routes_of(target)),
                _ => Scope::Key(Key::Route(target.clone(), self.host.clone()).to_string()),
            };
            let seen = store.read(&scope).await?;
            let of_hosts = seen.entries.iter().filter_map(|(key, entry)| match key.parse() {
                Ok(Key::Route(_, host)) => Some((host, known(key, &entry.value)?)),
                _ => None,
            });
            routes.insert(target.clone(), of_hosts.collect());
        }
        self.renewals.note(&divisions);
        (self.divisions, self.routes) = (divisions, routes);
        Ok(())
    }

    /// Returns how long it is until a canary's time is over that nobody renews.
    pub fn next_end(&self) -> Duration {
        self.renewals.next_end(&self.divisions)
    }

    /// Returns what this host's endpoints of a group may do; nothing stands there that is in no route.
    pub fn places(&self, target: &TargetName) -> BTreeMap<ReleaseId, Place> {
        let Some(routes) = self.routes.get(target) else { return BTreeMap::new() };
        let traffic = self.divisions.get(&target.path);
        let traffic = traffic.map(|traffic| self.renewals.in_force(&target.path, traffic));
        let canary = traffic.as_ref().and_then(|traffic| traffic.canary.as_ref());
        let weights = Pool::new(target.clone(), routes, traffic.as_ref()).weights(canary);
        let own = routes.get(&self.host).into_iter().flat_map(|route| &route.endpoints);
        own.map(|(release, endpoint)| {
            let weight = weights.get(&(self.host.clone(), release.clone())).copied().unwrap_or_default();
            (release.clone(), Place { state: endpoint.state, weight })
        })
        .collect()
    }
}

/// Returns the record of a value; what cannot be read is left out, and said.
fn known<T: Record>(key: &str, value: &[u8]) -> Option<T> {
    let because = match serde_json::from_slice::<Stored<T>>(value) {
        Ok(Stored::Known(record)) => return Some(record),
        Ok(Stored::Newer(format)) => format!("a newer footplate wrote it, in format {format}"),
        Err(error) => error.to_string(),
    };
    tracing::warn!(key, because, "this cannot be read; the catalog of services does without it");
    None
}

/// Rings when the store says something new of a group that this host serves.
pub struct Bells {
    host: HostName,
    store: Arc<dyn Store>,
    troubles: Troubles,
    patience: Duration,
    rung: Arc<Notify>,
    hung: BTreeMap<String, AbortOnDropHandle<()>>,
}

impl Bells {
    /// Hangs none yet; each question to the store stays open for `patience`.
    pub fn new(host: HostName, store: Arc<dyn Store>, troubles: Troubles, patience: Duration) -> Self {
        Self { host, store, troubles, patience, rung: Arc::default(), hung: BTreeMap::new() }
    }

    /// Hangs those of these groups, and takes all others down.
    pub fn hang(&mut self, targets: &BTreeSet<TargetName>) {
        let keys = targets.iter().flat_map(|target| {
            [Key::Traffic(target.path.clone()), Key::Route(target.clone(), self.host.clone())]
        });
        let keys: BTreeSet<String> = keys.map(|key| key.to_string()).collect();
        self.hung.retain(|key, _| keys.contains(key));
        for key in keys {
            let is_new = !self.hung.contains_key(&key);
            if is_new {
                let bell = self.bell(key.clone());
                self.hung.insert(key, bell);
            }
        }
    }

    fn bell(&self, key: String) -> AbortOnDropHandle<()> {
        let (store, rung) = (Arc::clone(&self.store), Arc::clone(&self.rung));
        let doing = "follow the routes of this host's services";
        let mut watch = Watch::new(store, Scope::Key(key), self.patience, &self.troubles, doing);
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                watch.next().await;
                rung.notify_one();
            }
        }))
    }

    /// Waits until one rings.
    pub async fn ring(&self) {
        self.rung.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use footplate_core::record::Written;
    use footplate_core::traffic::{Canary, Endpoint};
    use footplate_drivers::store::memory::Memory;
    use footplate_drivers::store::{Applied, Transaction, Write};

    use super::*;

    async fn put<T: Record>(store: &Memory, key: Key, record: &T) {
        let value = serde_json::to_vec(&Written(record)).expect("a record");
        let writes = vec![Write::Put(key.to_string(), value)];
        let written = store.apply(&Transaction { guards: Vec::new(), writes }).await;
        assert_eq!(written.expect("it answers"), Applied::Yes);
    }

    /// The division with a canary of a tenth, after so many renewals.
    async fn divide(store: &Memory, path: &AppPath, renewed: u64) {
        let canary = Canary {
            release: "2".parse().expect("a release"),
            share: "10%".parse().expect("a share"),
            groups: Default::default(),
            validity: Duration::from_secs(60),
            renewed,
        };
        put(store, Key::Traffic(path.clone()), &Traffic { canary: Some(canary), ..Traffic::default() }).await;
    }

    #[tokio::test]
    async fn a_canary_that_was_there_first_gets_nothing_until_it_is_seen_to_be_renewed() {
        let store = Memory::default();
        let target: TargetName = "production.shop.web".parse().expect("a target");
        let host: HostName = "web-1".parse().expect("a host");
        let endpoint = || Endpoint { address: "h:1".to_owned(), state: EndpointState::Serving, weight: 100 };
        let endpoints = ["1", "2"].map(|release| (release.parse().expect("a release"), endpoint()));
        let route = Route { endpoints: endpoints.into() };
        put(&store, Key::Route(target.clone(), host.clone()), &route).await;
        let mut view = View::new(host);
        let mut shown = Vec::new();
        for renewed in [7, 7, 8] {
            divide(&store, &target.path, renewed).await;
            view.refresh(&store, &[target.clone()].into()).await.expect("it is read");
            shown.push(view.places(&target).values().map(|place| place.weight).collect::<Vec<_>>());
        }
        assert_eq!(shown, [vec![1000, 0], vec![1000, 0], vec![900, 100]]);
        assert!(view.next_end() <= Duration::from_secs(60));
    }
}
