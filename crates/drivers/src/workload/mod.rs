//! What prepare, activate and clean mean on this machine.
//!
//! Layout of one target, below `ROOT/ENVIRONMENT/APP/` (`APP.GROUP/` for a process group that runs a service):
//! `versions/RELEASE/` the files · `versions/.RELEASE.complete` the completion mark · `live` a relative symlink to
//! `versions/RELEASE` · `activating` the release whose `activated` hook has not succeeded yet · `output/` what scripts
//! said · `run/` one file for each script that runs now.
//! Invariants: a directory without its mark does not exist; `live` points at an old or a new complete release at every
//! instant, also after `kill -9` and power loss; what is live is never cleaned; every verb may be repeated.

pub mod command;
mod environment;
mod output;
mod release_dir;
mod target;
mod versions;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::moment::Moment;
use footplate_core::name::{HostName, ReleaseId, TargetName};
use footplate_core::release::Release;
use footplate_core::target::Verb;
use tokio_util::sync::CancellationToken;

use crate::archive::{Fetch, FetchError, Limits, UnpackError};
use crate::disk::{DiskError, HeldFolder};
use crate::shell::{End, ShellError, User};

pub use target::open;

/// Which target this is, and where its files are.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The folder of all targets of this agent, which no other process works in; absolute, since scripts see it.
    pub root: HeldFolder,
    /// The machine.
    pub host: HostName,
    /// The app, its environment and the process group.
    pub name: TargetName,
}

impl Placement {
    /// Returns the target's own folder.
    pub fn folder(&self) -> PathBuf {
        folder_of(self.root.path(), &self.name)
    }
}

/// Returns a target's own folder: `ROOT/ENVIRONMENT/APP`, and `ROOT/ENVIRONMENT/APP.GROUP` for each process group of
/// an app with services. No app's name has a dot.
pub fn folder_of(root: &Path, TargetName { path, group }: &TargetName) -> PathBuf {
    let name = match group.as_str() {
        "files" => path.app.to_string(),
        group => format!("{}.{group}", path.app),
    };
    root.join(path.environment.as_str()).join(name)
}

/// How an agent runs its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who scripts run as and files belong to; ourselves when absent. Needs root.
    pub user: Option<User>,
    /// What an artifact may do at most.
    pub limits: Limits,
    /// How many bytes of a script's output are kept.
    pub output_bytes_max: usize,
    /// How many outputs of one target are kept.
    pub outputs_max: usize,
}

impl Default for Settings {
    /// Returns: as ourselves, the usual limits, 256 KiB of each of the last 100 outputs.
    fn default() -> Self {
        Self { user: None, limits: Limits::default(), output_bytes_max: 256 * 1024, outputs_max: 100 }
    }
}

/// What is on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The complete release that `live` points at.
    pub live: Option<ReleaseId>,
    /// When `live` was made to.
    pub live_since: Option<Moment>,
    /// The releases with a completion mark.
    pub prepared: BTreeSet<ReleaseId>,
    /// The live release, when its `activated` hook has not succeeded: activate it again to run the hook.
    pub unfinished: Option<ReleaseId>,
    /// What is not as we left it, in a sentence: `live` is gone, or points at something that is no release.
    pub drift: Option<String>,
}

/// What a verb's scripts said; empty when there was none to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output and standard error in order, cut in the middle when long.
    pub text: String,
    /// How many bytes were cut.
    pub omitted_bytes: u64,
    /// How long the scripts ran.
    pub elapsed: Duration,
}

/// One target on this machine.
#[async_trait]
pub trait Workload: Send + Sync {
    /// Reads what is on the disk. Repairs nothing.
    async fn observe(&self) -> Result<Observed, WorkloadError>;

    /// Makes a release ready: fetch, unpack, run its prepare script, make durable, mark. Done already is fine.
    ///
    /// A failure leaves nothing behind but the script's output. Dropping the future kills the script.
    async fn prepare(
        &self,
        release: &Release,
        artifacts: &dyn Fetch,
        stop: &CancellationToken,
    ) -> Result<Output, WorkloadError>;

    /// Makes a prepared release live and runs its script. Live already is fine; then only the script runs again.
    async fn activate(&self, release: &Release, stop: &CancellationToken) -> Result<Output, WorkloadError>;

    /// Removes a release, after its clean script when the whole release is known. Absent is fine.
    async fn clean(
        &self,
        id: &ReleaseId,
        release: Option<&Release>,
        stop: &CancellationToken,
    ) -> Result<Output, WorkloadError>;

    /// Returns what the script of this verb said when it last ran for this release, if it is still kept.
    async fn output(&self, id: &ReleaseId, verb: Verb) -> Result<Option<String>, WorkloadError>;
}

/// A verb that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The disk is full, read-only, not ours, …
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The artifact could not be brought here.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The artifact is not one that we unpack.
    #[error("cannot unpack release {release}")]
    Unpack {
        /// The release.
        release: ReleaseId,
        /// What is wrong with it.
        #[source]
        source: UnpackError,
    },
    /// A script could not be started or ended.
    #[error(transparent)]
    Shell(#[from] ShellError),
    /// A script failed.
    #[error("the {script} of release {release} failed: {end}")]
    Script {
        /// The release.
        release: ReleaseId,
        /// Which one: `prepare hook`, `rollout script`.
        script: &'static str,
        /// How it ended.
        end: End,
        /// What it said.
        output: Output,
    },
    /// There is no complete release of this name here.
    #[error("cannot activate release {0}: it is not prepared")]
    NotPrepared(ReleaseId),
    /// What is live stays.
    #[error("cannot clean release {0}: it is live")]
    Live(ReleaseId),
    /// The release is here with other bytes; two releases with one id are equal for ever.
    #[error("release {release} is here with the content {found}, and {wanted} is wanted")]
    Conflict {
        /// The release.
        release: ReleaseId,
        /// What its completion mark says.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// There is too little room to begin.
    #[error("cannot prepare release {release}: it needs about {needed} bytes in {}, and {free} are free", .folder.display())]
    NoRoom {
        /// The release.
        release: ReleaseId,
        /// Where.
        folder: PathBuf,
        /// Bytes that it needs, by experience.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
}

impl WorkloadError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            WorkloadError::Disk(error) => error.next(),
            WorkloadError::Fetch(error) => error.next.clone(),
            WorkloadError::Unpack { source, .. } => source.next(),
            WorkloadError::Shell(error) => error.next(),
            WorkloadError::Script { end: End::Stopped, .. } => "none; it was stopped on purpose".to_owned(),
            WorkloadError::Script { release, script, .. } => {
                format!(
                    "read the output of the {script}, mend it and push a new version, or try {release} again"
                )
            }
            WorkloadError::NotPrepared(_) => "wait until it is prepared".to_owned(),
            WorkloadError::Live(_) => "activate another release first".to_owned(),
            WorkloadError::Conflict { release, .. } => {
                format!("push the new bytes under a name other than {release}")
            }
            WorkloadError::NoRoom { .. } => "free some space, for example with `footplate clean`".to_owned(),
        }
    }

    /// Returns what a failed script said.
    pub fn output(&self) -> Option<&Output> {
        match self {
            WorkloadError::Script { output, .. } => Some(output),
            _ => None,
        }
    }

    /// Tells whether it failed only because it was told to stop.
    pub fn was_stopped(&self) -> bool {
        matches!(
            self,
            WorkloadError::Script { end: End::Stopped, .. }
                | WorkloadError::Unpack { source: UnpackError::Stopped, .. }
        )
    }
}
