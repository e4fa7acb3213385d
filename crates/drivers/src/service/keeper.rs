//! Services under keepers: one small process of footplate for each, which outlives whoever started it.
//!
//! Orders go through a socket in the service's folder, one line of JSON each way. Invariants: what must run is on the disk
//! before a keeper is asked; a keeper that is gone is replaced, and its service goes on meanwhile; nobody is signalled by
//! the agent itself. `docs/decisions/0006-a-keeper-for-each-service.md` says why.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::release::service::StopSignal;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::folder::State;
use super::folders::Folders;
use super::{Look, Order, Phase, ServiceError, ServiceName, Status, Supervisor, forsaken, revived};
use crate::disk;
use crate::shell::{self, End, Script};

/// How long a keeper may take to answer, beyond what its order takes by itself.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one may take that is only looked at among others, and how many are looked at side by side.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
const LOOKS_AT_ONCE: usize = 32;

/// An order to a keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Say how the service stands.
    Status,
    /// End the service, and yourself when it is gone; the answer comes then.
    Stop,
    /// End the service and start it again; the answer comes then.
    Restart,
    /// Send a signal to its process group.
    Signal {
        /// Which.
        signal: StopSignal,
    },
}

/// A keeper's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done; this is how the service stands.
    Done(State),
    /// It could not be done, for this reason.
    Failed(String),
}

/// The keepers of this host.
#[derive(Debug)]
pub struct Keepers {
    folders: Folders,
    program: PathBuf,
    has_groups: bool,
    /// Two starts of one service would write one order at once.
    starts: tokio::sync::Mutex<()>,
}

impl Keepers {
    /// Keeps services below `folder`, by `program`, which is footplate's own executable.
    pub fn new(folder: &Path, program: PathBuf) -> Self {
        Self {
            folders: Folders::new(folder),
            program,
            has_groups: true,
            starts: tokio::sync::Mutex::default(),
        }
    }

    /// Keeps services without control groups, as where none may be written.
    #[must_use]
    pub fn without_groups(self) -> Self {
        Self { has_groups: false, ..self }
    }

    /// Runs footplate's hidden command `keeper` for a folder.
    async fn run(
        &self,
        what: &'static str,
        name: &ServiceName,
        arguments: &[&str],
        deadline: Duration,
    ) -> Result<(), ServiceError> {
        let folder = self.folders.of(name);
        let script = Script::new(&self.program, folder.path()).arguments(["keeper", "--folder"]);
        let script = script.arguments([folder.path()]).arguments(arguments).deadline(deadline);
        let script = script.arguments((!self.has_groups).then_some("--no-groups"));
        let finished = shell::run(&script, &CancellationToken::new()).await?;
        match finished.end {
            End::Exited(0) => Ok(()),
            end => {
                let said = format!("{end}; {}", finished.output.trim());
                Err(ServiceError::Refused { what, name: Box::new(name.clone()), said })
            }
        }
    }

    /// Asks the keeper of a service; `None` when it has none.
    async fn ask(
        &self,
        name: &ServiceName,
        request: Request,
        patience: Duration,
    ) -> Result<Option<State>, ServiceError> {
        let folder = self.folders.of(name);
        let silent = |source| ServiceError::Silent { name: Box::new(name.clone()), source };
        let asked = tokio::time::timeout(patience, ask(folder.path(), request)).await;
        match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Answer::Done(state)) => Ok(Some(state)),
            Ok(Answer::Failed(said)) => {
                Err(ServiceError::Refused { what: "do as told with", name: Box::new(name.clone()), said })
            }
            // The file of a keeper that was killed is still there, and nobody listens.
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(silent(error)),
        }
    }

    async fn stand(&self, order: &Order, patience: Duration) -> Result<Status, ServiceError> {
        let (folder, order) = (self.folders.of(&order.name), order.clone());
        match self.ask(&order.name, Request::Status, patience).await? {
            Some(state) => {
                let phase = state.phase.clone().unwrap_or(Phase::Stopped);
                Ok(folder.status(&order, &state, phase))
            }
            None => Ok(crate::blocking(move || folder.forsaken(&order)).await?),
        }
    }
}

