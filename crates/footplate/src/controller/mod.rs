//! The controller: decides what every host must run, and never touches one.
//!
//! Invariants: one worker writes, and only while it holds the lease; the record is written before anything is done; a
//! handler reads or asks; a controller that died anywhere is continued by the next holder of the lease.

mod act;
mod artifacts;
mod clean;
mod commit;
mod doctor;
mod ends;
mod extract;
mod find;
mod fit;
mod forget;
mod gate;
mod hosts;
mod http;
mod journal;
mod judging;
pub mod lease;
pub mod listen;
mod looks;
mod orders;
mod outputs;
mod plan;
pub mod problem;
mod site;
mod standby;
mod status;
pub mod token;
mod traffic;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use footplate_core::name::{AppName, LaneName};
use footplate_drivers::artifact::Directory;
use footplate_drivers::store::Store;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Problem, ProblemKind};
use crate::failure::{Exit, Failure};
use journal::Journal;
use judging::Bench;
use listen::{Listener, TlsFiles};
use orders::{Answer, Ask};
use site::Site;
use token::Tokens;
use traffic::Told;

/// The most orders that wait for the worker; one more is refused.
const ASKS_MAX: usize = 256;
/// How many pushed releases of an app stay that no environment keeps, unless told otherwise.
pub const KEEP_PUSHED_DEFAULT: u32 = 20;
/// How long a handler waits for the worker's answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(25);

/// What a controller is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The lane it acts on.
    pub lane: LaneName,
    /// Its folder: artifacts, ledger, token.
    pub data: PathBuf,
    /// Where its API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How agents and people reach it, when that differs from `listen`: `https://deploy.example:7701`.
    pub advertise: Option<String>,
    /// The certificate, for any address but loopback.
    pub tls: Option<TlsFiles>,
    /// How many pushed releases of an app it keeps that no environment keeps; younger than a day they stay anyway.
    pub keep_pushed: u32,
    /// What KPI sources may use of this machine.
    pub kpi: footplate_drivers::kpi::Settings,
    /// Whether it acts when it can have the lease; one that does not only shows what the store holds.
    pub acts: bool,
}

/// What handlers and the worker share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: Config,
    pub(crate) base: String,
    pub(crate) tokens: Tokens,
    pub(crate) artifacts: Directory,
    /// Whose turn it is to have an upload judged.
    pub(crate) checks: Arc<Semaphore>,
    pub(crate) journal: Journal,
    /// What routers counted.
    pub(crate) told: Told,
    /// What judges say of rollouts.
    pub(crate) bench: Bench,
    /// What the store holds. Written by the worker in short, locked steps; never held across an await.
    pub(crate) site: RwLock<Site>,
    pub(crate) view: watch::Sender<View>,
    unpublished: AtomicBool,
    asks: mpsc::Sender<(Ask, oneshot::Sender<Result<Answer, Problem>>)>,
}

/// The number of a site before anything was read.
const CHANGE_FIRST: u64 = 1;

/// What readers wait on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Rises with every change of the site.
    pub(crate) change: u64,
    /// Whether this controller holds the lease.
    pub(crate) is_acting: bool,
}

/// A controller that runs.
pub struct Running {
    /// Where its API answers.
    pub base: String,
    /// The operator's token.
    pub token: String,
    /// Ends when the controller has stopped.
    pub ended: tokio::task::JoinHandle<()>,
    view: watch::Receiver<View>,
}

impl Running {
    /// Waits until the controller holds the lease; refuses to wait longer than `patience`.
    pub async fn wait_until_acting(&mut self, patience: Duration) -> Result<(), Failure> {
        match tokio::time::timeout(patience, self.view.wait_for(|view| view.is_acting)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Failure::new(Exit::Failed, "the controller has stopped")),
            Err(_) => Err(Failure::new(Exit::Deadline, "this controller cannot act")
                .because_of(format!("the lease could not be had for {} s", patience.as_secs()))
                .next("talk to the controller that has it (`--controller`), or stop that one")),
        }
    }
}

