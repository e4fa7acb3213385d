//! What the controller remembers beside the store: history, and what scripts printed.
//!
//! Contract of every driver: history is only ever appended to and its sequence only rises; what a call returned from is
//! durable; outputs are bounded, the oldest go first. The store wins where both know something.

pub mod sqlite;
mod trials;

use async_trait::async_trait;
use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppName, AppPath, EnvironmentName, HostName, ReleaseId, TargetName};
use footplate_core::target::Verb;

pub use sqlite::Sqlite;

/// Something that happened and is to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Moment,
    /// Which app, if one.
    pub path: Option<AppPath>,
    /// Which of its rollouts, if one.
    pub rollout: Option<u64>,
    /// What kind: `deploy`, `done`, `failed`, `cordon`, …
    pub kind: String,
    /// Who.
    pub actor: Actor,
    /// The sentence that people read.
    pub text: String,
    /// Whatever else a program may want to know.
    pub data: serde_json::Value,
}

/// Something that happened, with its place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Rises by at least one with each event.
    pub sequence: u64,
    /// What happened.
    pub happening: Happening,
}

/// Which events: all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this environment.
    pub environment: Option<EnvironmentName>,
    /// Of this app.
    pub app: Option<AppName>,
    /// Of this rollout.
    pub rollout: Option<u64>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Older than this one: the page before.
    pub before: Option<u64>,
    /// Newer than this one: what came since.
    pub after: Option<u64>,
}

/// What one run of a script printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// When it ended.
    pub at: Moment,
    /// Where.
    pub host: HostName,
    /// Which target.
    pub target: TargetName,
    /// Which release.
    pub release: ReleaseId,
    /// What was being done.
    pub verb: Verb,
    /// Whether it succeeded.
    pub ok: bool,
    /// What it printed.
    pub text: String,
}

/// Which outputs: all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputFilter {
    /// Of this environment.
    pub environment: Option<EnvironmentName>,
    /// Of this app.
    pub app: Option<AppName>,
    /// Of this host.
    pub host: Option<HostName>,
    /// Of this release.
    pub release: Option<ReleaseId>,
    /// Of this verb.
    pub verb: Option<Verb>,
    /// Older than this one.
    pub before: Option<u64>,
    /// Newer than this one.
    pub after: Option<u64>,
}

/// Names what a judge heard of one rollout in one stage: with the old release beside the new one, or afterwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrialName {
    /// Of which app.
    pub path: AppPath,
    /// Of which of its rollouts.
    pub rollout: u64,
    /// The stage, in one word.
    pub stage: String,
}

/// What a judge heard, and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Of what.
    pub name: TrialName,
    /// When it began.
    pub began: Moment,
    /// What it was judged by, as JSON.
    pub head: String,
    /// What was found when it was over, as JSON; nothing while it goes on.
    pub verdict: Option<String>,
    /// What was heard, a JSON value each, in order. None when it is too long ago.
    pub lines: Vec<String>,
}

/// The controller's memory.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Appends to the history and returns the sequence of each, in order. All or nothing.
    async fn append(&self, happenings: &[Happening]) -> Result<Vec<u64>, LedgerError>;

    /// Returns at most `limit` events, the newest first.
    async fn events(&self, filter: &Filter, limit: u32) -> Result<Vec<Event>, LedgerError>;

    /// Remembers what a script printed, and forgets the oldest when there is too much. Returns its sequence.
    async fn put_output(&self, printed: &Printed) -> Result<u64, LedgerError>;

    /// Returns at most `limit` outputs with their sequence, the newest first: the newest of all, or with `after` and no `before`
    /// those that follow it, so that a reader misses none.
    async fn outputs(&self, filter: &OutputFilter, limit: u32) -> Result<Vec<(u64, Printed)>, LedgerError>;

    /// Begins a trial, unless it has begun.
    async fn begin_trial(&self, name: &TrialName, began: Moment, head: &str) -> Result<(), LedgerError>;

    /// Remembers what was heard next of a trial, all or nothing.
    async fn hear(&self, name: &TrialName, lines: &[String]) -> Result<(), LedgerError>;

    /// Ends a trial with its verdict, once. What the oldest trials heard is forgotten when there is too much; verdicts never are.
    async fn end_trial(&self, name: &TrialName, verdict: &str) -> Result<(), LedgerError>;

    /// Returns the trials of a rollout, of an app's newest judged one when none is named, in the order in which they began.
    async fn trials(&self, path: &AppPath, rollout: Option<u64>) -> Result<Vec<Trial>, LedgerError>;
}

/// A ledger that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database cannot be opened: it is missing, damaged, not ours, from a newer footplate, …
    #[error("cannot open the ledger {place}")]
    Open {
        /// The file.
        place: String,
        /// What the database said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database failed at something.
    #[error("cannot {action} the ledger {place}")]
    Failed {
        /// What was tried, as a verb: `read`, `write to`.
        action: &'static str,
        /// The file.
        place: String,
        /// What the database said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record is not one of ours.
    #[error("the ledger {place} holds a record that this footplate cannot read")]
    Foreign {
        /// The file.
        place: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LedgerError {
    /// Says what to do about it, in one sentence.
    pub fn next(&self) -> String {
        match self {
            LedgerError::Open { place, .. } => {
                format!(
                    "check that footplate may write to {place} and its folder, and that no newer footplate made it"
                )
            }
            LedgerError::Failed { place, .. } => format!("check the free space on the disk of {place}"),
            LedgerError::Foreign { .. } => {
                "use a footplate at least as new as the one that wrote it".to_owned()
            }
        }
    }
}
