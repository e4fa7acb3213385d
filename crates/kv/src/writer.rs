//! The one task that writes: it takes whoever waits as a group, makes one commit for all, and only then answers.
//!
//! Invariant: readers see only what is on disk. After a failed commit the truth is what the file says when it is
//! opened anew; until that works every write is refused, and reads go on from the last durable state.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::command::{Answer, Command};
use crate::disk::{Disk, DiskError};
use crate::machine::{Machine, Now};
use crate::shared::Shared;
use crate::state::{Changes, State};

/// The most commands that share one commit.
const GROUP_MAX: usize = 512;

/// A command and where its answer goes.
pub struct Request {
    /// What to do.
    pub command: Command,
    /// Gets the answer once it is durable.
    pub reply: oneshot::Sender<Result<Answer, Unwritable>>,
}

/// The store cannot write at the moment, for the given reason. What was asked may or may not have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write to the store: {0}. Nothing that was acknowledged is lost; free the disk and try again")]
pub struct Unwritable(pub String);

/// The writing task's belongings.
pub struct Writer {
    file: PathBuf,
    disk: Option<Disk>,
    machine: Machine,
    shared: Arc<Shared>,
    start: Instant,
}

impl Writer {
    /// Takes the open file and the state that was read from it.
    pub fn new(file: PathBuf, disk: Disk, state: State, shared: Arc<Shared>) -> Self {
        let start = Instant::now();
        let machine = Machine::new(state, now(start));
        Writer { file, disk: Some(disk), machine, shared, start }
    }

    /// Works until `stop`, or until nobody can ask any more; then takes no more, finishes what is queued, and closes
    /// the file.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Request>, stop: CancellationToken) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        loop {
            tokio::select! {
                taken = requests.recv_many(&mut group, GROUP_MAX) => if taken == 0 { break },
                () = sleep_until(self.start, self.machine.next_expiry()) => {}
                () = stop.cancelled(), if !requests.is_closed() => requests.close(),
            }
            self.carry_out(std::mem::take(&mut group)).await;
        }
        self.close().await;
    }

    async fn close(&mut self) {
        if let Some(disk) = self.disk.take()
            && let Err(error) = disk.close().await
        {
            warn!(%error, "the database was not closed cleanly; the next opening repairs it");
        }
    }

    async fn carry_out(&mut self, mut group: Vec<Request>) {
        if let Err(because) = self.reopen().await {
            // Sessions that are due stay due; without a pause their expiry would spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return refuse(group, &because);
        }
        let now = now(self.start);
        // Under constant load the idle wake-up for it may be late.
        if self.machine.next_expiry().is_some_and(|deadline| deadline <= now.steady) {
            group.insert(0, expiry());
        }
        let mut answers = Vec::with_capacity(group.len());
        let mut changes = Vec::with_capacity(group.len());
        for request in group {
            let (answer, changed) = self.machine.apply(request.command, now);
            answers.push((request.reply, answer));
            if !changed.list.is_empty() {
                changes.push(changed);
            }
        }
        let committed = self.commit(&changes).await;
        for (reply, answer) in answers {
            // A client that went away needs no answer.
            reply.send(committed.clone().map(|()| answer)).ok();
        }
    }

    async fn commit(&mut self, changes: &[Changes]) -> Result<(), Unwritable> {
        if changes.is_empty() {
            return Ok(());
        }
        let disk = self.disk.as_mut().expect("the group was not taken without an open file");
        match disk.commit(changes, self.machine.state().counters).await {
            Ok(()) => {
                self.shared.publish(changes);
                Ok(())
            }
            Err(error) => {
                warn!(%error, "a commit failed; reading the database anew");
                self.close().await;
                Err(Unwritable(error.to_string()))
            }
        }
    }

    async fn reopen(&mut self) -> Result<(), Unwritable> {
        if self.disk.is_some() {
            return Ok(());
        }
        let (disk, state) = Disk::open(&self.file).await.map_err(|error| Unwritable(describe(&error)))?;
        info!(index = state.counters.index, "the database is writable again");
        self.machine = Machine::new(state.clone(), now(self.start));
        self.shared.replace(state);
        self.disk = Some(disk);
        Ok(())
    }
}

impl Shared {
    fn publish(&self, changes: &[Changes]) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        changes.iter().for_each(|changes| state.absorb(changes));
        drop(state);
        self.watch.wake(changes);
    }

    fn replace(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.watch.wake_all();
    }
}

fn describe(error: &DiskError) -> String {
    match error {
        DiskError::Damaged { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

fn refuse(group: Vec<Request>, because: &Unwritable) {
    for request in group {
        // A client that went away needs no answer.
        request.reply.send(Err(because.clone())).ok();
    }
}

fn expiry() -> Request {
    // Nobody waits for the answer.
    let (reply, _) = oneshot::channel();
    Request { command: Command::ExpireSessions, reply }
}

fn now(start: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { steady: start.elapsed(), wall }
}

async fn sleep_until(start: Instant, deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until((start + deadline).into()).await,
        None => std::future::pending().await,
    }
}
