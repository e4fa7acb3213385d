//! The four things an agent does to a version on its disk, from the first mark to the last.
//!
//! Invariant: marks are written around the scripts such that a crash at any point reads as "not done".

use std::path::PathBuf;
use std::time::Duration;

use footplate_drivers::chain;
use footplate_drivers::disk::DiskError;
use tokio_util::sync::CancellationToken;

use super::config::Deployment;
use super::folder::Folder;
use super::script::{self, Order, Outcome, Step};
use super::tree::{Node, Version};

/// How long to wait before a directory that could not be removed is tried again.
const REMOVE_AGAIN: Duration = Duration::from_secs(5);

/// What all jobs of a deployment share.
pub struct Job {
    /// The deployment.
    pub deployment: Deployment,
    /// The agent.
    pub node: Node,
    /// The deployment's folder.
    pub folder: std::sync::Arc<Folder>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A deploy, and whether the version is whole now.
    Deployed(Version, bool),
    /// A rollout, and whether the version is live now.
    RolledOut(Version, bool),
    /// The version to roll out is not whole any more: somebody removed its directory.
    Missing(Version),
    /// A cleaning, and whether the directory is gone.
    Cleaned(Version, bool),
    /// The disk was synchronised.
    Settled,
}

impl Job {
    /// Makes a version whole.
    pub async fn deploy(&self, version: Version, stop: CancellationToken) -> Ended {
        self.say(&version, "is being deployed");
        let begun = self.blocking({
            let version = version.clone();
            move |folder| folder.begin_deploy(&version)
        });
        if let Err(error) = begun.await {
            self.complain("make the version's directory", &error);
            return Ended::Deployed(version, false);
        }
        let outcome = self.run(Step::Deploy, &version, &stop).await;
        let well =
            outcome.failure.is_none() && self.noted("note that it is whole", self.folder.complete(&version));
        self.tell(Step::Deploy, &version, &outcome);
        Ended::Deployed(version, well)
    }

    /// Switches to a version.
    pub async fn rollout(&self, version: Version, stop: CancellationToken) -> Ended {
        match self.folder.is_whole(&version) {
            Ok(true) => {}
            Ok(false) => {
                self.say(&version, "is not in its directory any more and is deployed again");
                return Ended::Missing(version);
            }
            Err(error) => {
                self.complain("look at the version's directory", &error);
                return Ended::RolledOut(version, false);
            }
        }
        if !self.noted("note the rollout", self.folder.begin_rollout(&version)) {
            return Ended::RolledOut(version, false);
        }
        let outcome = self.run(Step::Rollout, &version, &stop).await;
        let well =
            outcome.failure.is_none() && self.noted("note the rollout", self.folder.rolled_out(&version));
        self.tell(Step::Rollout, &version, &outcome);
        Ended::RolledOut(version, well)
    }

    /// Runs the clean script, whose status does not matter, and removes the directory.
    pub async fn clean(&self, version: Version, stop: CancellationToken) -> Ended {
        if self.folder.version(&version).is_dir() {
            let outcome = self.run(Step::Clean, &version, &stop).await;
            self.tell(Step::Clean, &version, &outcome);
        }
        if stop.is_cancelled() {
            return Ended::Cleaned(version, false);
        }
        let removed = self.blocking({
            let version = version.clone();
            move |folder| folder.remove(&version)
        });
        match removed.await {
            Ok(()) => {
                self.say(&version, "is removed");
                Ended::Cleaned(version, true)
            }
            Err(error) => {
                self.complain("remove the version's directory", &error);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(REMOVE_AGAIN) => {}
                }
                Ended::Cleaned(version, false)
            }
        }
    }

    /// Makes whole versions survive a power loss.
    pub async fn settle(&self, versions: Vec<Version>) -> Ended {
        if let Err(error) = self.blocking(move |folder| folder.make_durable(&versions)).await {
            self.complain("synchronise the disk", &error);
        }
        Ended::Settled
    }

    async fn run(&self, step: Step, version: &Version, stop: &CancellationToken) -> Outcome {
        let order = Order {
            deployment: &self.deployment,
            node: &self.node,
            step,
            version,
            directory: self.folder.version(version),
            running: self.running(),
        };
        script::run(&order, stop).await
    }

    fn running(&self) -> PathBuf {
        self.folder.running()
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&Folder) -> Result<(), DiskError> + Send + 'static,
    ) -> Result<(), DiskError> {
        let folder = std::sync::Arc::clone(&self.folder);
        match tokio::task::spawn_blocking(move || work(&folder)).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn noted(&self, what: &str, result: Result<(), DiskError>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                self.complain(what, &error);
                false
            }
        }
    }

    /// Says in one line how a script ended, with what it printed.
    fn tell(&self, step: Step, version: &Version, outcome: &Outcome) {
        let id = &self.deployment.id;
        let step = step.as_str();
        let output = outcome.output.trim_end();
        let output = if output.is_empty() { String::new() } else { format!("\n{output}") };
        match &outcome.failure {
            None => tracing::info!("{id}: {version}: {step} ended well{output}"),
            Some(why) => tracing::warn!("{id}: {version}: {step} failed: {why}{output}"),
        }
    }

    /// Says something about a version.
    pub fn say(&self, version: &Version, what: &str) {
        tracing::info!("{}: {version} {what}", self.deployment.id);
    }

    /// Says that something could not be done, and what to do.
    pub fn complain(&self, what: &str, error: &DiskError) {
        tracing::error!("{}: cannot {what}: {}; {}", self.deployment.id, chain(error), error.next());
    }
}
