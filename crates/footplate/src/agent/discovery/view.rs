//! What the store says of the requests of this host's services, and the bells that ring when it says something else.
//!
//! Invariants: one key each is followed for a process group and for an app, never what other hosts' routes do; how traffic is
//! divided is read before the routes, so that the routes are those of that division or newer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_core::name::{AppPath, HostName, ReleaseId, TargetName};
use footplate_core::record::{Key, Record, Stored};
use footplate_core::traffic::{Canary, EndpointState, Pool, Route, Share, Traffic};
use footplate_drivers::store::{Scope, Store, StoreError, Troubles, Watch};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// One process group.
struct Group {
    traffic: Option<Traffic>,
    routes: BTreeMap<HostName, Route>,
}

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
    groups: BTreeMap<TargetName, Group>,
    /// Since when each app's canary has not been renewed.
    renewals: BTreeMap<AppPath, (u64, Instant)>,
}

impl View {
    pub fn new(host: HostName) -> Self {
        Self { host, groups: BTreeMap::new(), renewals: BTreeMap::new() }
    }

    /// Tells whether the store said something of each of these.
    pub fn covers(&self, targets: &BTreeSet<TargetName>) -> bool {
        targets.iter().all(|target| self.groups.contains_key(target))
    }

    /// Reads what the store says of these groups, and forgets all others.
    pub async fn refresh(
        &mut self,
        store: &dyn Store,
        targets: &BTreeSet<TargetName>,
    ) -> Result<(), StoreError> {
        let mut divisions: BTreeMap<AppPath, Option<Traffic>> = BTreeMap::new();
        for path in targets.iter().map(|target| &target.path) {
            let key = Key::Traffic(path.clone()).to_string();
            let seen = store.read(&Scope::Key(key.clone())).await?;
            divisions
                .insert(path.clone(), seen.entries.get(&key).and_then(|entry| known(&key, &entry.value)));
        }
        let mut groups = BTreeMap::new();
        for target in targets {
            let traffic = divisions.get(&target.path).cloned().flatten();
            // Shares are of all hosts together; without one a host needs to know of itself alone.
            let scope = match traffic.as_ref().and_then(|traffic| traffic.canary.as_ref()) {
                Some(_) => Scope::Prefix(Key::routes_of(target)),
                None => Scope::Key(Key::Route(target.clone(), self.host.clone()).to_string()),
            };
            let seen = store.read(&scope).await?;
            let routes = seen.entries.iter().filter_map(|(key, entry)| match key.parse() {
                Ok(Key::Route(_, host)) => Some((host, known(key, &entry.value)?)),
                _ => None,
            });
            groups.insert(target.clone(), Group { routes: routes.collect(), traffic });
        }
        self.groups = groups;
        self.note_renewals(&divisions);
        Ok(())
    }

    fn note_renewals(&mut self, divisions: &BTreeMap<AppPath, Option<Traffic>>) {
        self.renewals.retain(|path, _| divisions.contains_key(path));
        for (path, traffic) in divisions {
            let canary = traffic.as_ref().and_then(|traffic| traffic.canary.as_ref());
            let renewed = canary.map_or(0, |canary| canary.renewed);
            let known = self.renewals.entry(path.clone()).or_insert((renewed, Instant::now()));
            if known.0 != renewed {
                *known = (renewed, Instant::now());
            }
        }
    }

    /// Returns how long it is until a canary's time is over that nobody renews.
    pub fn next_end(&self) -> Duration {
        let left = self.groups.iter().filter_map(|(target, group)| {
            let canary = group.traffic.as_ref()?.canary.as_ref()?;
            canary.validity.checked_sub(self.renewals.get(&target.path)?.1.elapsed())
        });
        left.min().unwrap_or(Duration::MAX)
    }

    /// Returns what this host's endpoints of a group may do; nothing stands there that is in no route.
    pub fn places(&self, target: &TargetName) -> BTreeMap<ReleaseId, Place> {
        let Some(group) = self.groups.get(target) else { return BTreeMap::new() };
        let canary = self.canary(&target.path, group);
        let traffic = group.traffic.clone().map(|traffic| Traffic { canary: canary.clone(), ..traffic });
        let weights = Pool::new(target.clone(), &group.routes, traffic.as_ref()).weights(canary.as_ref());
        let own = group.routes.get(&self.host).into_iter().flat_map(|route| &route.endpoints);
        own.map(|(release, endpoint)| {
            let weight = weights.get(&(self.host.clone(), release.clone())).copied().unwrap_or_default();
            (release.clone(), Place { state: endpoint.state, weight })
        })
        .collect()
    }

    /// Returns the canary's share as it is now: nothing, when nobody judges it any more.
    fn canary(&self, path: &AppPath, group: &Group) -> Option<Canary> {
        let canary = group.traffic.as_ref()?.canary.clone()?;
        let since = self.renewals.get(path).map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let share = if since >= canary.validity { Share::NONE } else { canary.share };
        Some(Canary { share, ..canary })
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
