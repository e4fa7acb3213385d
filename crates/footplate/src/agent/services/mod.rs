//! The services of this host: started and stopped as orders say, watched, and told to the workers.
//!
//! Invariants: what runs is watched, whoever started it; how a service was is remembered across the agent's own restarts,
//! so that one that is ready stays so; a service without a watcher is in nobody's report; one whose port is somebody else's gets
//! another.

mod strangers;
mod unseen;
mod usage;
mod watched;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use footplate_core::name::{HostName, ReleaseId, TargetName};
use footplate_core::release::service::Listen;
use footplate_core::release::{Release, Service, service};
use footplate_core::target::{Acceptance, AcceptanceHook, Lapse, Up};
use footplate_drivers::chain;
use footplate_drivers::disk::{self, DiskError};
use footplate_drivers::health::{Asker, Tried};
use footplate_drivers::service::{
    Exit, NotAService, Order, Phase, PortError, PortRegister, ServiceError, ServiceName, Status, Supervisor,
};
use footplate_drivers::shell::User;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use strangers::Strangers;
use unseen::Unseen;
use watched::{Place, Watched};

/// How often the processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The most of what a service printed that is told when it is stopped for good.
const LAST_WORDS_BYTES_MAX: usize = 64 << 10;

/// What is known of the processes, by service.
type Statuses = Arc<BTreeMap<ServiceName, Status>>;

/// The services of one host.
pub struct Services {
    host: HostName,
    /// Where they are reached.
    address: IpAddr,
    /// Who they run as, unless they say so themselves.
    user: Option<User>,
    folder: PathBuf,
    supervisor: Arc<dyn Supervisor>,
    ports: Arc<PortRegister>,
    asker: Asker,
    tended: Mutex<BTreeMap<ServiceName, Tended>>,
    /// Told when the first service is tended.
    begun: Notify,
    statuses: watch::Sender<Statuses>,
    strangers: Strangers,
    /// Rises with everything that workers should know.
    news: watch::Sender<u64>,
}

/// One service that is watched.
struct Tended {
    watched: Arc<Watched>,
    /// Who opens its port.
    listen: Listen,
    _watcher: AbortOnDropHandle<()>,
}

/// A failure of a service: why, and its last words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// In a sentence.
    pub why: String,
    /// Whether it had worked before.
    pub lapse: Option<Lapse>,
    /// What it printed last.
    pub output: String,
}

/// How a service ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// That it had to be killed, in a sentence.
    pub unwilling: Option<String>,
    /// What it printed last.
    pub output: String,
}

/// Why a service could not be started, stopped or forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// Whoever keeps it could not.
    #[error(transparent)]
    Supervisor(#[from] ServiceError),
    /// There is no port for it.
    #[error("cannot give it a port")]
    Port(#[from] PortError),
    /// The release does not say what to run.
    #[error(transparent)]
    NotAService(#[from] NotAService),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl ServicesError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            ServicesError::Supervisor(error) => error.next(),
            ServicesError::Port(error) => error.next(),
            ServicesError::NotAService(_) => "push a version whose `footplate.toml` says so".to_owned(),
            ServicesError::Disk(error) => error.next(),
        }
    }
}

impl Services {
    /// Opens the services in `folder`, which is the agent's own.
    pub fn open(
        folder: &Path,
        supervisor: Arc<dyn Supervisor>,
        host: HostName,
        address: IpAddr,
        user: Option<User>,
    ) -> Result<Arc<Self>, ServicesError> {
        disk::create_folder(&folder.join(watched::FOLDER))?;
        let ports = Arc::new(PortRegister::open(folder)?);
        Ok(Arc::new(Self {
            host,
            address,
            user,
            folder: folder.to_owned(),
            supervisor,
            ports,
            asker: Asker::new(),
            tended: Mutex::default(),
            begun: Notify::new(),
            statuses: watch::Sender::new(Arc::default()),
            strangers: Strangers::default(),
            news: watch::Sender::new(0),
        }))
    }

