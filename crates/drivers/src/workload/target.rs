//! One target on this machine: the steps that both kinds of release share, and what keeps them apart.
//!
//! Invariants: of one release only one verb runs at a time; only one activation runs at a time; a preparation never
//! delays an activation of another release.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::artifact::ArtifactRef;
use footplate_core::name::ReleaseId;
use footplate_core::release::{self, Release};
use footplate_core::target::Verb;
use tokio_util::sync::CancellationToken;

use super::versions::{Versions, mark_text};
use super::{
    Observed, Output, Placement, Settings, Workload, WorkloadError, command, environment, output, release_dir,
};
use crate::archive::{self, Fetch, Limits, Owner};
use crate::disk::{self, DiskError};
use crate::failpoint;
use crate::shell::{self, Script};

/// How long a former life's scripts have to vanish after they were killed.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(10);
/// What a release needs while it is unpacked, by experience: its archive and files of twice that size…
const ROOM_FACTOR: u64 = 3;
/// …and a little for everybody else.
const ROOM_SPARE: u64 = 16 << 20;

/// Opens a target: makes its folders, ends what a former life left running and removes what it left half-made. Once at
/// a time: whoever holds the placement's root sees to that.
pub async fn open(placement: Placement, settings: Settings) -> Result<Arc<dyn Workload>, WorkloadError> {
    crate::blocking(move || {
        let versions = Versions::open(placement.folder())?;
        let ended = shell::end_leftovers(&versions.folder().join("run"), LEFTOVER_PATIENCE)?;
        if !ended.is_empty() {
            tracing::warn!(target = %placement.name, ?ended, "ended scripts that a former agent left running");
        }
        versions.remove_unmarked()?;
        let target = Target {
            placement,
            settings,
            versions,
            releases: Mutex::default(),
            activation: tokio::sync::Mutex::default(),
        };
        Ok(Arc::new(target) as Arc<dyn Workload>)
    })
    .await
}

/// One opened target.
pub(super) struct Target {
    pub(super) placement: Placement,
    pub(super) versions: Versions,
    settings: Settings,
    /// One lock for each release that a verb was asked for.
    releases: Mutex<HashMap<ReleaseId, Arc<tokio::sync::Mutex<()>>>>,
    activation: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Workload for Target {
    async fn observe(&self) -> Result<Observed, WorkloadError> {
        self.on_disk(|versions| versions.observe()).await
    }

    async fn prepare(
        &self,
        release: &Release,
        artifacts: &dyn Fetch,
        stop: &CancellationToken,
    ) -> Result<Output, WorkloadError> {
        let _busy = self.release_lock(&release.id).lock_owned().await;
        if self.begin_preparing(release).await? {
            return Ok(Output::default());
        }
        let prepared = self.prepare_afresh(release, artifacts, stop).await;
        if prepared.is_err() {
            let id = release.id.clone();
            self.on_disk(move |versions| versions.remove_leftover(&id)).await?;
        }
        prepared
    }

    async fn activate(&self, release: &Release, stop: &CancellationToken) -> Result<Output, WorkloadError> {
        let _busy = self.release_lock(&release.id).lock_owned().await;
        let _alone = self.activation.lock().await;
        let id = release.id.clone();
        let found = self.on_disk(move |versions| versions.completed(&id)).await?;
        if !is_the_same(release, found)? {
            return Err(WorkloadError::NotPrepared(release.id.clone()));
        }
        failpoint!("activate.begun");
        match &release.workload {
            release::Workload::Command(scripts) => command::activate(self, release, scripts, stop).await,
            release::Workload::ReleaseDir(hooks) | release::Workload::Service { hooks, .. } => {
                release_dir::activate(self, release, hooks, stop).await
            }
        }
    }

    async fn clean(
        &self,
        id: &ReleaseId,
        release: Option<&Release>,
        stop: &CancellationToken,
    ) -> Result<Output, WorkloadError> {
        let _busy = self.release_lock(id).lock_owned().await;
        if self.live().await?.as_ref() == Some(id) {
            return Err(WorkloadError::Live(id.clone()));
        }
        let has_files = self.versions.release(id).is_dir();
        let output = match release.map(|release| (release, &release.workload)) {
            Some((release, release::Workload::Command(scripts))) if has_files => {
                command::clean(self, release, scripts, stop).await?
            }
            _ => Output::default(),
        };
        let id = id.clone();
        self.on_disk(move |versions| versions.remove(&id)).await?;
        Ok(output)
    }

    async fn output(&self, id: &ReleaseId, verb: Verb) -> Result<Option<String>, WorkloadError> {
        let id = id.clone();
        self.on_disk(move |versions| output::read(&versions.folder().join("output"), &id, verb)).await
    }
}

impl Target {
    /// Runs disk work where it stalls nobody.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Versions) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, WorkloadError> {
        let versions = self.versions.clone();
        Ok(crate::blocking(move || work(&versions)).await?)
    }

    /// Returns the variables that a release's scripts see now.
    pub(super) async fn variables(
        &self,
        release: &Release,
    ) -> Result<Vec<(String, OsString)>, WorkloadError> {
        Ok(environment::of_release(&self.placement, release, self.live().await?.as_ref()))
    }

