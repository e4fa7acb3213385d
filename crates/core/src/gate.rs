//! The door of a lane: while it is closed, no deployment begins but one that is marked as the fix.
//!
//! Invariants: it is closed by a halt, by locks and by freeze windows, each with a reason and an end or a way to end it;
//! only somebody who says the cause ends a halt; rollbacks never ask it. Until lanes hold several apps, a lane is one
//! app in one environment.

use serde::{Deserialize, Serialize};

use crate::moment::{Moment, in_words};
use crate::name::{Actor, AppPath, ReleaseId, WindowName};
use crate::refusal::Refusal;

mod change;
mod opening;
mod window;

pub use opening::{Opened, Opening, Test};
pub use window::{Date, Days, NotInTheCalendar, TimeOfDay, Weekday, Window, ZoneName};

/// The most characters of a text that a person leaves at a gate.
pub const TEXT_CHARS_MAX: usize = 1000;

/// The most locks, and the most windows set by hand, that stand at one gate.
pub const ENTRIES_MAX: usize = 32;

/// Which deployments halt the gate when they are taken back or fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// Those that users had, and that were taken back.
    #[default]
    Users,
    /// These, and those that failed before any user had them.
    Always,
    /// None.
    Never,
}

/// What marks a deployment as the fix: it passes a halted gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// Why it may pass the locks of others and freeze windows as well; it may not when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub despite: Option<String>,
}

/// What the controller keeps of a gate. The default is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Why it is halted, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halted>,
    /// The locks that were put on it, one an owner; those whose time is over lock no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// The freeze windows that were set by hand; others come with what is deployed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Freeze>,
    /// How it was opened after the latest halt that somebody ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
}

/// Why a gate is halted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halted {
    /// The number of the rollout that was taken back.
    pub rollout: u64,
    /// Where it had gone.
    pub release: ReleaseId,
    /// Since when.
    pub since: Moment,
    /// Why it was taken back: the sentence that decided, without a full stop.
    pub sentence: String,
    /// The last lines that the failed script printed, if one did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Whether a judge heard what it did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_judged: bool,
    /// The deployment marked as the fix that has arrived since. It does not open the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_by: Option<Fixed>,
}

/// A deployment marked as the fix that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixed {
    /// Its number.
    pub rollout: u64,
    /// What it brought.
    pub release: ReleaseId,
}

/// A person's lock: it holds for everybody but its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Whose it is.
    pub owner: Actor,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Moment,
    /// When it ends by itself.
    pub until: Moment,
}

/// A freeze window that a person set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// When it freezes.
    pub window: Window,
    /// Who set it.
    pub owner: Actor,
    /// When they did.
    pub since: Moment,
}

/// A fact: one freeze window holds now. Calendars and time zones are reckoned with outside of core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Which.
    pub window: WindowName,
    /// Why.
    pub reason: String,
    /// When it ends.
    pub until: Moment,
}

/// A gate and the windows that hold at this moment: all that decides who passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Door {
    /// What is kept of the gate.
    pub gate: Gate,
    /// The freeze windows that hold now, set by hand or deployed.
    pub frozen: Vec<Frozen>,
}

/// One reason why a gate is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "closed", rename_all = "snake_case")]
pub enum Closure {
    /// Something was taken back, and nobody has said why yet.
    Halted(Halted),
    /// Somebody locked it.
    Locked(Lock),
    /// A freeze window holds.
    Frozen(Frozen),
}

impl Door {
    /// Lists why the gate is closed at `now`; it is open when there is nothing.
    pub fn closures(&self, now: Moment) -> Vec<Closure> {
        let halted = self.gate.halted.iter().cloned().map(Closure::Halted);
        let stands = |lock: &&Lock| lock.until > now;
        let locks = self.gate.locks.iter().filter(stands).cloned().map(Closure::Locked);
        let frozen = self.frozen.iter().filter(|frozen| frozen.until > now);
        halted.chain(locks).chain(frozen.cloned().map(Closure::Frozen)).collect()
    }

    /// Lists what keeps a deployment of this person out at `now`.
    ///
    /// The fix passes a halt, nobody's own lock keeps them out, and locks of others and windows stop the fix unless it says why
    /// not.
    pub fn keeps_out(&self, actor: &Actor, fix: Option<&Fix>, now: Moment) -> Vec<Closure> {
        let mut closures = self.closures(now);
        closures.retain(|closure| match closure {
            Closure::Halted(_) => fix.is_none(),
            Closure::Locked(lock) if lock.owner == *actor => false,
            Closure::Locked(_) | Closure::Frozen(_) => fix.is_none_or(|fix| fix.despite.is_none()),
        });
        closures
    }

