//! The agent: makes one host what the store says it should be, and reports what it is.
//!
//! Invariants: it never decides a rollout; it changes nothing on a host whose name another agent holds; losing the store
//! stops nothing. The loops: `presence` holds the name, `orders` reads, a `worker` for each target acts, `reporter`
//! writes, `outputs` posts, `routing` looks after the router beside it, `counting` sends what that counted, `usages` what services use.

mod access;
mod barrier;
mod clients;
mod counting;
mod crew;
mod discovery;
mod footprint;
mod hands;
mod memory;
mod mishap;
mod orders;
mod outputs;
mod presence;
mod renewals;
mod reporter;
mod routing;
mod services;
mod state;
mod usages;
mod worker;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_core::fleet as core_fleet;
use footplate_core::name::HostName;
use footplate_core::record::{Key, Stored, Written};
use footplate_core::selector::Labels;
use footplate_core::traffic::RouterOrder;
use footplate_drivers::discovery as discovery_driver;
use footplate_drivers::disk::HeldFolder;
use footplate_drivers::router::{self, Router};
use footplate_drivers::service;
use footplate_drivers::store::{Store, Troubles};
use footplate_drivers::workload::Settings;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub use access::{Access, AgentError};
pub use services::ServicesError;
pub use state::StateError;

use crate::clock;
use clients::Clients;
use counting::Counting;
use crew::Crew;
use discovery::{Discovery, Doors};
use outputs::Outputs;
use presence::{Announcement, Membership, Presence};
use reporter::{Reporter, Writer};
use routing::Routing;
use services::Services;
use state::StateDirectory;
use usages::Usages;
use worker::Shared;

/// How long the last processes of a killed agent may hold its folder.
const FORMER_LIFE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// How long a goodbye to the store may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What an agent needs to know to begin.
pub struct AgentConfig {
    /// The host it speaks for.
    pub host: HostName,
    /// Where orders come from and reports go.
    pub store: Access,
    /// What selectors choose hosts by.
    pub labels: Labels,
    /// Where people reach the host; for them alone.
    pub address: String,
    /// The agent's own folder: `state/` and `apps/` are made in it.
    pub folder: PathBuf,
    /// The bounds of its work.
    pub limits: Limits,
    /// How scripts run and artifacts are unpacked.
    pub settings: Settings,
    /// Where its services are reached.
    pub services_at: IpAddr,
    /// Footplate's own executable, which keeps services running.
    pub program: PathBuf,
    /// The router beside it, when there is one.
    pub router: Option<router::Config>,
    /// The catalog that its services stand in, when they do.
    pub discovery: Option<discovery_driver::Config>,
    /// Whether the process is this agent's alone. Then it gives back at rest what it mapped of the program, and systemd may
    /// keep its services: units of several hosts would have the same names.
    pub is_alone: bool,
}

/// The bounds of an agent's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one poll of the store lasts.
    pub poll_patience: Duration,
    /// How often the disk is looked at when nothing happens; no store request is made for it.
    pub look_every: Duration,
    /// How many releases are prepared side by side.
    pub prepares_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { poll_patience: Duration::from_secs(60), look_every: Duration::from_secs(30), prepares_max: 2 }
    }
}

/// Returns the path of footplate's executable as it was when this process began.
pub fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("footplate"))
}

/// Returns where an agent keeps its services, below its folder.
pub fn services_in(folder: &Path) -> PathBuf {
    folder.join("services")
}

/// Runs one agent until shutdown. Several may run in one process, each with its own host and root.
///
/// Hooks that still run at shutdown are killed; what is live stays live.
///
/// # Errors
/// Only when it cannot begin: its state directory is in use or cannot be written, the store's configuration is wrong, or
/// the join token is refused. A store that does not answer is no error.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<(), AgentError> {
    let folder = take_folder(&config.folder).await?;
    let state = StateDirectory::open(folder.inside("state"))?;
    let opened = tokio::select! {
        opened = access::open(&config.store, &config.host, &state) => opened?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let kept = services_in(&config.folder);
    let supervisor = match config.is_alone {
        true => service::open(&kept, config.program.clone()),
        false => service::open_keepers(&kept, config.program.clone()),
    };
    let services = Services::open(
        &kept,
        supervisor.map_err(ServicesError::from)?,
        config.host.clone(),
        config.services_at,
        config.settings.user.clone(),
    )?;
    act(config, folder.inside("apps"), state, services, opened, shutdown).await
}

/// Takes the agent's folder. A former life that was killed while it started a script may hold it for an instant more.
async fn take_folder(folder: &Path) -> Result<HeldFolder, StateError> {
    let begun = Instant::now();
    loop {
        match HeldFolder::take(folder)? {
            Some(held) => return Ok(held),
            None if begun.elapsed() < FORMER_LIFE => tokio::time::sleep(LOCK_PAUSE).await,
            None => return Err(StateError::InUse { folder: folder.to_owned() }),
        }
    }
}

