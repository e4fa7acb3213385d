//! `footplate up`: the whole system in one terminal. A store, a controller, agents whose folders stand for hosts, a router
//! and a watch on one repository.
//!
//! Invariants: it only composes the roles, with the same interfaces that they have as processes of their own; what it keeps
//! is below its data directory, so the next start goes on where this one was.

mod board;
mod hosts;
mod router;
mod store;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::{EnvironmentName, HostName};
use footplate_drivers::kpi;
use footplate_drivers::source::{Git, Source};
use footplate_drivers::store::Store;
use tokio_util::sync::CancellationToken;

use crate::cli::{Operator, example};
use crate::client::Client;
use crate::config::context::Context;
use crate::controller;
use crate::failure::{Exit, Failure};
use hosts::Hosts;
use router::OwnRouter;
use store::OwnStore;

/// How long the agents may take to stop.
const GOODBYE: Duration = Duration::from_secs(10);

/// How long a wait may last before it is named.
const SILENCE: Duration = Duration::from_secs(1);

/// How long the controller may take to get the lease: a former one's ends within a minute.
const LEASE_PATIENCE: Duration = Duration::from_secs(90);

/// What `up` is started with.
pub struct Plan {
    /// Where everything is kept.
    pub data: PathBuf,
    /// The app's repository, or a folder in it; the example's when absent.
    pub repository: Option<PathBuf>,
    /// The branch to follow; the one that is checked out when absent.
    pub branch: Option<String>,
    /// The environment to deploy to.
    pub environment: EnvironmentName,
    /// How many agents, each with a folder of its own.
    pub agents: u32,
    /// Where the controller's API listens.
    pub listen: SocketAddr,
    /// Where the router serves; at a free port when somebody is there already.
    pub router: SocketAddr,
    /// Where Prometheus reads the router's counts; nowhere when absent.
    pub metrics: Option<SocketAddr>,
    /// The folder of the programs that may be asked for KPIs; none may when absent.
    pub kpi_commands: Option<PathBuf>,
    /// Deploy once and stop, with the rollout's exit code.
    pub once: bool,
}

impl Plan {
    /// Returns the file of the roles' log, unless the person wants to see it.
    fn log(&self) -> PathBuf {
        self.data.join("footplate.log")
    }
}

/// Starts everything, follows the repository until `stop` is cancelled, and stops everything.
pub async fn run(operator: &Operator, mut plan: Plan, stop: CancellationToken) -> Result<(), Failure> {
    // Builds and hooks run in folders of their own, so every path must hold from anywhere.
    plan.data = make_folder(&plan.data)?;
    plan.repository = plan.repository.map(|folder| folder.canonicalize().unwrap_or(folder));
    let file = plan.log();
    if !operator.wants_the_log() {
        crate::cli::listen_in(&file).map_err(|error| unwritable(&file, &error))?;
    }
    let own = OwnStore::open(&plan.data.join("store")).await?;
    let result = with_store(operator, &plan, own.store(), &stop).await;
    own.close().await;
    result
}

async fn with_store(
    operator: &Operator,
    plan: &Plan,
    store: Arc<dyn Store>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let controllers_stop = CancellationToken::new();
    let config = controller::Config {
        lane: "main".parse().expect("a valid lane"),
        data: plan.data.join("controller"),
        listen: address(plan),
        advertise: None,
        tls: None,
        keep_pushed: controller::KEEP_PUSHED_DEFAULT,
        kpi: kpi::Settings { commands: plan.kpi_commands.clone(), ..kpi::Settings::default() },
        acts: true,
    };
    let mut controller = controller::start(config, store.clone(), controllers_stop.clone()).await?;
    let lease = "for the lease of a controller that was here before, 90 s at most";
    patiently(operator, lease, controller.wait_until_acting(LEASE_PATIENCE)).await?;
    let context =
        Context { controller: controller.base.clone(), token_file: "controller/token".into(), ca_file: None };
    context.write(&plan.data).map_err(|error| unwritable(&plan.data, &error))?;
    let router = OwnRouter::start(&plan.data, plan.router, plan.metrics).await?;
    let hosts = Hosts::start(&plan.data.join("hosts"), names(plan.agents), &store, router.folder());
    let client = Client::new(&controller.base, &controller.token);
    let result = with_roles(operator, plan, &client, &router, stop).await;
    router.stop().await;
    hosts.stop(GOODBYE).await;
    controllers_stop.cancel();
    if let Err(error) = controller.ended.await {
        tracing::error!(%error, "the controller ended badly");
    }
    result
}

