//! `depro agent`: one session, and for each deployment two watchers, a publisher and a worker.
//!
//! Invariants: no trouble with the store ends it; the first signal ends it in order (scripts, then the session), the
//! second at once; what a crash left running is ended at the next start.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use footplate_drivers::chain;
use footplate_drivers::shell::end_leftovers;
use footplate_drivers::store::{SessionId, Troubles};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::config::{AgentConfig, Deployment};
use super::folder::Folder;
use super::job::Job;
use super::publisher::{Desired, Publisher};
use super::session::Keeper;
use super::stop::Stop;
use super::watcher::Watcher;
use super::wire::Wire;
use super::worker::{Inbox, Worker};

/// How long what a crash left running may need to vanish.
const LEFTOVERS: Duration = Duration::from_secs(5);

/// An agent before it starts.
struct Agent {
    config: AgentConfig,
    adopt_all: bool,
    wire: Arc<Wire>,
    troubles: Troubles,
    dead: Arc<Notify>,
    stop: CancellationToken,
}

/// Runs an agent until a signal ends it. `adopt_all` takes every directory of the original for whole.
pub async fn run(config: AgentConfig, adopt_all: bool) -> Result<(), Stop> {
    let wire = Wire::open(&config.connection).map_err(|error| Stop::address(chain(&error)))?;
    let folders = config.deployments.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let agent = Agent {
        config,
        adopt_all,
        wire: Arc::new(wire),
        troubles: Troubles::default(),
        dead: Arc::default(),
        stop: CancellationToken::new(),
    };
    let (first_signal, second_signal) = signals()?;
    tracing::info!("{} serves {} deployments on {}", agent.config.name, folders.len(), agent.wire.describe());
    tokio::select! {
        done = agent.work(&folders, first_signal) => done,
        () = second_signal => Err(Stop::usage("ended at once by a second signal")),
    }
}

fn open(deployment: &Deployment) -> Result<Arc<Folder>, Stop> {
    let cannot = |why: String| {
        Stop::failed(format!("cannot serve the deployment `{}`", deployment.id))
            .because(why)
            .next("mend that and start the agent again; one agent serves a folder")
    };
    let folder = Folder::open(&deployment.path).map_err(|error| cannot(chain(&error)))?;
    let ended = end_leftovers(&folder.running(), LEFTOVERS).map_err(|error| cannot(chain(&error)))?;
    for script in ended {
        tracing::warn!("{}: ended what an earlier start had left running: {script}", deployment.id);
    }
    Ok(Arc::new(folder))
}

impl Agent {
    async fn work(self, folders: &[Arc<Folder>], first_signal: Arc<Notify>) -> Result<(), Stop> {
        let (session_sender, session) = watch::channel(None);
        let keeper = Keeper {
            wire: Arc::clone(&self.wire),
            node: self.config.name.clone(),
            folders: folders.to_vec(),
            troubles: self.troubles.clone(),
            dead: Arc::clone(&self.dead),
        };
        let keeper_stop = CancellationToken::new();
        let mut keeping = JoinSet::new();
        keeping.spawn(keeper.run(session_sender, keeper_stop.clone()));
        let mut background = JoinSet::new();
        let mut workers = JoinSet::new();
        for (deployment, folder) in self.config.deployments.iter().zip(folders) {
            self.start(deployment, folder, &session, &mut workers, &mut background)?;
        }
        first_signal.notified().await;
        tracing::info!("ending: scripts are stopped, a rollout may finish");
        self.stop.cancel();
        while workers.join_next().await.is_some() {}
        background.shutdown().await;
        keeper_stop.cancel();
        while keeping.join_next().await.is_some() {}
        Ok(())
    }

    fn start(
        &self,
        deployment: &Deployment,
        folder: &Arc<Folder>,
        session: &watch::Receiver<Option<SessionId>>,
        workers: &mut JoinSet<()>,
        background: &mut JoinSet<()>,
    ) -> Result<(), Stop> {
        let local = folder
            .read()
            .map_err(|error| Stop::failed("cannot read what stands here").because(chain(&error)))?;
        let (news_sender, news) = mpsc::channel(16);
        let (lost_sender, lost) = mpsc::channel(16);
        let (desired_sender, desired) = watch::channel(Desired::default());
        let watcher = Watcher {
            wire: Arc::clone(&self.wire),
            prefix: deployment.prefix.clone(),
            wait: self.config.wait,
            troubles: self.troubles.clone(),
            switched: Arc::new(AtomicBool::new(false)),
            news: news_sender,
        };
        background.spawn(watcher.clone().versions());
        background.spawn(watcher.current());
        let publisher = Publisher {
            wire: Arc::clone(&self.wire),
            prefix: deployment.prefix.clone(),
            node: self.config.name.clone(),
            troubles: self.troubles.clone(),
            dead: Arc::clone(&self.dead),
            lost: lost_sender,
        };
        background.spawn(publisher.run(desired, session.clone()));
        let node = self.config.name.clone();
        let job = Arc::new(Job { deployment: deployment.clone(), node, folder: Arc::clone(folder) });
        let worker = Worker::new(job, local, self.adopt_all, desired_sender);
        workers.spawn(worker.run(Inbox { news, lost, stop: self.stop.clone() }));
        Ok(())
    }
}

/// Listens to SIGTERM, SIGINT, and SIGQUIT, with which the original's systemd unit stops its agent. Returns what the
/// first one notifies, and a future that ends with the second.
fn signals() -> Result<(Arc<Notify>, impl Future<Output = ()>), Stop> {
    let cannot = |error: std::io::Error| Stop::failed("cannot listen to signals").because(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut quit = signal(SignalKind::quit()).map_err(cannot)?;
    let first = Arc::new(Notify::new());
    let told = Arc::clone(&first);
    let second = async move {
        for count in 1.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
            }
            if count == 2 {
                return;
            }
            told.notify_one();
        }
    };
    Ok((first, second))
}
