//! The fleet: a controller and agents on one store, and what one deployment of it looked like.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use footplate::agent::{self, AgentConfig};
use footplate::api::{By, Deploy, Push, Wanted};
use footplate::client::Client;
use footplate::controller::{self, Config};
use footplate_core::name::AppPath;
use footplate_core::release::{Scripts, Workload};
use footplate_core::rollout::{Delivery, Policy};
use footplate_drivers::store::{Revision, Scope, Store};
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::counted::{Asked, Counted};
use super::server;

/// A running fleet.
pub struct Fleet {
    place: PathBuf,
    agents: usize,
    stores: Vec<Arc<Counted>>,
    controllers: Arc<Counted>,
    watcher: Arc<dyn Store>,
    client: Client,
    stop: CancellationToken,
}

/// What one deployment looked like, read from the hosts' folders.
pub struct Deployment {
    pub to_last: Duration,
    pub switch: Duration,
    pub unfinished: usize,
    pub early: usize,
    pub requests: f64,
    pub renewals: f64,
    pub barrier_writes: u64,
}

const APP: &str = "fleet";
const LOOK_EVERY: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(120);
/// The clock of file times goes in steps of up to 4 ms.
const GRAIN: Duration = Duration::from_millis(4);

impl Fleet {
    /// Starts server, controller and agents, and waits until the controller knows every agent.
    pub async fn open(place: &Path, agents: usize, sockets: bool) -> Result<Fleet, Failure> {
        if place.exists() {
            std::fs::remove_dir_all(place)?;
        }
        std::fs::create_dir_all(place)?;
        let stop = CancellationToken::new();
        let open_store = server::start(&place.join("store"), sockets, &stop).await?;
        let controllers = Counted::new(open_store()?);
        let config = Config {
            lane: "main".parse()?,
            data: place.join("controller"),
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: None,
            tls: None,
            keep_pushed: 20,
            kpi: footplate_drivers::kpi::Settings::default(),
            acts: true,
        };
        let running = controller::start(config, controllers.clone(), stop.clone())
            .await
            .map_err(|failure| format!("{failure:?}"))?;
        let client = Client::new(&running.base, &running.token);
        let mut stores = Vec::new();
        for number in 0..agents {
            let store = Counted::new(open_store()?);
            stores.push(store.clone());
            start_agent(place, number, store, &stop)?;
        }
        let fleet = Fleet {
            place: place.to_owned(),
            agents,
            stores,
            controllers,
            watcher: open_store()?,
            client,
            stop,
        };
        fleet
            .poll_until("all agents are known", async || {
                let hosts = fleet.client.hosts().await?;
                Ok(hosts.iter().filter(|host| host.alive).count() == agents)
            })
            .await?;
        Ok(fleet)
    }

    /// Deploys one version and waits until every host runs it.
    pub async fn deploy(&self, version: &str) -> Result<Deployment, Failure> {
        self.client.push(&push(version)?).await?;
        let barrier = self.watch_barrier().await?;
        self.stores.iter().for_each(|store| {
            store.take();
        });
        self.controllers.take();
        let start = SystemTime::now();
        let release = Wanted::Name(version.to_owned());
        self.client
            .deploy(&Deploy {
                path: path()?,
                release,
                groups: Default::default(),
                overrides: Default::default(),
                fix: None,
                by: By::default(),
            })
            .await?;
        self.poll_until("every host runs it", async || {
            Ok((0..self.agents).all(|host| self.is_live(host, version)))
        })
        .await?;
        self.poll_until("the rollout is over", async || {
            let status = self.client.app_status(&path()?, 0, Duration::ZERO).await?;
            Ok(status.apps.iter().all(|app| app.rollout.as_ref().is_some_and(|rollout| rollout.ended)))
        })
        .await?;
        let opened = barrier.await??;
        self.observe(version, start, opened)
    }

    /// Stops everything and removes the folder.
    pub async fn close(self) {
        self.stop.cancel();
        if let Err(error) = std::fs::remove_dir_all(&self.place) {
            eprintln!("{} is left behind: {error}", self.place.display());
        }
    }

    /// Begins to watch the barrier; the task ends with the moment at which it changed.
    async fn watch_barrier(&self) -> Result<tokio::task::JoinHandle<Result<SystemTime, Failure>>, Failure> {
        let scope = Scope::Key(format!("barriers/production.{APP}"));
        let store = Arc::clone(&self.watcher);
        let before = store.read(&scope).await?;
        let value = move |entries: &std::collections::BTreeMap<String, _>| {
            entries.values().next().map(|entry: &footplate_drivers::store::Entry| entry.revision)
        };
        let old = value(&before.entries);
        Ok(tokio::spawn(async move {
            let mut seen: Revision = before.revision;
            loop {
                if let Some(snapshot) = store.wait(&scope, seen, Duration::from_secs(30)).await? {
                    if value(&snapshot.entries) != old {
                        return Ok(SystemTime::now());
                    }
                    seen = snapshot.revision;
                }
            }
        }))
    }

