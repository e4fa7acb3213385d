//! `footplate build`: a commit becomes an artifact file.
//!
//! Invariant: only what is committed counts; the working folder is neither read nor changed.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use footplate_core::artifact::ArtifactRef;
use footplate_core::name::{AppName, Version};
use footplate_core::release::Workload;
use footplate_drivers::build::{self, Build, BuildError, Order};
use footplate_drivers::source::{Commit, Git, Source, SourceError};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::app::config_of;
use super::{Operator, push};
use crate::config::app::AppConfig;
use crate::failure::{Exit, Failure};

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

/// What was built.
struct Built {
    config: AppConfig,
    version: Version,
    artifact: ArtifactRef,
    file: PathBuf,
}

/// Builds a commit.
pub async fn build(operator: &Operator, args: &BuildArgs) -> Result<(), Failure> {
    let folder = args.app_folder.canonicalize().map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot look at `{}`", args.app_folder.display())).because(&error)
    })?;
    let root = repository(&folder);
    let source = Git::open(&root).await.map_err(|error| no_commit(&folder, &error))?;
    let commit = match &args.commit {
        Some(name) => source.resolve(name).await,
        None => source.head(None).await,
    };
    let commit = commit.map_err(|error| no_commit(&folder, &error))?;
    let what = format!("cannot build {} of `{}`", short(&commit), folder.display());
    let built =
        make(operator, args, &folder, &source, &commit).await.map_err(|failure| failure.during(what))?;
    if args.push {
        return hand_in(operator, &commit, built).await;
    }
    operator.ui.show(&Answer {
        app: built.config.app,
        version: built.version,
        commit: commit.id,
        file: built.file.display().to_string(),
        artifact: built.artifact,
    })
}

fn no_commit(folder: &Path, error: &SourceError) -> Failure {
    Failure::new(Exit::Usage, format!("cannot build from `{}`", folder.display()))
        .because(error)
        .next(error.next())
}

fn short(commit: &Commit) -> &str {
    commit.id.get(..12).unwrap_or(&commit.id)
}

async fn make(
    operator: &Operator,
    args: &BuildArgs,
    folder: &Path,
    source: &Git,
    commit: &Commit,
) -> Result<Built, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::new(Exit::Failed, "cannot make room to build").because(error)
    };
    let scratch = tempfile::tempdir().map_err(|error| failed(&error))?;
    let tree = scratch.path().join("tree");
    source.check_out(commit, &tree).await.map_err(|error| no_commit(folder, &error))?;
    let tree = tree.join(folder.strip_prefix(repository(folder)).expect("the root is above the folder"));
    let config = config_of(&tree)?;
    if let Workload::Command(_) = config.workload {
        return Err(Failure::new(Exit::Usage, "there is nothing to build")
            .because_of("an app of scripts ([command]) has no files")
            .next("hand its version in with `footplate push`"));
    }
    let version = match &args.version {
        Some(version) => version.clone(),
        None => short(commit).parse().expect("a commit id is a valid version"),
    };
    let file =
        args.output.clone().unwrap_or_else(|| format!("{}-{}.tar.zst", config.app, short(commit)).into());
    let packed = scratch.path().join("artifact.tar.zst");
    let each_line = |line: &str| operator.ui.say(crate::failure::printable(line));
    let order = order(&config, &version, commit);
    let built = build::Command.build(&tree, &order, &packed, &each_line, &CancellationToken::new()).await;
    let built = built.map_err(|error| build_failed(&error))?;
    let unwritable = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write `{}`", file.display())).because(&error)
    };
    std::fs::copy(&packed, &file).map_err(unwritable)?;
    Ok(Built { config, version, artifact: built.artifact, file })
}

/// Returns the root of the repository that a folder is in; the folder itself when it is in none.
fn repository(folder: &Path) -> PathBuf {
    folder.ancestors().find(|above| above.join(".git").exists()).unwrap_or(folder).to_owned()
}

/// Returns the build order that a `footplate.toml` gives for a commit.
pub fn order(config: &AppConfig, version: &Version, commit: &Commit) -> Order {
    let build = config.build.as_ref();
    let environment = [("APP", config.app.as_str()), ("VERSION", version.as_str()), ("COMMIT", &commit.id)];
    Order {
        command: build.and_then(|build| build.command.clone()),
        output: build.map(|build| PathBuf::from(&build.output)),
        environment: environment.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        deadline: build.map_or(crate::config::app::BUILD_DEADLINE, |build| build.deadline),
        modified: commit.committed_at.as_millis() / 1000,
    }
}

fn build_failed(error: &BuildError) -> Failure {
    Failure::new(Exit::Failed, "the build failed").because(error).next(error.next())
}

async fn hand_in(operator: &Operator, commit: &Commit, built: Built) -> Result<(), Failure> {
    let client = operator.client()?;
    let what = format!("cannot push `{}` {}", built.config.app, built.version);
    push::upload(operator, &client, &what, &built.artifact, &built.file).await?;
    let order = built.config.push(
        built.version,
        Some(commit.id.clone()),
        Some(commit.summary.clone()),
        Some(built.artifact),
    );
    let pushed = client.push(&order).await.map_err(|error| operator.failed(&what, error))?;
    operator.ui.show(&push::Answer(pushed))
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
