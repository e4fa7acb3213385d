//! The router beside this agent: told where requests go, and what it says of them reported.
//!
//! Invariants: routes are read after the traffic's division that they belong to, so that a router which follows a revision
//! knows its routes; a division that is no longer renewed, or was not seen to be, gives a canary nothing; losing the store
//! changes nothing; who holds the host's name has said something of its router, if only that it follows nothing yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_core::name::{AppPath, HostName, Target, TargetName};
use footplate_core::record::{Key, Record, Stored, Written};
use footplate_core::traffic::{
    self, Busy, Disputed, Followed, Following, Pool, Route, RouterReport, Traffic,
};
use footplate_drivers::router::{EndpointName, Router, RouterError};
use footplate_drivers::store::{Scope, Snapshot, Store, StoreError, Trouble, Troubles, Watch};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::renewals::Renewals;
use super::reporter::Reporter;

/// How often a router is asked what is in flight, while something leaves.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How often it is told again when nothing changes: it may have been made anew.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Looks after one router.
pub struct Routing {
    /// The host that it runs on.
    pub host: HostName,
    /// Where routes come from.
    pub store: Arc<dyn Store>,
    /// What is said when the store does not answer.
    pub troubles: Troubles,
    /// How long one poll of the store lasts.
    pub patience: Duration,
    /// The router.
    pub router: Arc<dyn Router>,
    /// Where its report goes.
    pub reporter: Arc<Reporter>,
}

/// What the store says about traffic.
#[derive(Default)]
struct Tree {
    traffic: BTreeMap<AppPath, Traffic>,
    routes: BTreeMap<TargetName, BTreeMap<HostName, Route>>,
}

/// What a router was told last.
#[derive(Default)]
struct Told {
    pools: Vec<Pool>,
    /// Nothing unless it follows that, as far as it has said.
    at: Option<Instant>,
}

impl Routing {
    /// Tells and asks the router until it is dropped.
    pub async fn run(self) {
        self.publish(&RouterReport::default());
        let news = Arc::new(Notify::new());
        let mut watches = JoinSet::new();
        for prefix in [Key::TRAFFIC, Key::ROUTES] {
            watches.spawn(self.watch(prefix, Arc::clone(&news)));
        }
        let (mut reading, mut mute) = (self.troubles.of("read the routes"), Mute::default());
        let mut tree: Option<Tree> = None;
        let mut quarrels = Quarrels::default();
        let (mut renewals, mut last) = (Renewals::default(), Told::default());
        let (mut is_stale, mut has_told) = (true, false);
        loop {
            if is_stale {
                match self.read().await {
                    Ok(fresh) => {
                        reading.is_over();
                        tree = Some(fresh);
                        is_stale = false;
                    }
                    Err(error) => tokio::time::sleep_until(self.after(&mut reading, &error)).await,
                }
            }
            // Before the store was read once, the router goes on as it was told by an agent before this one.
            let Some(tree) = &tree else { continue };
            renewals.note(&tree.traffic);
            let mut pools = tree.pools(&renewals);
            quarrels.note(traffic::settle(&mut pools));
            let told = self.tell(tree, pools, &mut last).await;
            if !std::mem::replace(&mut has_told, true) {
                self.reporter.first_report_is_in();
            }
            let pause = mute.note(&told, self.router.as_ref()).min(last.due_in());
            let pause = pause.min(renewals.next_end(&tree.traffic));
            let pause = if is_stale { Duration::ZERO } else { pause };
            tokio::select! {
                () = news.notified() => is_stale = true,
                () = tokio::time::sleep(pause) => (),
            }
        }
    }

    /// Tells of every change below a prefix.
    fn watch(&self, prefix: &str, news: Arc<Notify>) -> impl Future<Output = ()> + Send + 'static {
        let scope = Scope::Prefix(prefix.to_owned());
        let store = Arc::clone(&self.store);
        let mut watch = Watch::new(store, scope, self.patience, &self.troubles, "follow the routes");
        async move {
            loop {
                watch.next().await;
                news.notify_one();
            }
        }
    }

    fn after(&self, reading: &mut Trouble, error: &StoreError) -> tokio::time::Instant {
        tokio::time::Instant::now() + reading.failed(error)
    }

    /// Reads how traffic is divided first, and the routes after it.
    async fn read(&self) -> Result<Tree, StoreError> {
        let divisions = self.store.read(&Scope::Prefix(Key::TRAFFIC.to_owned())).await?;
        let routes = self.store.read(&Scope::Prefix(Key::ROUTES.to_owned())).await?;
        Ok(Tree::parse(&divisions, &routes))
    }

    /// Tells the router if that is due, asks it what is in flight, reports both; returns whether something still leaves.
    async fn tell(&self, tree: &Tree, pools: Vec<Pool>, last: &mut Told) -> Result<bool, RouterError> {
        // Until it has said what is in flight, it counts as not told.
        let before = std::mem::take(last);
        let told_at = match before.at.filter(|_| before.pools == pools && !before.due_in().is_zero()) {
            Some(at) => at,
            None => {
                self.router.follow(&pools).await?;
                Instant::now()
            }
        };
        let Some(in_flight) = self.router.in_flight().await? else { return Ok(true) };
        let leaving = tree.leaving(&pools, &in_flight);
        *last = Told { pools, at: Some(told_at) };
        self.report(tree, |path, traffic| Followed {
            revision: traffic.revision,
            busy: leaving.get(path).cloned().unwrap_or_default(),
        });
        Ok(!leaving.is_empty())
    }

    fn report(&self, tree: &Tree, followed: impl Fn(&AppPath, &Traffic) -> Followed) {
        let following = |(path, traffic): (&AppPath, &Traffic)| Following {
            path: path.clone(),
            followed: followed(path, traffic),
        };
        self.publish(&RouterReport { apps: tree.traffic.iter().map(following).collect() });
    }

    fn publish(&self, report: &RouterReport) {
        let value = serde_json::to_vec(&Written(report)).expect("a report is names and numbers");
        self.reporter.publish(&Key::Router(self.host.clone()).to_string(), value);
    }
}