    fn observe(&self, version: &str, start: SystemTime, opened: SystemTime) -> Result<Deployment, Failure> {
        let (mut last, mut all_prepared) = (start, start);
        let mut hosts = Vec::new();
        for host in 0..self.agents {
            let target = self.target(host);
            let activated = change_time(&target.join("live"))?;
            let prepared = change_time(&target.join(format!("versions/.{version}.complete")))?;
            (last, all_prepared) = (last.max(activated), all_prepared.max(prepared));
            hosts.push((prepared, activated));
        }
        let asked: Vec<Asked> = self.stores.iter().map(|store| store.take()).collect();
        let mean = |of: fn(&Asked) -> u64| asked.iter().map(of).sum::<u64>() as f64 / self.agents as f64;
        Ok(Deployment {
            to_last: last.duration_since(start)?,
            switch: last.duration_since(opened)?,
            unfinished: hosts.iter().filter(|(prepared, _)| *prepared > opened + GRAIN).count(),
            early: hosts.iter().filter(|(_, activated)| *activated + GRAIN < all_prepared).count(),
            requests: mean(|asked| asked.requests),
            renewals: mean(|asked| asked.renewals),
            barrier_writes: self.controllers.take().barrier_writes,
        })
    }

    fn is_live(&self, host: usize, version: &str) -> bool {
        std::fs::read_link(self.target(host).join("live")).is_ok_and(|target| target.ends_with(version))
    }

    fn target(&self, host: usize) -> PathBuf {
        folder(&self.place, host).join("apps/production").join(APP)
    }

    /// Says how far the fleet is, for a run that did not end.
    async fn describe(&self) -> Result<String, Failure> {
        let status = self.client.app_status(&path()?, 0, Duration::ZERO).await?;
        let alive = self.client.hosts().await?.iter().filter(|host| host.alive).count();
        let rollouts = status.apps.iter().filter_map(|app| app.rollout.as_ref());
        let sentences: Vec<&str> = rollouts.map(|rollout| rollout.sentence.as_str()).collect();
        Ok(format!("{alive} of {} agents are alive; {}", self.agents, sentences.join("; ")))
    }

    async fn poll_until(
        &self,
        what: &str,
        mut holds: impl AsyncFnMut() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let start = tokio::time::Instant::now();
        while !holds().await? {
            if start.elapsed() > DEADLINE {
                return Err(format!(
                    "{what}: not within {} s; {}",
                    DEADLINE.as_secs(),
                    self.describe().await?
                )
                .into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn start_agent(
    place: &Path,
    number: usize,
    store: Arc<dyn Store>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let config = AgentConfig {
        host: format!("host-{number:05}").parse()?,
        store: agent::Access::Open(store),
        labels: Default::default(),
        address: "loopback".to_owned(),
        folder: folder(place, number),
        limits: Default::default(),
        settings: Default::default(),
        services_at: std::net::Ipv4Addr::LOCALHOST.into(),
        program: footplate::agent::program(),
        router: None,
        discovery: None,
        is_alone: false,
    };
    std::fs::create_dir_all(&config.folder)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        if let Err(error) = agent::run(config, stop).await {
            eprintln!("an agent has ended: {error}");
        }
    });
    Ok(())
}

/// A release that has no files and runs nothing: what is measured is the way there.
fn push(version: &str) -> Result<Push, Failure> {
    let scripts = Scripts {
        shell: "sh".into(),
        deploy: vec![],
        rollout: vec![],
        clean: vec![],
        deadline: Duration::from_secs(60),
    };
    let delivery = Delivery {
        selector: Default::default(),
        groups: ["files".parse()?].into(),
        policy: Policy::default(),
        retention: Default::default(),
        freezes: Vec::new(),
    };
    Ok(Push {
        app: APP.parse()?,
        version: version.parse()?,
        commit: None,
        summary: None,
        artifact: None,
        workload: Workload::Command(scripts),
        variables: Default::default(),
        routes: Default::default(),
        actor: None,
        environments: [("production".parse()?, delivery)].into(),
    })
}

fn path() -> Result<AppPath, Failure> {
    Ok(AppPath { environment: "production".parse()?, app: APP.parse()? })
}

fn folder(place: &Path, number: usize) -> PathBuf {
    place.join("hosts").join(format!("{number:05}"))
}

fn change_time(path: &Path) -> Result<SystemTime, Failure> {
    let data = std::fs::symlink_metadata(path)?;
    Ok(UNIX_EPOCH + Duration::new(data.ctime().try_into()?, data.ctime_nsec().try_into()?))
}
