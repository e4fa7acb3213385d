//! An agent's hands on one target: the workload driver, opened when it is first needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_core::name::{HostName, ReleaseId, TargetName};
use footplate_core::target::{Action, Assignment};
use footplate_drivers::artifact::Http;
use footplate_drivers::discovery::InstanceName;
use footplate_drivers::disk::HeldFolder;
use footplate_drivers::health::Tried;
use footplate_drivers::workload::{self, Observed, Output, Placement, Settings, Workload, WorkloadError};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::discovery::{Doors, Leaving};
use super::services::{Ended, Services, ServicesError};

/// How an action ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Why it failed, when it did.
    pub failure: Option<String>,
    /// Whether it failed only because nobody who serves artifacts answered.
    pub is_absence: bool,
    /// That a service had to be killed to stop it.
    pub unwilling: Option<String>,
    /// What its scripts printed, or what a service left behind.
    pub output: String,
    /// How long they ran.
    pub elapsed: Duration,
}

/// The hands on one target.
pub struct Hands {
    placement: Placement,
    settings: Settings,
    clients: Arc<Clients>,
    services: Arc<Services>,
    doors: Option<Arc<Doors>>,
    workload: OnceCell<Arc<dyn Workload>>,
}

impl Hands {
    /// Makes the hands on `target` of `host`, whose files are below `apps`; `clients` fetch artifacts.
    pub fn new(
        apps: &HeldFolder,
        host: &HostName,
        target: &TargetName,
        settings: Settings,
        clients: Arc<Clients>,
        services: Arc<Services>,
        doors: Option<Arc<Doors>>,
    ) -> Self {
        let placement = Placement { root: apps.clone(), host: host.clone(), name: target.clone() };
        Self { placement, settings, clients, services, doors, workload: OnceCell::new() }
    }

    /// Watches what runs since before this agent; the reason when that cannot be found out.
    pub async fn resume(&self, want: &Assignment) -> Result<(), String> {
        let folder = |id: &ReleaseId| self.folder(id);
        let resumed = self.services.resume(&self.placement.name, &want.keep, &folder).await;
        resumed.map_err(|error| footplate_drivers::chain(&error))
    }

    fn folder(&self, id: &ReleaseId) -> PathBuf {
        self.placement.folder().join("versions").join(id.as_str())
    }

    /// Returns what a service leaves behind whose log goes with its release, or that had to be killed.
    async fn serve(&self, action: &Action, want: &Assignment) -> Result<Ended, ServicesError> {
        let (services, target) = (&self.services, &self.placement.name);
        match action {
            Action::Start(id) => {
                if let Some(release) = want.release(id) {
                    services.start(target, release, &self.folder(id)).await?;
                }
            }
            Action::Stop(id) => {
                let _out = self.leave(id).await;
                let ended = services.stop(target, id).await?;
                let is_told = ended.unwilling.is_some() || want.release(id).is_none();
                return Ok(if is_told { ended } else { Ended::default() });
            }
            Action::Clean(id) => services.forget(target, id).await?,
            Action::Prepare(_) | Action::Activate(_) | Action::Accept(_) => {}
        }
        Ok(Ended::default())
    }

    /// Takes a service out of the catalog, if the agent enters them in one, for as long as what is returned lives.
    async fn leave(&self, id: &ReleaseId) -> Option<Leaving> {
        let name = InstanceName { target: self.placement.name.clone(), release: id.clone() };
        match &self.doors {
            Some(doors) if self.services.is_reached(&name.target, id) => Some(doors.leave(name).await),
            _ => None,
        }
    }

    /// Tries the acceptance hook; `None` when it was stopped, or the service is gone.
    async fn accept(&self, want: &Assignment, stop: &CancellationToken) -> Option<Done> {
        let tried = self.services.accept(&self.placement.name, want.accept.as_ref()?, stop).await?;
        let Tried { failure, output, elapsed } = tried;
        Some(Done { failure, output, elapsed, ..Done::default() })
    }

    /// Reads what is on the disk; the reason when it cannot be read.
    pub async fn look(&self) -> Result<Observed, String> {
        let workload = self.open().await?;
        workload.observe().await.map_err(|error| in_words(&error))
    }

    /// Performs an action to its end; `None` when it was stopped.
    ///
    /// When `stop` fires, its scripts are killed, and have ended when this returns.
    pub async fn perform(
        &self,
        action: &Action,
        want: &Assignment,
        stop: &CancellationToken,
    ) -> Option<Done> {
        let workload = self.workload.get().expect("a target is looked at before anything is done to it");
        let (_, id) = action.parts();
        if matches!(action, Action::Accept(_)) {
            return self.accept(want, stop).await;
        }
        if matches!(action, Action::Start(_) | Action::Stop(_) | Action::Clean(_)) {
            let begun = Instant::now();
            let served = self.serve(action, want).await;
            let (failure, ended) = match served {
                Ok(ended) => (None, ended),
                Err(error) => (Some(of_service(&error)), Ended::default()),
            };
            if failure.is_some() || !matches!(action, Action::Clean(_)) {
                let Ended { unwilling, output } = ended;
                return Some(Done {
                    failure,
                    unwilling,
                    output,
                    elapsed: begun.elapsed(),
                    ..Done::default()
                });
            }
        }
        let done = match (action, want.release(id)) {
            (Action::Start(_) | Action::Accept(_) | Action::Stop(_), _) => unreachable!("these are done"),
            (Action::Clean(_), release) => workload.clean(id, release, stop).await,
            (_, None) => return Some(not_in_order(id)),
            (Action::Prepare(_), Some(release)) => {
                let sources = want.sources.clone();
                let any_tls =
                    sources.iter().find(|source| source.base.starts_with("https:")).or(sources.first());
                let client = self.clients.of(any_tls.map_or("", |source| &source.base));
                let artifacts = Http::new(client, sources);
                workload.prepare(release, &artifacts, stop).await
            }
            (Action::Activate(_), Some(release)) => workload.activate(release, stop).await,
        };
        match done {
            Err(_) if stop.is_cancelled() => None,
            Err(error) => Some(failed(&error)),
            Ok(Output { text, elapsed, .. }) => Some(Done { output: text, elapsed, ..Done::default() }),
        }
    }

    async fn open(&self) -> Result<&Arc<dyn Workload>, String> {
        let open = || workload::open(self.placement.clone(), self.settings.clone());
        self.workload.get_or_try_init(open).await.map_err(|error| in_words(&error))
    }
}

fn failed(error: &WorkloadError) -> Done {
    let said = error.output().cloned().unwrap_or_default();
    let is_absence = matches!(error, WorkloadError::Fetch(error) if error.is_absence);
    Done {
        failure: Some(in_words(error)),
        is_absence,
        output: said.text,
        elapsed: said.elapsed,
        unwilling: None,
    }
}

/// The controller always sends the whole release that it names; an order that does not is not obeyed in part.
fn not_in_order(id: &ReleaseId) -> Done {
    Done { failure: Some(format!("the order names release {id} but does not hold it")), ..Done::default() }
}

/// Returns why a service could not be started, stopped or forgotten, and what to do where no rollout's end says so.
fn of_service(error: &ServicesError) -> String {
    let why = footplate_drivers::chain(error);
    match error {
        ServicesError::Port(_) => format!("{why}; {}", error.next()),
        _ => why,
    }
}

/// Returns why it failed. What to do next is said where the rollout ends, once, and not on every host.
fn in_words(error: &WorkloadError) -> String {
    footplate_drivers::chain(error)
}
