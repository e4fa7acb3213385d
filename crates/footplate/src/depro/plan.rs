//! What an agent does next for one deployment: a pure function of the tree, and of what stands and runs here.
//!
//! Invariants, each a test: a version is rolled out only when it is complete and `current` names it; what is live is
//! never cleaned; an empty tree cleans nothing; the deploy of the wished version waits behind no other deploy, and a
//! rollout behind none at all. `current` is a wish: the original's tools may set it before this node is ready.

use std::collections::BTreeMap;

use super::tree::{State, Tree, Version};

/// How one version stands on this node's disk. A version that is not known is not on disk, or is somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// Its deploy script runs.
    Deploying,
    /// Its deploy script was told to stop, because the version left the tree.
    Stopping,
    /// Its deploy script ended well.
    Complete,
    /// Its deploy script failed or was cut off. `again` says that another try is due.
    Failed {
        /// Set by a restart, by the end of a back-off, or when the version left the tree and came back.
        again: bool,
    },
    /// Its clean script runs and its directory is being removed.
    Cleaning,
}

impl Copy {
    fn runs_a_deploy(self) -> bool {
        matches!(self, Copy::Deploying | Copy::Stopping)
    }
}

/// The most recent rollout, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rollout {
    /// None, or one that ended in a way we cannot vouch for: a crash, a reboot, a failure that is no longer wished.
    #[default]
    Unknown,
    /// The script runs.
    Running(Version),
    /// The script ended well: this version is live.
    Live(Version),
    /// The script failed. Not tried again until the wish is made anew.
    Failed(Version),
}

/// What a node knows of itself for one deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// The versions on disk.
    pub copies: BTreeMap<Version, Copy>,
    /// How the last rollout stands.
    pub rollout: Rollout,
    /// The last version whose rollout ended well: it may still be what serves, so it stays.
    pub served: Option<Version>,
    /// The version that is said to be active: while another is being switched to, still this one.
    pub active: Option<Version>,
}

/// One thing to do. All are started at once and end with a change of [`Local`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the directory anew and run the deploy script.
    Deploy(Version),
    /// End the deploy script: its version left the tree.
    Stop(Version),
    /// Run the rollout script.
    Rollout(Version),
    /// Run the clean script and remove the directory.
    Clean(Version),
}

/// Returns what to start now. Applying each with [`Local::begin`] and asking again gives nothing new.
pub fn next(tree: &Tree, local: &Local) -> Vec<Action> {
    let mut actions = removals(tree, local);
    actions.extend(deploys(tree, local));
    actions.extend(rollout(tree, local));
    actions
}

fn removals(tree: &Tree, local: &Local) -> Vec<Action> {
    if tree.is_empty() {
        return Vec::new();
    }
    let unwanted = local.copies.iter().filter(|(version, _)| !tree.wants(version) && !local.needs(version));
    unwanted
        .filter_map(|(version, copy)| match copy {
            Copy::Deploying => Some(Action::Stop(version.clone())),
            Copy::Complete | Copy::Failed { .. } => Some(Action::Clean(version.clone())),
            Copy::Stopping | Copy::Cleaning => None,
        })
        .collect()
}

/// At most one deploy script at a time, as in the original, and one more for the version that `current` names.
fn deploys(tree: &Tree, local: &Local) -> Vec<Action> {
    let mut due: Vec<Version> = tree.wanted().into_iter().filter(|version| local.lacks(version)).collect();
    let wished =
        due.iter().position(|version| tree.current.as_ref() == Some(version)).map(|at| due.remove(at));
    let busy = local
        .copies
        .iter()
        .any(|(version, copy)| copy.runs_a_deploy() && tree.current.as_ref() != Some(version));
    let other = if busy { None } else { due.into_iter().next() };
    wished.into_iter().chain(other).map(Action::Deploy).collect()
}

fn rollout(tree: &Tree, local: &Local) -> Option<Action> {
    let wished = tree.current.as_ref()?;
    let complete = local.copies.get(wished) == Some(&Copy::Complete);
    let idle = match &local.rollout {
        Rollout::Running(_) => false,
        Rollout::Live(version) | Rollout::Failed(version) => version != wished,
        Rollout::Unknown => true,
    };
    (complete && idle).then(|| Action::Rollout(wished.clone()))
}

