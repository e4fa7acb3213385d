//! What is said of a rollout, once for each stage, in the words that every place prints.

use super::outcome::{Class, Outcome, count, describe};
use super::{Kind, Phase, Rollout};
use crate::name::AppPath;

/// Something to say, once. The key lets a notifier drop what it said already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The app and its environment.
    pub path: AppPath,
    /// The rollout's number.
    pub number: u64,
    /// The phase in one word, or `promoted`; with path and number this names the announcement for ever.
    pub phase: &'static str,
    /// How it ended, when it did.
    pub class: Option<Class>,
    /// The sentence.
    pub text: String,
}

/// Returns what there is to say about the phase that a rollout is in.
///
/// A function of the record: a controller that takes over says it again, so a crash between writing and saying loses
/// nothing.
pub fn announce(rollout: &Rollout) -> Announcement {
    let (path, to) = (&rollout.path, &rollout.to.id);
    let hosts = count(rollout.hosts.len(), "host");
    let text = match &rollout.phase {
        Phase::Preparing { .. } => begun(rollout),
        Phase::Holding { .. } => {
            format!(
                "`{to}` of `{path}` is prepared on {hosts} and waits for `footplate promote {}`",
                path.app
            )
        }
        Phase::Switching { .. } => format!("`{path}` switches to `{to}` on {hosts}"),
        Phase::TurningBack { why, .. } => format!("`{path}` turns back from `{to}`: {why}"),
        Phase::Ended { outcome, .. } => describe(rollout, outcome),
    };
    Announcement {
        path: path.clone(),
        number: rollout.number,
        phase: rollout.stage(),
        class: rollout.outcome().map(Outcome::class),
        text,
    }
}

fn begun(rollout: &Rollout) -> String {
    let (path, to) = (&rollout.path, &rollout.to.id);
    let hosts = count(rollout.hosts.len(), "host");
    match (&rollout.promoted, rollout.kind) {
        (Some(promoted), _) => format!("{} promotes `{to}` of `{path}` on {hosts}", promoted.actor),
        (None, Kind::Deploy) => format!("{} prepares `{to}` of `{path}` on {hosts}", rollout.actor),
        (None, Kind::Rollback) => format!("{} rolls `{path}` back to `{to}` on {hosts}", rollout.actor),
    }
}

impl Rollout {
    /// Names what has been announced last.
    pub(super) fn stage(&self) -> &'static str {
        match (&self.phase, &self.promoted) {
            (Phase::Preparing { .. }, Some(_)) => "promoted",
            (phase, _) => phase.word(),
        }
    }
}