/// Starts a controller: opens its folder, binds its address, answers requests and acts while it holds the lease, until
/// `stop` is cancelled.
pub async fn start(
    config: Config,
    store: Arc<dyn Store>,
    stop: CancellationToken,
) -> Result<Running, Failure> {
    let what = "cannot start the controller";
    let failed = |error: &(dyn std::error::Error + 'static)| Failure::new(Exit::Failed, what).because(error);
    let memory = lease::Memory::open(&config.data).map_err(|error| failed(&error).next(error.next()))?;
    let memory = memory.ok_or_else(|| {
        Failure::new(Exit::Failed, what)
            .because_of(format!("another controller works in {}", config.data.display()))
            .next("stop the other one, or choose another data directory")
    })?;
    artifacts::sweep_uploads(&config.data).map_err(|error| failed(&error))?;
    let tokens = Tokens::open(&config.data.join("token")).map_err(|error| failed(&error))?;
    let artifacts = Directory::open(&config.data.join("artifacts")).map_err(|error| failed(&error))?;
    let journal = Journal::open(&config.data).await.map_err(|error| failed(&error))?;
    let listener = Listener::bind(config.listen, config.tls.as_ref()).await.map_err(|error| {
        Failure::new(error.exit(), what).because(&error).next("give a free loopback address with `--listen`, or a certificate with `--tls-certificate` and `--tls-key`")
    })?;
    if config.listen.ip().is_unspecified() && config.advertise.is_none() {
        return Err(Failure::new(Exit::Usage, what)
            .because_of(format!("{} is no address that agents can reach", config.listen))
            .next("say how they reach it with `--advertise https://NAME:PORT`"));
    }
    let base = config.advertise.clone().unwrap_or_else(|| listener.base());
    let (asks, inbox) = mpsc::channel(ASKS_MAX);
    let shared = Arc::new(Shared {
        store,
        base: base.clone(),
        tokens,
        artifacts,
        checks: Arc::new(Semaphore::new(artifacts::CHECKS_MAX)),
        journal,
        told: Told::default(),
        bench: Bench::default(),
        site: RwLock::default(),
        view: watch::Sender::new(View { change: CHANGE_FIRST, is_acting: false }),
        unpublished: AtomicBool::new(false),
        asks,
        config,
    });
    let token = shared.tokens.operator().to_owned();
    let view = shared.view.subscribe();
    let ended = tokio::spawn(run(shared, memory, listener, inbox, stop));
    Ok(Running { base, token, ended, view })
}

async fn run(
    shared: Arc<Shared>,
    memory: lease::Memory,
    listener: Listener,
    inbox: mpsc::Receiver<(Ask, oneshot::Sender<Result<Answer, Problem>>)>,
    stop: CancellationToken,
) {
    let handle = axum_server::Handle::new();
    let routes = http::routes(shared.clone());
    let server = tokio::spawn(listener.serve(routes, handle.clone()));
    let (guard, acting) = (stop.clone().drop_guard(), stop.clone());
    let server = tokio::spawn(async move {
        let ended = server.await;
        // Nobody can ask a controller whose API has ended: it must not keep the lease.
        drop(guard);
        ended
    });
    tracing::info!(address = shared.base, store = shared.store.describe(), "the controller answers");
    act::run(&shared, memory, inbox, &acting).await;
    handle.graceful_shutdown(Some(Duration::from_secs(2)));
    match server.await.and_then(|ended| ended) {
        Ok(Ok(())) => tracing::info!("the controller has stopped"),
        Ok(Err(error)) => tracing::error!(%error, "the controller's API has failed"),
        Err(error) => tracing::error!(%error, "the controller's API has ended early"),
    }
}

impl Shared {
    /// Hands an order to the worker and waits for its answer.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answer, Problem> {
        let what = ask.describe();
        let (reply, answer) = oneshot::channel();
        let busy = |because: &str, next: &str| Problem::new(ProblemKind::Unavailable, &what, because, next);
        self.asks
            .try_send((ask, reply))
            .map_err(|_| busy("too many orders are waiting for the controller", "try again in a moment"))?;
        match tokio::time::timeout(ANSWER_DEADLINE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(busy("the controller is stopping", "try again when it is back")),
            Err(_) => Err(busy(
                "the controller did not come to it in time; it may still carry it out",
                "look with `footplate status` before you try again",
            )),
        }
    }

    /// Brings the site up to date for somebody who looks: a controller without the lease does not follow the store. Fails
    /// when there is nothing to show, not even something old.
    pub(crate) async fn look(&self) -> Result<(), Problem> {
        if self.view.borrow().is_acting {
            return Ok(());
        }
        match self.ask(Ask::Look).await {
            Err(problem) if self.view.borrow().change == CHANGE_FIRST => Err(problem),
            Err(problem) => {
                tracing::debug!(because = ?problem.because, "what is shown may be old");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Lists an app's releases, newest first.
    pub(crate) fn releases(&self, app: &AppName) -> Vec<api::Pushed> {
        let site = self.site();
        let mut pushed: Vec<api::Pushed> =
            site.releases.iter().filter(|((of, _), _)| of == app).map(|(_, pushed)| pushed.clone()).collect();
        pushed.sort_by_key(|pushed| std::cmp::Reverse(pushed.release.created_at));
        pushed
    }

    /// Locks the site for reading.
    pub(crate) fn site(&self) -> std::sync::RwLockReadGuard<'_, Site> {
        self.site.read().expect("nothing panics while it holds the site")
    }

    /// Changes the site. Those who wait for a change are woken by [`Shared::publish`], after the turn that follows:
    /// between the two, reports and records do not belong together.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Site) -> T) -> T {
        self.unpublished.store(true, Ordering::Relaxed);
        change(&mut self.site.write().expect("nothing panics while it holds the site"))
    }

    /// Wakes those who wait for a change, if there was one.
    pub(crate) fn publish(&self) {
        if self.unpublished.swap(false, Ordering::Relaxed) {
            self.view.send_modify(|view| view.change += 1);
        }
    }
}
