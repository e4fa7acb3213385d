//! `footplate build`: a commit becomes an artifact file.
//!
//! Invariant: only what is committed counts; the working folder is neither read nor changed.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use footplate_core::artifact::ArtifactRef;
use footplate_core::name::{AppName, Version};
use footplate_drivers::build::Workshop;
use footplate_drivers::source::{Commit, Git, Source, SourceError};
use serde::Serialize;

use super::{Operator, push, signal};
use crate::failure::{Exit, Failure};
use crate::ship::{self, Built};

/// Build a commit into an artifact file
///
/// Checks the commit out into a folder of its own, runs `[build] command` there and packs `[build] output`. The same
/// commit gives the same bytes as long as the command does. The build's own output goes to stderr.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  footplate build                        the commit that is checked out
  footplate build v1.4.2 --output shop.tar.zst
  footplate build --push                 and hand it to the controller")]
pub struct BuildArgs {
    /// Commit, tag or branch [default: the commit that is checked out]
    commit: Option<String>,
    /// Folder of the app in its repository
    #[arg(long, default_value = ".", value_name = "DIR")]
    app_folder: PathBuf,
    /// File to write [default: APP-COMMIT.tar.zst here]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Hand it to the controller as a version
    #[arg(long)]
    push: bool,
    /// Name of the version [default: the first 12 digits of the commit]
    #[arg(long, short = 'V', value_name = "NAME")]
    version: Option<Version>,
}

/// Builds a commit.
pub async fn build(operator: &Operator, args: &BuildArgs) -> Result<(), Failure> {
    let folder = args.app_folder.canonicalize().map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot look at `{}`", args.app_folder.display())).because(&error)
    })?;
    let root = repository(&folder);
    let no_commit = |error: SourceError| {
        let failure = Failure::new(Exit::Usage, format!("cannot build from `{}`", folder.display()));
        failure.because(&error).next(error.next())
    };
    let source = Git::open(&root).await.map_err(no_commit)?;
    let commit = match &args.commit {
        Some(name) => source.resolve(name).await,
        None => source.head(None).await,
    };
    let commit = commit.map_err(no_commit)?;
    let scratch = tempfile::tempdir()
        .map_err(|error| Failure::new(Exit::Failed, "cannot make room to build").because(&error))?;
    let built = make(operator, args, &folder, &source, &commit, scratch.path()).await?;
    if args.push {
        let what = format!("cannot push `{}` {}", built.app.app, built.version);
        let pushed = ship::push(&operator.client()?, &built, operator.actor()?.as_ref()).await;
        return operator.ui.show(&push::Answer(pushed.map_err(|error| operator.failed(&what, error))?));
    }
    let (artifact, packed) = built.artifact.clone().ok_or_else(no_files)?;
    let file = args.output.clone();
    let file =
        file.unwrap_or_else(|| format!("{}-{}.tar.zst", built.app.app, ship::short(&commit.id)).into());
    let unwritable = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write `{}`", file.display())).because(&error)
    };
    std::fs::copy(&packed, &file).map_err(unwritable)?;
    let (app, version) = (built.app.app.clone(), built.version.clone());
    operator.ui.show(&Answer { app, version, commit: commit.id, file: file.display().to_string(), artifact })
}

fn no_files() -> Failure {
    Failure::new(Exit::Usage, "there is nothing to build")
        .because_of("an app of scripts ([command]) has no files")
        .next("hand its version in with `footplate push`, or `footplate build --push`")
}

/// Returns the root of the repository that a folder is in; the folder itself when it is in none.
fn repository(folder: &Path) -> PathBuf {
    folder.ancestors().find(|above| above.join(".git").exists()).unwrap_or(folder).to_owned()
}

/// Builds the commit in a folder of its own; the build's output goes to stderr.
async fn make(
    operator: &Operator,
    args: &BuildArgs,
    folder: &Path,
    source: &Git,
    commit: &Commit,
    scratch: &Path,
) -> Result<Built, Failure> {
    let workshop = Workshop::open(scratch).map_err(|error| {
        Failure::new(Exit::Failed, "cannot make room to build").because(&error).next(error.next())
    })?;
    let each_line = |line: &str| operator.ui.say(line);
    let root = repository(folder);
    let below = folder.strip_prefix(&root).expect("the root is above the folder");
    let stop = signal::stop_on_signal();
    ship::build(source, commit, below, args.version.as_ref(), &workshop, &each_line, &stop).await
}

#[derive(Serialize)]
struct Answer {
    app: AppName,
    version: Version,
    commit: String,
    file: String,
    artifact: ArtifactRef,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = indicatif::HumanBytes(self.artifact.bytes);
        writeln!(f, "{}: {size}, {}", self.file, self.artifact.digest)?;
        writeln!(f, "next: footplate push {} --version {} --commit {}", self.file, self.version, self.commit)
    }
}
