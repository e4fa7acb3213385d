//! What the controller remembers beside the store: history and what scripts printed, in its ledger.
//!
//! Invariants: the worker never waits for the ledger's disk: what is said goes through a queue, in order; what is said
//! twice after a change of controllers is remembered once.

use std::path::Path;
use std::sync::Arc;

use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppPath};
use footplate_core::rollout::{Announcement, Class};
use footplate_core::verdict::Verdict;
use footplate_drivers::ledger::{Filter, Happening, Ledger, LedgerError, Sqlite, TrialName};
use tokio::sync::mpsc;

use crate::clock;

/// The most sentences that wait for the disk; the store holds every record, so what is dropped here is only history.
const WAITING_MAX: usize = 4096;

/// The most bytes of script output that are kept; the oldest goes first.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The controller's memory.
pub(crate) struct Journal {
    ledger: Arc<dyn Ledger>,
    waiting: mpsc::Sender<Waiting>,
}

enum Waiting {
    Append(Happening),
    /// Append unless the rollout's history has this kind already.
    AppendOnce(Happening),
    BeginTrial {
        name: TrialName,
        began: Moment,
        head: String,
    },
    Hear {
        name: TrialName,
        lines: Vec<String>,
    },
    EndTrial {
        name: TrialName,
        verdict: String,
    },
    Flush(tokio::sync::oneshot::Sender<()>),
}

impl Journal {
    /// Opens the ledger in the controller's folder.
    pub(crate) async fn open(data: &Path) -> Result<Self, LedgerError> {
        let ledger: Arc<dyn Ledger> =
            Arc::new(Sqlite::open(&data.join("ledger.db"), OUTPUT_BYTES_MAX).await?);
        let (waiting, inbox) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write(ledger.clone(), inbox));
        Ok(Self { ledger, waiting })
    }

    /// Returns the ledger, to read.
    pub(crate) fn ledger(&self) -> &dyn Ledger {
        self.ledger.as_ref()
    }

    /// Remembers and logs what there is to say about a rollout.
    pub(crate) fn say(&self, announcement: &Announcement, actor: &Actor) {
        tracing::info!(app = %announcement.path, rollout = announcement.number, "{}", announcement.text);
        self.push(Waiting::Append(happening(announcement, actor)));
    }

    /// Remembers it unless it is remembered.
    pub(crate) fn say_again(&self, announcement: &Announcement, actor: &Actor) {
        self.push(Waiting::AppendOnce(happening(announcement, actor)));
    }

    /// Remembers what a person did.
    pub(crate) fn note(
        &self,
        path: Option<&AppPath>,
        rollout: Option<u64>,
        kind: &str,
        actor: &Actor,
        text: &str,
    ) {
        tracing::info!("{text}");
        self.push(Waiting::Append(noted(path, rollout, kind, actor, text)));
    }

    /// Remembers what came of a rollout, unless something of this kind is remembered of it.
    pub(crate) fn note_once(&self, path: &AppPath, rollout: u64, kind: &str, actor: &Actor, text: &str) {
        tracing::info!("{text}");
        self.push(Waiting::AppendOnce(noted(Some(path), Some(rollout), kind, actor, text)));
    }

    /// Remembers that a judge begins to hear of a rollout.
    pub(crate) fn begin_trial(&self, name: TrialName, began: Moment, head: String) {
        self.push(Waiting::BeginTrial { name, began, head });
    }

    /// Remembers what a judge heard.
    pub(crate) fn hear(&self, name: TrialName, lines: Vec<String>) {
        self.push(Waiting::Hear { name, lines });
    }

    /// Remembers what a judge found.
    pub(crate) fn end_trial(&self, name: TrialName, verdict: &Verdict) {
        let verdict = serde_json::to_string(verdict).expect("a verdict can always be written");
        self.push(Waiting::EndTrial { name, verdict });
    }

    /// Waits until everything said so far is on the disk.
    pub(crate) async fn flush(&self) {
        let (done, written) = tokio::sync::oneshot::channel();
        self.push(Waiting::Flush(done));
        // An error means that the writer has ended: there is nothing left to wait for.
        drop(written.await);
    }

    fn push(&self, waiting: Waiting) {
        if self.waiting.try_send(waiting).is_err() {
            tracing::warn!("the ledger does not keep up; a line of it is lost");
        }
    }
}

async fn write(ledger: Arc<dyn Ledger>, mut inbox: mpsc::Receiver<Waiting>) {
    while let Some(waiting) = inbox.recv().await {
        let result = match waiting {
            Waiting::Append(happening) => ledger.append(&[happening]).await.map(drop),
            Waiting::AppendOnce(happening) => append_once(ledger.as_ref(), happening).await,
            Waiting::BeginTrial { name, began, head } => ledger.begin_trial(&name, began, &head).await,
            Waiting::Hear { name, lines } => ledger.hear(&name, &lines).await,
            Waiting::EndTrial { name, verdict } => ledger.end_trial(&name, &verdict).await,
            Waiting::Flush(done) => {
                if done.send(()).is_err() {
                    tracing::debug!("the one who waited for the ledger has gone");
                }
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, next = error.next(), "a line of the ledger is lost");
        }
    }
}

async fn append_once(ledger: &dyn Ledger, happening: Happening) -> Result<(), LedgerError> {
    let filter = Filter {
        environment: happening.path.as_ref().map(|path| path.environment.clone()),
        app: happening.path.as_ref().map(|path| path.app.clone()),
        rollout: happening.rollout,
        kind: Some(happening.kind.clone()),
        ..Filter::default()
    };
    if ledger.events(&filter, 1).await?.is_empty() {
        ledger.append(&[happening]).await?;
    }
    Ok(())
}

fn happening(announcement: &Announcement, actor: &Actor) -> Happening {
    let Announcement { path, number, text, .. } = announcement;
    noted(Some(path), Some(*number), kind(announcement), actor, text)
}

fn noted(path: Option<&AppPath>, rollout: Option<u64>, kind: &str, actor: &Actor, text: &str) -> Happening {
    Happening {
        at: clock::now(),
        path: path.cloned(),
        rollout,
        kind: kind.to_owned(),
        actor: actor.clone(),
        text: text.to_owned(),
        data: serde_json::Value::Null,
    }
}

/// Returns the kind in one word: the phase, or how it ended.
fn kind(announcement: &Announcement) -> &str {
    match announcement.class {
        None => &announcement.phase,
        Some(Class::Done) => "done",
        Some(Class::Failed) => "failed",
        Some(Class::Aborted) => "aborted",
        Some(Class::Deadline) => "deadline",
    }
}