    /// Looks at the processes for as long as it is polled; at rest when there is none.
    pub async fn run(&self) {
        match self.supervisor.revive().await {
            Ok(revived) if revived.is_empty() => {}
            Ok(revived) => {
                let names: Vec<String> = revived.iter().map(ServiceName::to_string).collect();
                tracing::info!(host = %self.host, "started again: {}", names.join(", "));
            }
            Err(error) => {
                tracing::error!(host = %self.host, "cannot start again what ran: {}", chain(&error))
            }
        }
        let mut unseen = Unseen::default();
        loop {
            if self.tended().is_empty() {
                self.begun.notified().await;
            }
            match self.supervisor.look().await {
                Ok(looks) => {
                    let list = unseen.note(looks);
                    self.look_for_strangers(&list).await;
                    let all = list.into_iter().map(|status| (status.name.clone(), status)).collect();
                    self.statuses.send_replace(Arc::new(all));
                }
                Err(error) => {
                    tracing::warn!(host = %self.host, "cannot look at the services: {}", chain(&error))
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lets a worker know when something changed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Says which services of a target are up, and how.
    pub fn up(&self, target: &TargetName) -> BTreeMap<ReleaseId, Up> {
        let tended = self.tended();
        let ours = tended.iter().filter(|(name, _)| name.target == *target);
        ours.map(|(name, tended)| (name.release.clone(), tended.watched.up())).collect()
    }

    /// Says which services are up and reached at an address, and how, by target.
    pub fn all_up(&self) -> BTreeMap<TargetName, BTreeMap<ReleaseId, Up>> {
        let mut all: BTreeMap<TargetName, BTreeMap<ReleaseId, Up>> = BTreeMap::new();
        for (name, tended) in self.tended().iter() {
            let up = tended.watched.up();
            if up.address.is_some() {
                all.entry(name.target.clone()).or_default().insert(name.release.clone(), up);
            }
        }
        all
    }

    /// Tells whether the service of a release is up and has an address.
    pub fn is_reached(&self, target: &TargetName, release: &ReleaseId) -> bool {
        self.up(target).get(release).is_some_and(|up| up.address.is_some())
    }

    /// Says which services of a target have failed since they were started, and why.
    pub fn failures(&self, target: &TargetName) -> BTreeMap<ReleaseId, Failed> {
        let tended = self.tended();
        let ours = tended.iter().filter(|(name, _)| name.target == *target);
        ours.filter_map(|(name, tended)| Some((name.release.clone(), tended.watched.failed()?))).collect()
    }

    /// Says which services of a target crashed once they had settled, and how often, until [`Services::tell_crashes`].
    pub fn crashes(&self, target: &TargetName) -> BTreeMap<ReleaseId, Failed> {
        let tended = self.tended();
        let ours = tended.iter().filter(|(name, _)| name.target == *target);
        ours.filter_map(|(name, tended)| Some((name.release.clone(), tended.watched.crash()?))).collect()
    }

    /// Notes that so many crashes of these releases stand on the disk, and need not be said again.
    pub fn tell_crashes(&self, target: &TargetName, times: BTreeMap<ReleaseId, u32>) {
        let tended = self.tended();
        for (release, times) in times {
            if let Some(tended) = tended.get(&ServiceName { target: target.clone(), release }) {
                tended.watched.is_told(times);
            }
        }
    }

    /// Returns the release of a target whose service cannot begin, as somebody else listens on its port. Started anew it gets another.
    pub fn displaced(&self, target: &TargetName) -> Option<ReleaseId> {
        self.strangers.displaced(target)
    }

    async fn look_for_strangers(&self, list: &[Status]) {
        let opens = |status: &Status| self.tended().get(&status.name).map(|tended| tended.listen);
        if self.strangers.look(list, opens, self.supervisor.as_ref()).await {
            self.news.send_modify(|number| *number += 1);
        }
    }

    /// Watches what runs of a target since before this agent: all but what was stopped.
    pub async fn resume(
        &self,
        target: &TargetName,
        releases: &[Release],
        folder: &(dyn Fn(&ReleaseId) -> PathBuf + Sync),
    ) -> Result<(), ServicesError> {
        let ours = self.supervisor.look().await?.into_iter().filter(|(name, _)| name.target == *target);
        for (_, looked) in ours {
            let status = looked?;
            if status.phase == Phase::Stopped {
                continue;
            }
            let release = releases.iter().find(|release| release.id == status.name.release);
            let service = release.and_then(|release| release.service(&target.group));
            // What an order no longer names is watched by its process alone, until it is stopped.
            let usual = Service::worker("");
            let order = release
                .filter(|release| release.service(&target.group).is_some())
                .map(|release| self.order(target, release, &folder(&release.id), status.port))
                .transpose()?;
            self.tend(&status, service.unwrap_or(&usual), order.as_ref(), true);
        }
        Ok(())
    }

    /// Starts the service of a release, whose files are in `folder`, and watches it.
    pub async fn start(
        &self,
        target: &TargetName,
        release: &Release,
        folder: &Path,
    ) -> Result<(), ServicesError> {
        let missing = || NotAService { release: release.id.clone(), target: target.clone() };
        let service = release.service(&target.group).ok_or_else(missing)?;
        let name = ServiceName { target: target.clone(), release: release.id.clone() };
        let port = match service.ports() {
            Some(range) => Some(self.port(name, range).await?),
            None => None,
        };
        let order = self.order(target, release, folder, port)?;
        let status = self.supervisor.start(&order).await?;
        self.tend(&status, service, Some(&order), false);
        Ok(())
    }

    /// Stops a service and watches it no longer.
    pub async fn stop(&self, target: &TargetName, release: &ReleaseId) -> Result<Ended, ServicesError> {
        let name = ServiceName { target: target.clone(), release: release.clone() };
        self.supervisor.stop(&name).await?;
        self.strangers.forget(&name);
        let status = self.supervisor.status(&name).await?;
        // It is in no report from here on, and how it ended is in the same one: nothing is waited for in between.
        let watched = self.tended().remove(&name).map(|tended| tended.watched);
        watched::forget(&self.folder, &name);
        let output = watched.map(|watched| watched.last_words(LAST_WORDS_BYTES_MAX)).unwrap_or_default();
        let unwilling = status.and_then(|status| status.last_exit).filter(Exit::was_unwilling);
        Ok(Ended { unwilling: unwilling.map(|exit| exit.why), output })
    }

    /// Tries the acceptance hook on a service that is up, and notes it when it passed. Nothing when `stop` fired before its end.
    pub async fn accept(
        &self,
        target: &TargetName,
        wanted: &Acceptance,
        stop: &CancellationToken,
    ) -> Option<Tried> {
        let name = ServiceName { target: target.clone(), release: wanted.release.clone() };
        let watched = Arc::clone(&self.tended().get(&name)?.watched);
        let concerned =
            |hook: &&AcceptanceHook| hook.group.as_ref().is_none_or(|group| *group == target.group);
        let tried = match wanted.hook.as_ref().filter(concerned) {
            Some(hook) => watched.accept(&self.asker, hook, wanted.times.saturating_sub(1), stop).await?,
            None => Tried::default(),
        };
        if tried.failure.is_none() {
            watched.accepted(wanted.times);
        }
        Some(tried)
    }

    /// Removes what is kept of a service that is stopped: its logs, its port.
    pub async fn forget(&self, target: &TargetName, release: &ReleaseId) -> Result<(), ServicesError> {
        let name = ServiceName { target: target.clone(), release: release.clone() };
        self.supervisor.forget(&name).await?;
        let ports = Arc::clone(&self.ports);
        Ok(blocking(move || ports.give_back(&name)).await?)
    }

    fn order(
        &self,
        target: &TargetName,
        release: &Release,
        folder: &Path,
        port: Option<u16>,
    ) -> Result<Order, NotAService> {
        let user = self.user.as_ref().map(|user| user.name.as_str());
        Order::of(&self.host, target, release, folder, user, port)
    }

    /// Returns the port of a service that is to be started: another one than it had, when that is somebody else's by now.
    async fn port(&self, name: ServiceName, range: service::Ports) -> Result<u16, ServicesError> {
        let there = self.supervisor.status(&name).await?;
        let is_there = there.is_some_and(|status| status.phase != Phase::Stopped);
        let ports = Arc::clone(&self.ports);
        Ok(blocking(move || {
            let taken = if is_there { None } else { ports.give_up_taken(&name)? };
            let port = ports.take(&name, range);
            match (taken, &port) {
                (Some(taken), Ok(port)) => {
                    tracing::warn!(service = %name, "somebody else listens on port {taken}; it gets port {port}");
                }
                (Some(taken), Err(error)) => {
                    tracing::error!(service = %name, "somebody else listens on port {taken}: {error}\n  next: {}", error.next());
                }
                (None, _) => {}
            }
            port
        })
        .await?)
    }

    fn tend(&self, status: &Status, service: &Service, order: Option<&Order>, resumed: bool) {
        let place = Place::new(self.address, status, order, self.user.clone(), &self.folder);
        let watched = Arc::new(Watched::begin(&service.health, place, status, resumed));
        let watcher = watched::watch(
            Arc::clone(&watched),
            Arc::clone(&self.supervisor),
            self.asker.clone(),
            self.statuses.subscribe(),
            self.news.clone(),
        );
        let watcher = AbortOnDropHandle::new(tokio::spawn(watcher));
        let listen = order.map_or(Listen::Socket, |order| order.listen);
        self.tended().insert(status.name.clone(), Tended { watched, listen, _watcher: watcher });
        self.begun.notify_one();
        self.news.send_modify(|number| *number += 1);
    }

    fn tended(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Tended>> {
        self.tended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("writing a register does not panic")
}
