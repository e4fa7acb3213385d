//! A git repository, through the git program.
//!
//! The repository is read where it is; nothing is fetched. git never prompts, runs no hook of the repository, and every
//! name is passed where it cannot be taken for an option.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::moment::Moment;
use tokio_util::sync::CancellationToken;

use super::{Commit, Source, SourceError};
use crate::disk;
use crate::shell::{self, Finished, Script};

/// How long a question to a repository on this machine may take.
const LOOK: Duration = Duration::from_secs(30);
/// How long a checkout may take.
const CHECKOUT: Duration = Duration::from_secs(600);
/// The full id, the time in seconds, author and summary, each on a line.
const FORMAT: &str = "--format=%H%n%ct%n%an%n%s";

/// A repository.
#[derive(Clone, Debug)]
pub struct Git {
    place: String,
    /// Where git reads.
    folder: PathBuf,
}

impl Git {
    /// Opens the repository that holds `folder`.
    pub async fn open(folder: &Path) -> Result<Self, SourceError> {
        let git = Self { place: folder.display().to_string(), folder: folder.to_owned() };
        let found = git.run(&["rev-parse", "--absolute-git-dir"], LOOK).await;
        match found {
            Ok(found) if found.succeeded() => Ok(git),
            Ok(found) => Err(SourceError::NotARepository { place: git.place, said: found.output }),
            // git itself is started in the folder; a missing folder is more likely than a missing git.
            Err(_) if !folder.is_dir() => Err(SourceError::NotARepository {
                place: git.place,
                said: "there is no such folder".to_owned(),
            }),
            Err(error) => Err(error),
        }
    }

    /// Makes a repository in `folder` (absent or empty of `.git`) out of the files that are there, with one commit.
    ///
    /// Where git knows no name to commit under, the repository gets one, so that its user can go on at once.
    pub async fn init(folder: &Path, message: &str) -> Result<Self, SourceError> {
        disk::create_folder(folder)?;
        let git = Self { place: folder.display().to_string(), folder: folder.to_owned() };
        let begun = git.run(&["init", "--quiet", "--initial-branch=main", "--template="], LOOK).await?;
        git.expect("create a repository in", begun)?;
        for (key, value) in [("user.name", "Footplate"), ("user.email", "footplate@localhost")] {
            if !git.run(&["config", "--get", key], LOOK).await?.succeeded() {
                git.expect("configure", git.run(&["config", key, value], LOOK).await?)?;
            }
        }
        git.commit_all(message).await?;
        Ok(git)
    }

    /// Commits everything in the folder. Nothing to commit is fine.
    pub async fn commit_all(&self, message: &str) -> Result<Commit, SourceError> {
        self.expect("add files to", self.run(&["add", "--all"], LOOK).await?)?;
        let unchanged = self.run(&["diff", "--cached", "--quiet", "HEAD"], LOOK).await?.succeeded();
        if !unchanged {
            let arguments = ["-c", "commit.gpgSign=false", "commit", "--quiet", "--no-verify", "-m", message];
            self.expect("commit to", self.run(&arguments, LOOK).await?)?;
        }
        self.head(None).await
    }

    /// Returns the commit that a revision in git's own language names.
    async fn look_up(&self, revision: &str, name: &str) -> Result<Commit, SourceError> {
        let revision = format!("{revision}^{{commit}}");
        let arguments = ["log", "-1", "--no-show-signature", FORMAT, "--end-of-options", &revision, "--"];
        let found = self.run(&arguments, LOOK).await?;
        if found.end == shell::End::Exited(128) {
            return Err(SourceError::Unknown { place: self.place.clone(), name: name.to_owned() });
        }
        let said = self.expect("read", found)?;
        parse(&said).ok_or_else(|| self.failed("understand", said))
    }

    async fn run(&self, arguments: &[&str], deadline: Duration) -> Result<Finished, SourceError> {
        Ok(shell::run(&script(&self.folder, arguments, deadline), &CancellationToken::new()).await?)
    }

    fn expect(&self, action: &'static str, finished: Finished) -> Result<String, SourceError> {
        match finished.succeeded() {
            true => Ok(finished.output),
            false => Err(self.failed(action, format!("{} ({})", finished.output.trim(), finished.end))),
        }
    }

    fn failed(&self, action: &'static str, said: String) -> SourceError {
        SourceError::Git { action, place: self.place.clone(), said }
    }
}

#[async_trait]
impl Source for Git {
    fn describe(&self) -> String {
        self.place.clone()
    }

    async fn head(&self, branch: Option<&str>) -> Result<Commit, SourceError> {
        match branch {
            Some(branch) => self.look_up(&format!("refs/heads/{branch}"), branch).await,
            None => self.look_up("HEAD", "HEAD").await,
        }
    }

    async fn resolve(&self, name: &str) -> Result<Commit, SourceError> {
        // A revision may also be a search or a range in git's language; a name of ours is neither.
        let is_more = |c: char| c.is_control() || " ~^:?*[\\{}@".contains(c);
        if name.is_empty() || name.contains("..") || name.contains(is_more) {
            return Err(SourceError::Unknown { place: self.place.clone(), name: name.to_owned() });
        }
        self.look_up(name, name).await
    }

    async fn check_out(&self, commit: &Commit, folder: &Path) -> Result<(), SourceError> {
        // A clone that borrows the objects, and not a worktree: that would leave its traces in the repository.
        let mut clone = script(
            &self.folder,
            &["clone", "--quiet", "--shared", "--no-checkout", "--template=", "--"],
            CHECKOUT,
        );
        clone.arguments.extend([OsString::from("."), folder.into()]);
        let stop = CancellationToken::new();
        self.expect("clone", shell::run(&clone, &stop).await?)?;
        let check_out =
            script(folder, &["checkout", "--quiet", "--force", "--detach", &commit.id, "--"], CHECKOUT);
        self.expect("check out", shell::run(&check_out, &stop).await?).map(drop)
    }
}

/// Returns git with its doors closed: no prompt, no hook, no pager, no program that the repository names.
fn script(folder: &Path, arguments: &[&str], deadline: Duration) -> Script {
    let closed =
        ["core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.ext.allow=never", "gc.auto=0"];
    let mut script = Script::new("git", folder).deadline(deadline);
    script.arguments.extend(closed.iter().flat_map(|setting| ["-c".into(), OsString::from(setting)]));
    script = script.arguments(arguments);
    for (name, value) in [
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
        ("GIT_ASKPASS", "true"),
        ("LC_ALL", "C.UTF-8"),
    ] {
        script = script.variable(name, value);
    }
    match std::env::var_os("SSH_AUTH_SOCK") {
        Some(agent) => script.variable("SSH_AUTH_SOCK", agent),
        None => script,
    }
}

fn parse(said: &str) -> Option<Commit> {
    let mut lines = said.lines();
    let id = lines.next()?.to_owned();
    let seconds: u64 = lines.next()?.parse().ok()?;
    let author = lines.next()?.to_owned();
    let summary = lines.next().unwrap_or_default().to_owned();
    let is_id = id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(Commit { id, summary, author, committed_at: Moment::from_millis(seconds * 1000) })
}
