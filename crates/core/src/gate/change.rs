//! What people, and rollouts that are taken back, make of a gate.

use super::opening::{Opened, Opening, fault};
use super::{ENTRIES_MAX, Fixed, Freeze, Gate, Halted, Lock};
use crate::moment::Moment;
use crate::name::{Actor, AppPath, WindowName};
use crate::refusal::Refusal;

impl Gate {
    /// Returns it halted. The newest halt stands: what came before it is in the history.
    pub fn halt(&self, halted: Halted) -> Gate {
        Gate { halted: Some(halted), ..self.clone() }
    }

    /// Returns it with a note that a deployment marked as the fix arrived after what halted it.
    pub fn fixed(&self, fixed: Fixed) -> Gate {
        let halted = self.halted.clone().map(|halted| match fixed.rollout > halted.rollout {
            true => Halted { fixed_by: Some(fixed), ..halted },
            false => halted,
        });
        Gate { halted, ..self.clone() }
    }

    /// Ends the halt: somebody says the cause of what halted it, the rollout `of` where they say which one that was.
    ///
    /// # Errors
    /// It is not halted, something else has halted it since, or what is said is not enough.
    pub fn open(&self, path: &AppPath, of: Option<u64>, opening: Opening) -> Result<Gate, Refusal> {
        let what = format!("cannot open the gate of `{path}`");
        let Some(halted) = self.halted.clone() else {
            let next = format!("see it with `footplate gate {}`; locks and freezes end by name", path.app);
            return Err(Refusal::new(what, "it is not halted", next));
        };
        if of.is_some_and(|of| of != halted.rollout) {
            let next = format!("see why with `footplate gate {}`, and say the cause of that", path.app);
            return Err(Refusal::new(
                what,
                format!("another deployment has halted it since: {}", halted.sentence()),
                next,
            ));
        }
        if let Some((because, next)) = opening.mistake() {
            return Err(Refusal::new(what, because, next));
        }
        let opened = Some(Opened { halted, opening });
        Ok(Gate { halted: None, opened, ..self.clone() })
    }

    /// Puts a lock on it, in the place of an earlier one of the same owner; what is over at `lock.since` is swept away.
    ///
    /// # Errors
    /// It would be over already, says no reason, or too many stand there.
    pub fn lock(&self, path: &AppPath, lock: Lock) -> Result<Gate, Refusal> {
        let refuse = |because: String, next: &str| {
            Err(Refusal::new(format!("cannot lock the gate of `{path}`"), because, next))
        };
        if let Some(fault) = fault(&lock.reason) {
            return refuse(format!("the reason {fault}"), "say why with `--reason`, in a line");
        }
        if lock.until <= lock.since {
            return refuse(
                "its end is over already".to_owned(),
                "give an end to come, with `--until` or `--for`",
            );
        }
        let mut next = self.swept(lock.since);
        next.locks.retain(|other| other.owner != lock.owner);
        if next.locks.len() >= ENTRIES_MAX {
            return refuse(
                format!("{ENTRIES_MAX} locks are on it"),
                "take one off with `footplate gate unlock`",
            );
        }
        next.locks.push(lock);
        Ok(next)
    }

    /// Takes a lock off.
    ///
    /// # Errors
    /// None of that owner stands there at `now`.
    pub fn unlock(&self, path: &AppPath, owner: &Actor, now: Moment) -> Result<Gate, Refusal> {
        let mut next = self.swept(now);
        next.locks.retain(|lock| lock.owner != *owner);
        if next.locks.len() < self.swept(now).locks.len() {
            return Ok(next);
        }
        let owners: Vec<String> = next.locks.iter().map(|lock| format!("`{}`", lock.owner)).collect();
        let hint = match owners.is_empty() {
            true => format!("see it with `footplate gate {}`", path.app),
            false => format!("name an owner with `--owner`: {}", owners.join(", ")),
        };
        Err(Refusal::new(
            format!("cannot unlock the gate of `{path}`"),
            format!("`{owner}` has no lock on it"),
            hint,
        ))
    }

    /// Sets a freeze window, in the place of an earlier one of the same name.
    ///
    /// # Errors
    /// It says no reason, or too many stand there.
    pub fn freeze(&self, path: &AppPath, freeze: Freeze) -> Result<Gate, Refusal> {
        let refuse = |because: String, next: &str| {
            Err(Refusal::new(format!("cannot freeze the gate of `{path}`"), because, next))
        };
        if let Some(fault) = fault(&freeze.window.reason) {
            return refuse(format!("the reason {fault}"), "say why with `--reason`, in a line");
        }
        let mut next = self.clone();
        next.freezes.retain(|other| other.window.name != freeze.window.name);
        if next.freezes.len() >= ENTRIES_MAX {
            return refuse(format!("{ENTRIES_MAX} windows stand"), "end one with `footplate gate unfreeze`");
        }
        next.freezes.push(freeze);
        Ok(next)
    }

    /// Takes a freeze window away that was set by hand.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn unfreeze(&self, path: &AppPath, name: &WindowName) -> Result<Gate, Refusal> {
        let mut next = self.clone();
        next.freezes.retain(|freeze| freeze.window.name != *name);
        if next.freezes.len() < self.freezes.len() {
            return Ok(next);
        }
        Err(Refusal::new(
            format!("cannot unfreeze the gate of `{path}`"),
            format!("no window `{name}` was set by hand"),
            format!(
                "see all with `footplate gate {}`; those of footplate.toml end with a deployment",
                path.app
            ),
        ))
    }

    /// Returns it without the locks that are over.
    fn swept(&self, now: Moment) -> Gate {
        let mut next = self.clone();
        next.locks.retain(|lock| lock.until > now);
        next
    }
}