async fn act(
    config: AgentConfig,
    apps: HeldFolder,
    state: StateDirectory,
    services: Arc<Services>,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let remembered = state.read_targets(clock::now())?;
    tracing::info!(host = %config.host, targets = remembered.len(), "the agent starts with {}", store.describe());
    let awaited = remembered.values().filter(|memory| Crew::is_worked_on(memory)).count();
    // No rollout may think that there is no router here, only because its agent has just begun.
    let awaited = awaited + usize::from(config.router.is_some());
    let (troubles, reporter) = (Troubles::default(), Arc::new(Reporter::new(awaited)));
    let (presence, membership, doubt) = Presence::new(
        Arc::clone(&store),
        troubles.clone(),
        announcement(&config, &state),
        Arc::clone(&reporter),
    );
    let (tell_orders, orders) = watch::channel(None);
    let (work, work_noted) = watch::channel(());
    let clients = Arc::new(Clients::new(config.store.ca_file()));
    let (outputs, poster) = Outputs::new(config.host.clone(), Arc::clone(&clients));
    let writer = Writer {
        store: Arc::clone(&store),
        troubles: troubles.clone(),
        reporter: Arc::clone(&reporter),
        membership: membership.clone(),
        doubt,
        alive: Key::Presence(config.host.clone()).to_string(),
    };
    let watch = orders::of(&config.host, Arc::clone(&store), &troubles, config.limits.poll_patience);
    let (tell_router, router_orders) = watch::channel(None);
    let router = config.router.as_ref().map(router::open);
    let counting = counting(router.as_ref(), &config.host, &clients, router_orders);
    let routing = routing(router, &config, &store, &troubles, &reporter);
    let shared = Arc::new(Shared {
        host: config.host.clone(),
        store: Arc::clone(&store),
        troubles,
        state,
        reporter,
        outputs,
        services: Arc::clone(&services),
        doors: config.discovery.as_ref().map(|discovery| Doors::new(discovery.drain)),
        prepares: Semaphore::new(config.limits.prepares_max.max(1)),
        work,
        patience: config.limits.poll_patience,
        look_every: config.limits.look_every,
    });
    let discovery = Discovery::open(config.discovery.as_ref(), &shared, membership.clone())?;
    let usages = Usages::new(&config.host, &services, &clients, &orders);
    let crew = Crew::new(shared, apps, config.settings.clone(), clients, remembered);
    let loops = async {
        let follow = orders::follow(config.host.clone(), watch, tell_orders, tell_router);
        let beside = async { tokio::join!(routing, counting, discovery::run(discovery), usages.run()) };
        let small = keep_small(config.is_alone, work_noted);
        tokio::join!(presence.run(), writer.run(), poster.run(), follow, beside, services.run(), small);
    };
    tokio::select! {
        () = crew.run(membership.clone(), orders, shutdown) => (),
        () = loops => unreachable!("the loops end only by being dropped"),
    }
    say_goodbye(&config.host, store.as_ref(), &membership).await;
    Ok(())
}

/// Gives back at rest what an agent alone in its process mapped of its program.
async fn keep_small(is_alone: bool, work: watch::Receiver<()>) {
    if is_alone {
        footprint::keep_small(work).await;
    }
}

/// Looks after the router beside the agent, if there is one.
fn routing(
    router: Option<Arc<dyn Router>>,
    config: &AgentConfig,
    store: &Arc<dyn Store>,
    troubles: &Troubles,
    reporter: &Arc<Reporter>,
) -> impl Future<Output = ()> + use<> {
    let routing = router.map(|router| Routing {
        host: config.host.clone(),
        store: Arc::clone(store),
        troubles: troubles.clone(),
        patience: config.limits.poll_patience,
        router,
        reporter: Arc::clone(reporter),
    });
    async move {
        if let Some(routing) = routing {
            routing.run().await;
        }
    }
}

/// Sends what the router beside the agent counted, if there is one.
fn counting(
    router: Option<&Arc<dyn Router>>,
    host: &HostName,
    clients: &Arc<Clients>,
    orders: watch::Receiver<Option<RouterOrder>>,
) -> impl Future<Output = ()> + use<> {
    let counting = router.map(|router| Counting {
        host: host.clone(),
        router: Arc::clone(router),
        clients: Arc::clone(clients),
        orders,
    });
    async move {
        if let Some(counting) = counting {
            counting.run().await;
        }
    }
}

/// Ends the session, so that the host is seen to be gone at once and a restart need not wait.
async fn say_goodbye(host: &HostName, store: &dyn Store, membership: &watch::Receiver<Membership>) {
    let Membership::Held(session) = membership.borrow().clone() else { return };
    match tokio::time::timeout(GOODBYE, store.close_session(&session)).await {
        Ok(Ok(())) => tracing::info!(host = %host, "the agent ended"),
        Ok(Err(_)) | Err(_) => {
            tracing::info!(host = %host, "the agent ended; its session ends by itself, the store does not answer");
        }
    }
}

fn announcement(config: &AgentConfig, state: &StateDirectory) -> Announcement {
    let instance = state.instance().to_owned();
    let lasting = core_fleet::Presence {
        instance: instance.clone(),
        address: config.address.clone(),
        labels: config.labels.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        vitals: None,
    };
    let folder = config.folder.clone();
    let value = move || {
        let record = core_fleet::Presence { vitals: Some(vitals(&folder)), ..lasting.clone() };
        serde_json::to_vec(&Written(&record)).expect("a presence is names and text")
    };
    let is_ours = move |value: &[u8]| match serde_json::from_slice(value) {
        Ok(Stored::Known(core_fleet::Presence { instance: theirs, .. })) => theirs == instance,
        Ok(Stored::Newer(_)) | Err(_) => false,
    };
    Announcement {
        host: config.host.to_string(),
        key: Key::Presence(config.host.clone()).to_string(),
        prefix: Key::agent_of(&config.host),
        value: Box::new(value),
        is_ours: Box::new(is_ours),
    }
}

/// Looks at the machine; what cannot be measured is not said.
fn vitals(folder: &Path) -> core_fleet::Vitals {
    let free = rustix::fs::statvfs(folder).map(|stats| stats.f_bavail * stats.f_frsize);
    core_fleet::Vitals { at: clock::now(), free_bytes: free.ok() }
}

#[cfg(test)]
mod tests;
