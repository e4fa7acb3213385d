//! From a commit to a release at the controller: build in a clean worktree, upload the bytes, name the version.
//!
//! Invariants: what is built is the commit, never the folder as it lies; the bytes are at the controller before the
//! release is named; the workplace is gone afterwards.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use footplate_core::artifact::ArtifactRef;
use footplate_core::name::{Actor, Version};
use footplate_core::release::Workload;
use footplate_drivers::build::{Build, BuildError, Command, EachLine, Order, Workplace, Workshop};
use footplate_drivers::source::{Commit, Git, Source};
use tokio_util::sync::CancellationToken;

use crate::api::{Push, Pushed};
use crate::client::{Client, ClientError};
use crate::config::app::{AppConfig, FILE_NAME};
use crate::failure::{Exit, Failure};

/// How many digits of a commit's id name its version.
const VERSION_DIGITS: usize = 12;

/// A commit that was built.
pub struct Built {
    /// What its `footplate.toml` says.
    pub app: AppConfig,
    /// The commit.
    pub commit: Commit,
    /// The version it becomes.
    pub version: Version,
    /// The packed bytes and where they lie; none for an app of scripts.
    pub artifact: Option<(ArtifactRef, PathBuf)>,
    _workplace: Workplace,
}

/// Builds a commit. `folder` is the app's folder below the repository's root, empty for the root itself; without a
/// `version` the first digits of the commit's id name it.
pub async fn build(
    source: &Git,
    commit: &Commit,
    folder: &Path,
    version: Option<&Version>,
    workshop: &Workshop,
    each_line: &EachLine<'_>,
    stop: &CancellationToken,
) -> Result<Built, Failure> {
    let what = format!("cannot build {} (`{}`)", short(&commit.id), commit.summary);
    let failed = |error: &(dyn std::error::Error + 'static), next: String| {
        Failure::new(Exit::Failed, &what).because(error).next(next)
    };
    let workplace = workshop.workplace().map_err(|error| failed(&error, error.next()))?;
    let tree = workplace.path().join("tree");
    source.check_out(commit, &tree).await.map_err(|error| failed(&error, error.next()))?;
    let app_folder = tree.join(folder);
    let app = read_config(&app_folder, folder).map_err(|failure| failure.during(&what))?;
    let of_commit = || short(&commit.id).parse().expect("hex digits are a valid version");
    let version = version.cloned().unwrap_or_else(of_commit);
    let artifact = match &app.workload {
        Workload::Command(_) => None,
        Workload::ReleaseDir(hooks) | Workload::Service { hooks, .. } => {
            let order = order(&app, commit, &version);
            let file = workplace.path().join("artifact.tar.zst");
            let packed = Command.build(&app_folder, &order, &file, each_line, stop).await;
            let packed = packed.map_err(|error| build_failure(&what, &error))?;
            let shipped = order.output.as_ref().map_or(app_folder.clone(), |output| app_folder.join(output));
            hooks.prepare.iter().try_for_each(|hook| check_hook(&what, &shipped, &hook.command))?;
            Some((packed.artifact, file))
        }
    };
    Ok(Built { app, commit: commit.clone(), version, artifact, _workplace: workplace })
}

/// Hands what was built to the controller, which makes a release of it; the history says that this person did.
pub async fn push(client: &Client, built: &Built, actor: Option<&Actor>) -> Result<Pushed, ClientError> {
    if let Some((artifact, file)) = &built.artifact
        && !client.has_artifact(&artifact.digest).await?
    {
        client.put_artifact(&artifact.digest, file).await?;
    }
    let artifact = built.artifact.as_ref().map(|(artifact, _)| artifact.clone());
    let commit = Some(built.commit.id.clone());
    let summary = Some(built.commit.summary.clone());
    let push = built.app.push(built.version.clone(), commit, summary, artifact);
    client.push(&Push { actor: actor.cloned(), ..push }).await
}

/// Returns the digits of a commit's id that name its version.
pub fn short(id: &str) -> &str {
    id.get(..VERSION_DIGITS).unwrap_or(id)
}

/// Checks that a script of the release's own that the prepare hook begins with is shipped: better said here, once, than
/// by every host. The activated hook may be made by the prepare hook, so nothing is said about it.
fn check_hook(what: &str, shipped: &Path, command: &str) -> Result<(), Failure> {
    let word = command.split_whitespace().next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if !word.starts_with("./") || !word.chars().all(is_plain) {
        return Ok(());
    }
    let failed = |because: String, next: &str| {
        Err(Failure::new(Exit::Failed, what).because_of(because).next(next.to_owned()))
    };
    match std::fs::metadata(shipped.join(word)) {
        Ok(found) if found.permissions().mode() & 0o111 == 0 => failed(
            format!("the prepare hook begins with `{word}`, which is not executable"),
            "run `git update-index --chmod=+x` on that file, and commit",
        ),
        Ok(_) => Ok(()),
        Err(_) => failed(
            format!("the prepare hook begins with `{word}`, which is not among the files that are shipped"),
            "put it below `[build] output` of footplate.toml, or let the hook name what lies there",
        ),
    }
}

fn read_config(app_folder: &Path, folder: &Path) -> Result<AppConfig, Failure> {
    let shown = folder.join(FILE_NAME).display().to_string();
    let text = std::fs::read_to_string(app_folder.join(FILE_NAME)).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read `{shown}` of the commit"))
            .because(&error)
            .next("run `footplate init` in the app's folder, and commit the file")
    })?;
    Ok(AppConfig::parse(&shown, &text)?)
}

fn order(app: &AppConfig, commit: &Commit, version: &Version) -> Order {
    let build = app.build.as_ref();
    let variable = |name: &str, value: &str| (name.to_owned(), value.into());
    Order {
        command: build.and_then(|build| build.command.clone()),
        output: build.map(|build| PathBuf::from(&build.output)).filter(|output| output != Path::new(".")),
        environment: vec![
            variable("APP", app.app.as_str()),
            variable("VERSION", version.as_str()),
            variable("COMMIT", &commit.id),
        ],
        deadline: build.map_or(crate::config::app::BUILD_DEADLINE, |build| build.deadline),
        modified: commit.committed_at.as_millis() / 1000,
    }
}

fn build_failure(what: &str, error: &BuildError) -> Failure {
    let failure = Failure::new(Exit::Failed, what).because(error).next(error.next());
    match error {
        BuildError::Command { output, .. } => failure.details(output.clone()),
        _ => failure,
    }
}