    /// Lets a deployment pass, or says what is not done, because of what, and which commands lead on.
    ///
    /// # Errors
    /// The refusal of whoever deploys `release` now; also of what halted the gate, which is not its own fix, and of a reason that says
    /// nothing.
    pub fn pass(
        &self,
        path: &AppPath,
        release: &ReleaseId,
        (actor, fix): (&Actor, Option<&Fix>),
        now: Moment,
    ) -> Result<(), Refusal> {
        let what = || format!("cannot deploy `{release}` of `{path}`");
        if let Some(fault) = fix.and_then(|fix| opening::fault(fix.despite.as_deref()?)) {
            return Err(Refusal::new(
                what(),
                format!("the reason {fault}"),
                "say why with `--despite`, in a line",
            ));
        }
        let itself = self.gate.halted.as_ref().filter(|halted| fix.is_some() && halted.release == *release);
        if let Some(halted) = itself {
            let (deploy, open) =
                (format!("footplate deploy {}@VERSION --fix", path.app), halted.way_open(path));
            return Err(Refusal::new(
                what(),
                format!("it is what halted the gate, and not what mends it: {}", halted.sentence()),
                format!("push what mends it and name it, `{deploy}`; or open the gate with `{open}`"),
            ));
        }
        let closures = self.keeps_out(actor, fix, now);
        if closures.is_empty() {
            return Ok(());
        }
        let next: Vec<String> =
            closures.iter().map(|closure| closure.next(path, release, fix.is_some())).collect();
        Err(Refusal::new(
            what(),
            format!("its gate is closed: {}", sentences(&closures, now)),
            next.join("; "),
        ))
    }
}

/// Returns when the first of these ends by itself; a halt never does.
pub fn ends_at(closures: &[Closure]) -> Option<Moment> {
    let end = |closure: &Closure| match closure {
        Closure::Halted(_) => None,
        Closure::Locked(lock) => Some(lock.until),
        Closure::Frozen(frozen) => Some(frozen.until),
    };
    closures.iter().filter_map(end).min()
}

/// Says in a sentence without a full stop why a gate is closed.
pub fn sentences(closures: &[Closure], now: Moment) -> String {
    closures.iter().map(|closure| closure.sentence(now)).collect::<Vec<_>>().join("; ")
}

impl Halted {
    /// Says why, without how long ago: the same words whenever they are said.
    pub fn sentence(&self) -> String {
        format!("rollout {} to `{}` was taken back: {}", self.rollout, self.release, self.sentence)
    }

    /// Returns the command that shows the evidence: what a judge heard, or what was printed.
    pub fn evidence(&self, path: &AppPath) -> String {
        match self.is_judged {
            true => format!("footplate verdict {} {}{}", path.app, self.rollout, elsewhere(path)),
            false => format!("footplate logs {}{}", path.app, elsewhere(path)),
        }
    }

    /// Returns the command that opens the gate again.
    pub fn way_open(&self, path: &AppPath) -> String {
        format!("footplate gate open {}{}", path.app, elsewhere(path))
    }
}

impl Closure {
    /// Returns the reason in a sentence without a full stop.
    pub fn sentence(&self, now: Moment) -> String {
        let left = |until: Moment| in_words(until.since(now));
        match self {
            Closure::Halted(halted) => {
                let ago = in_words(now.since(halted.since));
                let fixed = halted.fixed_by.as_ref().map(|fixed| {
                    let Fixed { rollout, release } = fixed;
                    format!(", and the fix has arrived (rollout {rollout} to `{release}`)")
                });
                format!("it is halted since {ago}: {}{}", halted.sentence(), fixed.unwrap_or_default())
            }
            Closure::Locked(Lock { owner, reason, until, .. }) => {
                format!("{owner} locked it for another {}: {reason}", left(*until))
            }
            Closure::Frozen(Frozen { window, reason, until }) => {
                format!("`{window}` freezes it for another {}: {reason}", left(*until))
            }
        }
    }

    /// Returns which commands lead on for somebody whom it keeps out.
    fn next(&self, path: &AppPath, release: &ReleaseId, is_fix: bool) -> String {
        let (app, elsewhere) = (&path.app, elsewhere(path));
        let deploy = format!("footplate deploy {app}@{release}{elsewhere}");
        let despite = match is_fix {
            true => format!("pass it with `{deploy} --fix --despite \"REASON\"`"),
            false => "wait".to_owned(),
        };
        match self {
            Closure::Halted(halted) => {
                let fix = match &halted.fixed_by {
                    None => {
                        format!(", or bring what mends it with `footplate deploy {app}{elsewhere} --fix`")
                    }
                    Some(_) => String::new(),
                };
                let (evidence, open) = (halted.evidence(path), halted.way_open(path));
                format!("see the evidence with `{evidence}` and open the gate with `{open}`{fix}")
            }
            Closure::Locked(lock) => {
                let owner = &lock.owner;
                let unlock = format!("footplate gate unlock {app}{elsewhere} --owner '{owner}'");
                format!("ask {owner}, take the lock off with `{unlock}`, or {despite}")
            }
            Closure::Frozen(frozen) => {
                format!(
                    "see when `{}` ends with `footplate gate {app}{elsewhere}`, or {despite}",
                    frozen.window
                )
            }
        }
    }
}

/// Names the environment in a command, where it is not the usual one.
fn elsewhere(path: &AppPath) -> String {
    match path.environment.as_str() {
        "production" => String::new(),
        other => format!(" --environment {other}"),
    }
}

#[cfg(test)]
mod tests;