async fn with_roles(
    operator: &Operator,
    plan: &Plan,
    client: &Client,
    router: &OwnRouter,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let ui = &operator.ui;
    let agents = if plan.agents == 1 { "one agent".to_owned() } else { format!("{} agents", plan.agents) };
    ui.say(format!("Store, controller ({}) and {agents} run in this process.", client.address()));
    let is_moved = plan.router.port() != 0 && router.address() != plan.router;
    let moved = if is_moved { format!(", as somebody else is at {}", plan.router) } else { String::new() };
    ui.say(format!("A router serves at http://{}/{moved}.", router.address()));
    if let Some(metrics) = router.metrics() {
        ui.say(format!("Prometheus reads the router's counts at http://{metrics}/metrics."));
    }
    ui.say(format!("Everything is kept in {}, the log too.", plan.data.display()));
    let (source, root) = repository(plan).await?;
    ui.say(format!("Watching {}: commit there, and it ships.\n", root.display()));
    let watch = watch::Watch::open(operator, plan, client, router.address(), source, root).await?;
    tokio::select! {
        ended = watch.run(stop) => ended,
        () = stop.cancelled() => {
            ui.say("\nStopping, services too: the next `footplate up` goes on from here.");
            Ok(())
        }
    }
}

/// Opens the repository, or makes the example's.
async fn repository(plan: &Plan) -> Result<(Git, PathBuf), Failure> {
    let what = "cannot open the repository";
    let failed = |error: &footplate_drivers::source::SourceError| {
        Failure::new(Exit::Usage, what).because(error).next(error.next())
    };
    if let Some(folder) = &plan.repository {
        return Ok((Git::open(folder).await.map_err(|error| failed(&error))?, folder.clone()));
    }
    let folder = plan.data.join("example");
    if folder.join(".git").exists() {
        let source = Git::open(&folder).await.map_err(|error| failed(&error))?;
        // A first start that was cut short leaves a repository without a commit; it is made again.
        if source.head(None).await.is_ok() {
            return Ok((source, folder));
        }
    }
    example::write(&folder).map_err(|error| unwritable(&folder, &error))?;
    let source = Git::init(&folder, "The first pages").await.map_err(|error| failed(&error))?;
    Ok((source, folder))
}

/// Waits for `ended`, and says what for when it takes a while.
async fn patiently<T>(operator: &Operator, what: &str, ended: impl Future<Output = T>) -> T {
    let mut ended = std::pin::pin!(ended);
    tokio::select! {
        ended = &mut ended => return ended,
        () = tokio::time::sleep(SILENCE) => operator.ui.say(format!("Waiting {what}.")),
    }
    ended.await
}

/// Returns where the controller listens: where it did the last time, if nobody else does now, so that terminals and hosts
/// that know the address find it again.
fn address(plan: &Plan) -> SocketAddr {
    let before =
        || Context::read(&plan.data).ok().flatten()?.controller.strip_prefix("http://")?.parse().ok();
    let is_free = |address: &SocketAddr| std::net::TcpListener::bind(address).is_ok();
    match plan.listen.port() {
        0 => before().filter(is_free).unwrap_or(plan.listen),
        _ => plan.listen,
    }
}

fn names(count: u32) -> Vec<HostName> {
    (1..=count).map(|number| format!("host-{number}").parse().expect("a valid host name")).collect()
}

fn make_folder(folder: &Path) -> Result<PathBuf, Failure> {
    let made = std::fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    let made = made.map_err(|error| unwritable(folder, &error))?;
    // The folder often lies in somebody's repository, and belongs in none.
    let ignore = made.join(".gitignore");
    std::fs::write(&ignore, "*\n").map_err(|error| unwritable(&ignore, &error))?;
    Ok(made)
}

fn unwritable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write to {}", folder.display()))
        .because(error)
        .next("choose another data directory with `--data`")
}
