//! What is said of a rollout, once for each stage, in the words that every place prints.

use super::outcome::{Class, Outcome, count, describe};
use super::outline::takes_requests;
use super::{Kind, Part, Phase, Rollout};
use crate::name::AppPath;

/// Something to say, once. The key lets a notifier drop what it said already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The app and its environment.
    pub path: AppPath,
    /// The rollout's number.
    pub number: u64,
    /// The phase in one word, `promoted`, or what a step does and which: `starting 2`. With path and number this names
    /// the announcement for ever.
    pub phase: String,
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
    let (path, to, what) = (&rollout.path, &rollout.to.id, rollout.subject());
    let hosts = count(rollout.hosts.len(), "host");
    let text = match &rollout.phase {
        Phase::Preparing { .. } => begun(rollout),
        Phase::Holding { .. } => {
            format!("`{to}` of {what} is prepared on {hosts} and waits for `footplate promote {}`", path.app)
        }
        Phase::Switching { .. } => {
            format!("{} to `{to}` on {hosts}", rollout.subject_does("switches", "switch"))
        }
        Phase::Stepping { step, part, .. } => stepped(rollout, *step, *part),
        Phase::TurningBack { why, .. } => {
            format!("{} back from `{to}`: {why}", rollout.subject_does("turns", "turn"))
        }
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

fn stepped(rollout: &Rollout, step: u32, part: Part) -> String {
    let (path, to, goals) = (&rollout.path, &rollout.to.id, rollout.goals());
    let which = format!("step {} of {} of {}", step + 1, goals.len(), rollout.subject());
    let goal = rollout.goal(step);
    let hosts = format!("{} of {}", goal.up, count(rollout.hosts.len(), "host"));
    match (part, goal.share) {
        (Part::Holding, _) => format!("{which} waits for `footplate promote {}`", path.app),
        (Part::Calling | Part::Withdrawing | Part::Emptying | Part::Starting | Part::Accepting, _) => {
            format!("{which}: `{to}` starts on {hosts}")
        }
        (Part::Shifting, _) if !takes_requests(rollout) => format!("{which}: `{to}` runs on {hosts}"),
        (Part::Shifting, Some(share)) => format!("{which}: `{to}` gets {share} of the traffic, on {hosts}"),
        (Part::Shifting, None) => format!("{which}: `{to}` takes requests on {hosts}"),
        (Part::Draining | Part::Stopping, _) => {
            format!("{which}: what ran before ends on {} of them", goal.over)
        }
        (Part::Watching | Part::Settling, _) if rollout.awaits_proof() => {
            let why = match rollout.asks_for_proof(step) {
                true => format!("`{to}` is not proved good yet; it waits for that"),
                false => format!("something speaks against `{to}`; it waits for that to change"),
            };
            format!("{which}: {why}, or for `footplate promote {}`", path.app)
        }
        (Part::Watching | Part::Settling, _) => format!("{which} is done: `{to}` is watched on {hosts}"),
    }
}

/// Returns the part that this one is told with: four of the ten are worth a sentence.
fn loud(part: Part) -> Part {
    match part {
        Part::Holding => Part::Holding,
        Part::Calling | Part::Withdrawing | Part::Emptying | Part::Starting | Part::Accepting => {
            Part::Starting
        }
        Part::Shifting | Part::Draining | Part::Stopping => Part::Shifting,
        Part::Watching | Part::Settling => Part::Watching,
    }
}

fn begun(rollout: &Rollout) -> String {
    let (what, to) = (rollout.subject(), &rollout.to.id);
    let hosts = count(rollout.hosts.len(), "host");
    match (&rollout.promoted, rollout.kind) {
        (Some(promoted), _) => format!("{} promotes `{to}` of {what} on {hosts}", promoted.actor),
        (None, Kind::Deploy) => format!("{} prepares `{to}` of {what} on {hosts}", rollout.actor),
        (None, Kind::Rollback) => format!("{} rolls {what} back to `{to}` on {hosts}", rollout.actor),
    }
}

impl Rollout {
    /// Names what has been announced last.
    pub(super) fn stage(&self) -> String {
        match (&self.phase, &self.promoted) {
            (Phase::Preparing { .. }, Some(_)) => "promoted".to_owned(),
            (Phase::Stepping { step, part: Part::Watching | Part::Settling, .. }, _)
                if self.awaits_proof() =>
            {
                format!("unproved {}", step + 1)
            }
            (Phase::Stepping { step, part, .. }, _) => format!("{} {}", loud(*part).word(), step + 1),
            (phase, _) => phase.word().to_owned(),
        }
    }
}