impl Told {
    /// Returns how long it is until the router is told again though nothing changed: it may have been made anew. Whoever
    /// failed has a pace of its own.
    fn due_in(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| TELL_EVERY.saturating_sub(at.elapsed()))
    }
}

impl Tree {
    fn parse(divisions: &Snapshot, routes: &Snapshot) -> Self {
        let mut tree = Self::default();
        for (key, entry) in &divisions.entries {
            if let (Ok(Key::Traffic(path)), Some(traffic)) = (key.parse(), known(key, &entry.value)) {
                tree.traffic.insert(path, traffic);
            }
        }
        for (key, entry) in &routes.entries {
            if let (Ok(Key::Route(target, host)), Some(route)) = (key.parse(), known(key, &entry.value)) {
                tree.routes.entry(target).or_default().insert(host, route);
            }
        }
        tree
    }

    /// Returns the pool of each process group. One without a route, because nothing of it is ready now, has no member: the router
    /// knows it all the same, and holds its requests.
    fn pools(&self, renewals: &Renewals) -> Vec<Pool> {
        let nowhere = BTreeMap::new();
        let pool = |target: &TargetName| {
            let routes = self.routes.get(target).unwrap_or(&nowhere);
            let traffic = self.traffic.get(&target.path);
            let traffic = traffic.map(|traffic| renewals.in_force(&target.path, traffic));
            Pool::new(target.clone(), routes, traffic.as_ref())
        };
        let reached = self.traffic.iter().flat_map(|(path, traffic)| {
            traffic.groups.keys().map(|group| TargetName { path: path.clone(), group: group.clone() })
        });
        let targets: BTreeSet<TargetName> = self.routes.keys().cloned().chain(reached).collect();
        targets.iter().map(pool).collect()
    }

    /// Lists what leaves and has requests in flight: it drains, or stands in no route any more.
    fn leaving(
        &self,
        pools: &[Pool],
        in_flight: &BTreeSet<EndpointName>,
    ) -> BTreeMap<AppPath, BTreeSet<Busy>> {
        let stays: BTreeSet<EndpointName> = pools
            .iter()
            .flat_map(|pool| pool.members.iter().filter(|member| !member.is_draining).map(|m| m.name(pool)))
            .map(|(service, endpoint)| EndpointName { service, endpoint })
            .collect();
        let mut leaving: BTreeMap<AppPath, BTreeSet<Busy>> = BTreeMap::new();
        for name in in_flight.difference(&stays) {
            let Some((target, busy)) = parse(name) else { continue };
            leaving.entry(target.path).or_default().insert(busy);
        }
        leaving
    }
}

fn parse(name: &EndpointName) -> Option<(TargetName, Busy)> {
    let target: TargetName = name.service.parse().ok()?;
    let (host, release) = name.endpoint.split_once('/')?;
    let place = Target { host: host.parse().ok()?, group: target.group.clone() };
    Some((target, Busy { target: place, release: release.parse().ok()? }))
}

/// Returns the record of a value; what a newer footplate wrote is left out, and said.
fn known<T: Record>(key: &str, value: &[u8]) -> Option<T> {
    match serde_json::from_slice::<Stored<T>>(value) {
        Ok(Stored::Known(record)) => Some(record),
        Ok(Stored::Newer(format)) => {
            tracing::warn!(key, format, "a newer footplate wrote this; this agent's router does without it");
            None
        }
        Err(error) => {
            tracing::warn!(key, %error, "this cannot be read; this agent's router does without it");
            None
        }
    }
}

/// Says once which requests two services claim.
#[derive(Default)]
struct Quarrels {
    said: Vec<Disputed>,
}

impl Quarrels {
    fn note(&mut self, disputed: Vec<Disputed>) {
        for quarrel in disputed.iter().filter(|quarrel| !self.said.contains(quarrel)) {
            tracing::warn!(
                "requests belong to two services\n  because: {quarrel}\n  next: {} gets them; give {} `routes` of its own, and \
                 deploy it",
                quarrel.owner,
                quarrel.other
            );
        }
        self.said = disputed;
    }
}

/// Says why a router does not do as it is told, each cause once, and once that it does again.
#[derive(Default)]
struct Mute {
    said: Option<String>,
}

impl Mute {
    /// Notes how telling went, and returns how long to wait before it is told again.
    fn note(&mut self, told: &Result<bool, RouterError>, router: &dyn Router) -> Duration {
        match told {
            Ok(is_leaving) => {
                if self.said.take().is_some() {
                    tracing::info!("{} follows again", router.describe());
                }
                if *is_leaving { ASK_EVERY } else { TELL_EVERY }
            }
            Err(error) => {
                let because = footplate_drivers::chain(error);
                if self.is_new(&because) {
                    tracing::warn!(
                        "cannot tell where requests go\n  because: {because}\n  next: {}",
                        error.next()
                    );
                }
                ASK_EVERY * 4
            }
        }
    }

    fn is_new(&mut self, because: &str) -> bool {
        self.said.replace(because.to_owned()).as_deref() != Some(because)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_of_a_routers_trouble_is_said_once() {
        let mut mute = Mute::default();
        let said = ["silent", "silent", "refused", "silent"].map(|because| mute.is_new(because));
        assert_eq!(said, [true, false, true, true]);
    }
}
