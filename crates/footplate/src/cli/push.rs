//! `footplate push`: hands a version to the controller, which makes a release of it.
//!
//! Invariant: the bytes are there, whole, before the release is named; pushing the same twice changes nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use footplate_core::artifact::ArtifactRef;
use footplate_core::name::Version;
use footplate_core::release::Workload;
use footplate_drivers::archive;
use serde::Serialize;
use tempfile::TempDir;

use super::Operator;
use super::app::{config_here, config_of};
use crate::api::{Push, Pushed};
use crate::client::Client;
use crate::config::app::AppConfig;
use crate::failure::{Exit, Failure};

/// Hand a version to the controller
///
/// Takes a folder, which is packed, or an artifact that `footplate build` made. What `footplate.toml` says goes with it.
/// An app of scripts ([command]) has no files, only a version.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate push --version 1.4.2                 the build output of this folder's app
  footplate push dist/ --version 1.4.2
  footplate push shop.tar.zst --version 1.4.2 --commit 3f1c2ab9…

A version's name is letters, digits, `.`, `_`, `+` and `-`. A version that is there already with other bytes is refused.")]
pub struct PushArgs {
    /// Folder or artifact [default: the build output of the nearest footplate.toml]
    path: Option<PathBuf>,
    /// Name of the version
    #[arg(long, short = 'V', value_name = "NAME")]
    version: Version,
    /// Folder of the app, where its footplate.toml is [default: the nearest]
    #[arg(long, value_name = "DIR")]
    app_folder: Option<PathBuf>,
    /// Full id of the commit it was built from
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// What it is, in a line
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
}

/// Packs and uploads a version.
pub async fn push(operator: &Operator, args: &PushArgs) -> Result<(), Failure> {
    let (folder, config) = match &args.app_folder {
        Some(folder) => (folder.clone(), config_of(folder)?),
        None => config_here()?,
    };
    let client = operator.client()?;
    let what = format!("cannot push `{}` {}", config.app, args.version);
    let artifact =
        match bytes(&folder, &config, args.path.as_deref()).map_err(|failure| failure.during(&what))? {
            None => None,
            Some(Bytes { artifact, file, _scratch }) => {
                upload(operator, &client, &what, &artifact, &file).await?;
                Some(artifact)
            }
        };
    let order = config.push(args.version.clone(), args.commit.clone(), args.summary.clone(), artifact);
    let order = Push { actor: operator.actor()?, ..order };
    let pushed = client.push(&order).await.map_err(|error| operator.failed(&what, error))?;
    operator.ui.show(&Answer(pushed))
}

/// Uploads an artifact unless the controller has it.
pub async fn upload(
    operator: &Operator,
    client: &Client,
    what: &str,
    artifact: &ArtifactRef,
    file: &Path,
) -> Result<(), Failure> {
    if client.has_artifact(&artifact.digest).await.map_err(|error| operator.failed(what, error))? {
        return Ok(());
    }
    operator.ui.say(format!("Uploading {}.", indicatif::HumanBytes(artifact.bytes)));
    client.put_artifact(&artifact.digest, file).await.map_err(|error| operator.failed(what, error))
}

/// The file to upload; one that was packed for this goes away with it.
struct Bytes {
    artifact: ArtifactRef,
    file: PathBuf,
    _scratch: Option<TempDir>,
}

/// Finds or packs what is to be uploaded; nothing for an app of scripts.
fn bytes(folder: &Path, config: &AppConfig, given: Option<&Path>) -> Result<Option<Bytes>, Failure> {
    if let Workload::Command(_) = config.workload {
        return match given {
            None => Ok(None),
            Some(path) => Err(Failure::new(Exit::Usage, format!("cannot take `{}`", path.display()))
                .because_of("an app of scripts ([command]) has no files")
                .next("leave the path away")),
        };
    }
    let output = config.build.as_ref().map_or(".", |build| &build.output);
    let path = given.map_or_else(|| folder.join(output), Path::to_owned);
    let unreadable = |error: &dyn std::error::Error| {
        Failure::new(Exit::Usage, format!("cannot read `{}`", path.display()))
            .because(error)
            .next("name a folder or an artifact that is there, or build it first")
    };
    let metadata = std::fs::metadata(&path).map_err(|error| unreadable(&error))?;
    if metadata.is_file() {
        let artifact = archive::digest_file(&path).map_err(|error| unreadable(&error))?;
        return Ok(Some(Bytes { artifact, file: path, _scratch: None }));
    }
    pack(&path).map(Some)
}

fn pack(folder: &Path) -> Result<Bytes, Failure> {
    let failed = || Failure::new(Exit::Failed, format!("cannot pack `{}`", folder.display()));
    let scratch = tempfile::tempdir().map_err(|error| failed().because(&error))?;
    let file = scratch.path().join("artifact.tar.zst");
    match archive::pack(folder, &file, 0) {
        Ok(packed) => Ok(Bytes { artifact: packed.artifact, file, _scratch: Some(scratch) }),
        Err(error) => Err(failed().because(&error).next(error.next())),
    }
}

#[derive(Serialize)]
#[serde(transparent)]
pub struct Answer(pub Pushed);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = &self.0.release;
        write!(f, "{} {} is there", release.app, release.id)?;
        if let Some(artifact) = &release.artifact {
            write!(f, ": {}, {}", indicatif::HumanBytes(artifact.bytes), artifact.digest)?;
        }
        writeln!(f)?;
        writeln!(f, "next: footplate deploy {}@{}", release.app, release.id)
    }
}