impl Local {
    /// Tells whether the version may be what serves here, or is being switched to: it is not taken away.
    fn needs(&self, version: &Version) -> bool {
        self.served.as_ref() == Some(version)
            || matches!(&self.rollout, Rollout::Running(running) if running == version)
    }

    fn lacks(&self, version: &Version) -> bool {
        matches!(self.copies.get(version), None | Some(Copy::Failed { again: true }))
    }

    /// Notes that an action has been started.
    pub fn begin(&mut self, action: &Action) {
        match action {
            Action::Deploy(version) => drop(self.copies.insert(version.clone(), Copy::Deploying)),
            Action::Stop(version) => drop(self.copies.insert(version.clone(), Copy::Stopping)),
            Action::Clean(version) => drop(self.copies.insert(version.clone(), Copy::Cleaning)),
            Action::Rollout(version) => self.rollout = Rollout::Running(version.clone()),
        }
    }

    /// Notes how a deploy script ended. A script that was told to stop has made nothing whole.
    pub fn deployed(&mut self, version: &Version, well: bool) {
        let stopped = self.copies.get(version) == Some(&Copy::Stopping);
        let copy = match (stopped, well) {
            (true, _) => Copy::Failed { again: true },
            (false, true) => Copy::Complete,
            (false, false) => Copy::Failed { again: false },
        };
        self.copies.insert(version.clone(), copy);
    }

    /// Notes how a rollout script ended.
    pub fn rolled_out(&mut self, version: &Version, well: bool) {
        if well {
            self.served = Some(version.clone());
            self.active = Some(version.clone());
            self.rollout = Rollout::Live(version.clone());
        } else {
            self.active = None;
            self.rollout = Rollout::Failed(version.clone());
        }
    }

    /// Notes the end of a clean: the version is no longer on disk, or (not `well`) must be removed again.
    pub fn cleaned(&mut self, version: &Version, well: bool) {
        if well {
            self.copies.remove(version);
        } else {
            self.copies.insert(version.clone(), Copy::Failed { again: true });
        }
    }

    /// Notes that a failed deploy may be tried again.
    pub fn retry(&mut self, version: &Version) {
        if let Some(copy @ Copy::Failed { .. }) = self.copies.get_mut(version) {
            *copy = Copy::Failed { again: true };
        }
    }

    /// Notes a new tree: a version that left it gets a new try when it comes back, and a rollout that failed gets one
    /// when `current` named something else, or its version was taken out, in between.
    pub fn observe(&mut self, before: &Tree, now: &Tree) {
        let left = |version: &Version| before.versions.contains(version) && !now.versions.contains(version);
        for (version, copy) in &mut self.copies {
            if matches!(copy, Copy::Failed { .. }) && left(version) {
                *copy = Copy::Failed { again: true };
            }
        }
        if let Rollout::Failed(version) = &self.rollout
            && (now.current.as_ref() != Some(version) || left(version))
        {
            self.rollout = Rollout::Unknown;
        }
    }

    /// Returns the version whose failed deploy keeps this node from running what `current` names.
    pub fn stuck(&self, tree: &Tree) -> Option<&Version> {
        let wished = tree.current.as_ref()?;
        let (version, copy) = self.copies.get_key_value(wished)?;
        (*copy == Copy::Failed { again: false }).then_some(version)
    }

    /// Returns what the store should say about this node: one state for each wanted version.
    pub fn states(&self, tree: &Tree) -> BTreeMap<Version, State> {
        tree.wanted().into_iter().map(|version| (version.clone(), self.state(&version))).collect()
    }

    fn state(&self, version: &Version) -> State {
        match self.copies.get(version) {
            None | Some(Copy::Cleaning | Copy::Stopping | Copy::Failed { again: true }) => State::Registered,
            Some(Copy::Deploying) => State::Deploying,
            Some(Copy::Failed { again: false }) => State::Failed,
            Some(Copy::Complete) => match &self.rollout {
                Rollout::Running(running) if running == version => State::Starting,
                Rollout::Failed(failed) if failed == version => State::Failed,
                _ if self.active.as_ref() == Some(version) => State::Active,
                _ => State::Available,
            },
        }
    }
}

#[cfg(test)]
mod tests;