    /// Runs a script of a release, keeps what it says, and makes a bad end an error.
    pub(super) async fn run(
        &self,
        release: &Release,
        verb: Verb,
        name: &'static str,
        mut script: Script,
        stop: &CancellationToken,
    ) -> Result<Output, WorkloadError> {
        script.user.clone_from(&self.settings.user);
        script.output_bytes_max = self.settings.output_bytes_max;
        script.run_file = Some(self.versions.folder().join("run").join(format!("{}.{verb}", release.id)));
        let finished = shell::run(&script, stop).await?;
        let output = Output {
            text: finished.output.clone(),
            omitted_bytes: finished.omitted_bytes,
            elapsed: finished.elapsed,
        };
        let (end, id, outputs_max) = (finished.end, release.id.clone(), self.settings.outputs_max);
        let kept = self.on_disk(move |versions| {
            output::write(&versions.folder().join("output"), &id, verb, &finished, outputs_max)
        });
        if let Err(error) = kept.await {
            // The script did its work; a disk that has no room for its words must not undo that.
            tracing::warn!(release = %release.id, error = crate::chain(&error), "cannot keep a script's output");
        }
        match end {
            shell::End::Exited(0) => Ok(output),
            end => Err(WorkloadError::Script { release: release.id.clone(), script: name, end, output }),
        }
    }

    async fn live(&self) -> Result<Option<ReleaseId>, WorkloadError> {
        self.on_disk(|versions| versions.live()).await
    }

    fn release_lock(&self, id: &ReleaseId) -> Arc<tokio::sync::Mutex<()>> {
        let mut releases = self.releases.lock().unwrap_or_else(PoisonError::into_inner);
        releases.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(releases.entry(id.clone()).or_default())
    }

    /// Tells whether a release is complete already; if not, makes room for it. Without an artifact its directory is empty.
    async fn begin_preparing(&self, release: &Release) -> Result<bool, WorkloadError> {
        let (versions, release, owner) = (self.versions.clone(), release.clone(), self.limits().owner);
        crate::blocking(move || {
            if is_the_same(&release, versions.completed(&release.id)?)? {
                return Ok(true);
            }
            failpoint!("prepare.begun");
            versions.remove_leftover(&release.id)?;
            failpoint!("prepare.leftover_removed");
            if release.artifact.is_none() {
                archive::create_empty(&versions.release(&release.id), owner)?;
            }
            Ok(false)
        })
        .await
    }

    async fn prepare_afresh(
        &self,
        release: &Release,
        artifacts: &dyn Fetch,
        stop: &CancellationToken,
    ) -> Result<Output, WorkloadError> {
        if let Some(artifact) = &release.artifact {
            self.place_files(release, artifact, artifacts, stop).await?;
        }
        let output = match &release.workload {
            release::Workload::Command(scripts) => command::prepare(self, release, scripts, stop).await,
            release::Workload::ReleaseDir(hooks) | release::Workload::Service { hooks, .. } => {
                release_dir::prepare(self, release, hooks, stop).await
            }
        }?;
        failpoint!("prepare.hook_done");
        let (id, artifact) = (release.id.clone(), release.artifact.clone());
        self.on_disk(move |versions| versions.complete(&id, artifact.as_ref())).await?;
        Ok(output)
    }

    /// Fills the release's directory with its artifact.
    async fn place_files(
        &self,
        release: &Release,
        artifact: &ArtifactRef,
        artifacts: &dyn Fetch,
        stop: &CancellationToken,
    ) -> Result<(), WorkloadError> {
        let folder = self.versions.release(&release.id);
        self.check_room(release, artifact)?;
        let fetched = self.versions.fetched(&release.id);
        artifacts.fetch(artifact, &fetched, stop).await?;
        failpoint!("prepare.fetched");
        let (limits, id, stop) = (self.limits(), release.id.clone(), stop.clone());
        crate::blocking(move || {
            let unpacked = archive::unpack(&fetched, &folder, &limits, &stop);
            unpacked.map_err(|source| WorkloadError::Unpack { release: id, source })?;
            Ok::<(), WorkloadError>(disk::remove_file(&fetched)?)
        })
        .await?;
        failpoint!("prepare.unpacked");
        Ok(())
    }

    fn limits(&self) -> Limits {
        let owner = self.settings.user.as_ref().map(|user| Owner { uid: user.uid, gid: user.gid });
        Limits { owner: owner.or(self.settings.limits.owner), ..self.settings.limits }
    }

    fn check_room(&self, release: &Release, artifact: &ArtifactRef) -> Result<(), WorkloadError> {
        let folder = self.versions.folder();
        let needed = artifact.bytes.saturating_mul(ROOM_FACTOR).saturating_add(ROOM_SPARE);
        match disk::free_bytes(folder)? {
            free if free >= needed => Ok(()),
            free => {
                let (release, folder) = (release.id.clone(), folder.to_owned());
                Err(WorkloadError::NoRoom { release, folder, needed, free })
            }
        }
    }
}

/// Tells whether a release is here, by what its completion mark says.
fn is_the_same(release: &Release, found: Option<String>) -> Result<bool, WorkloadError> {
    let wanted = mark_text(release.artifact.as_ref());
    match found {
        None => Ok(false),
        Some(found) if found == wanted => Ok(true),
        Some(found) => Err(WorkloadError::Conflict { release: release.id.clone(), found, wanted }),
    }
}