#[async_trait]
impl Supervisor for Keepers {
    async fn start(&self, order: &Order) -> Result<Status, ServiceError> {
        let _alone = self.starts.lock().await;
        let name = &order.name;
        if let Some(state) = self.ask(name, Request::Status, PATIENCE).await? {
            match state.phase {
                // It is on its way out by an earlier order, which is obeyed first.
                Some(Phase::Stopping { .. } | Phase::Stopped) if self.folders.of(name).is_stopped() => {
                    self.stop(name).await?
                }
                _ => return self.stand(order, PATIENCE).await,
            }
        }
        let (folder, wanted) = (self.folders.of(name), order.clone());
        crate::blocking(move || {
            folder.create()?;
            folder.write_order(&wanted)?;
            folder.set_stopped(false)
        })
        .await?;
        self.run("start", name, &[], PATIENCE).await?;
        self.stand(order, PATIENCE).await
    }

    async fn stop(&self, name: &ServiceName) -> Result<(), ServiceError> {
        let Some(order) = self.folders.order(name).await? else { return Ok(()) };
        let folder = self.folders.of(name);
        crate::blocking(move || folder.set_stopped(true)).await?;
        let patience = order.stop.grace + PATIENCE;
        let stopped = self.ask(name, Request::Stop, patience).await?;
        if stopped.is_some() {
            return Ok(());
        }
        // Nobody looks after it: what its keeper left is ended by one that comes for this only.
        self.run("stop", name, &["--end"], patience).await
    }

    async fn restart(&self, name: &ServiceName) -> Result<(), ServiceError> {
        let Some(order) = self.folders.order(name).await? else { return Ok(()) };
        let patience = order.stop.grace + PATIENCE;
        match self.ask(name, Request::Restart, patience).await? {
            Some(_) => Ok(()),
            None => self.start(&order).await.map(drop),
        }
    }

    async fn signal(&self, name: &ServiceName, signal: StopSignal) -> Result<(), ServiceError> {
        self.ask(name, Request::Signal { signal }, PATIENCE).await.map(drop)
    }

    /// All are looked at side by side: a keeper that does not answer takes its own time, not that of the others.
    async fn look(&self) -> Result<Vec<Look>, ServiceError> {
        let looks = self.folders.names().await?.into_iter().map(async |name: ServiceName| {
            let looked = async {
                match self.folders.order(&name).await? {
                    Some(order) => self.stand(&order, LOOK_PATIENCE).await.map(Some),
                    None => Ok(None),
                }
            };
            looked.await.transpose().map(|status| (name, status))
        });
        let looks: Vec<_> = stream::iter(looks).buffered(LOOKS_AT_ONCE).collect().await;
        Ok(looks.into_iter().flatten().collect())
    }

    async fn status(&self, name: &ServiceName) -> Result<Option<Status>, ServiceError> {
        match self.folders.order(name).await? {
            Some(order) => self.stand(&order, PATIENCE).await.map(Some),
            None => Ok(None),
        }
    }

    async fn revive(&self) -> Result<Vec<ServiceName>, ServiceError> {
        let mut taken_up = Vec::new();
        for name in forsaken(self.look().await?) {
            let done = self.run("start", &name, &[], PATIENCE).await;
            taken_up.extend(revived(name, done));
        }
        Ok(taken_up)
    }

    async fn forget(&self, name: &ServiceName) -> Result<(), ServiceError> {
        self.stop(name).await?;
        let folder = self.folders.of(name);
        Ok(crate::blocking(move || disk::remove_tree(folder.path())).await?)
    }
}

fn is_absence(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    // A keeper that ends has its connections reset.
    let gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof];
    kinds.contains(&error.kind()) || gone.contains(&error.kind())
}

async fn ask(folder: &Path, request: Request) -> io::Result<Answer> {
    // The path of a socket has 108 bytes at most, and ours may be longer: it is reached through the open folder.
    let folder = File::open(folder)?;
    let stream = UnixStream::connect(format!("/proc/self/fd/{}/orders.sock", folder.as_raw_fd())).await?;
    let mut stream = BufReader::new(stream);
    let mut line = serde_json::to_string(&request)?;
    line.push('\n');
    stream.get_mut().write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    if stream.read_line(&mut answer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}
