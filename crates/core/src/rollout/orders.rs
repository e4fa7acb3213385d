//! What must be true of every target, computed from the record alone.
//!
//! Invariant: the barrier's generation is that of the forward orders, so a target that turned back has no order left
//! that the open barrier could release.

use std::collections::BTreeMap;

use super::{Phase, Rollout, targets_of};
use crate::generation::Generation;
use crate::name::Target;
use crate::release::Release;
use crate::target::{Assignment, Switch};

/// Returns the order of every target that takes part. Sources are left to the controller, which knows the addresses.
///
/// Forward: run what ran before, and switch at the barrier. Back, and after an end with nothing switched: run what ran
/// before, no switch, at a higher generation, so that nobody waits for a barrier that never opens. A host that is set aside
/// goes on with what it runs.
pub fn assignments(rollout: &Rollout) -> BTreeMap<Target, Assignment> {
    let order = if rollout.leads_forward() { forward(rollout) } else { back(rollout) };
    let left_out = rollout.set_aside.iter().flat_map(|(host, age)| {
        targets_of(host, &rollout.groups).map(|target| (target, aside(rollout, *age)))
    });
    rollout.participants().map(|target| (target, order.clone())).chain(left_out).collect()
}

/// Returns the generation that the app's barrier must have reached, once the rollout opened it.
///
/// `None` asks for nothing: whatever stands there stays.
pub fn barrier(rollout: &Rollout) -> Option<Generation> {
    let open = match &rollout.phase {
        Phase::Preparing { .. } | Phase::Holding { .. } | Phase::TurningBack { .. } => false,
        Phase::Switching { .. } => true,
        Phase::Ended { outcome, .. } => outcome.keeps_forward_orders(),
    };
    open.then_some(rollout.generation)
}

/// Returns the releases without repetition, in the order given.
pub(crate) fn distinct<'a>(releases: impl IntoIterator<Item = &'a Release>) -> Vec<Release> {
    let mut kept: Vec<Release> = Vec::new();
    for release in releases {
        if kept.iter().all(|other| other.id != release.id) {
            kept.push(release.clone());
        }
    }
    kept
}

impl Rollout {
    /// Lists what its forward orders keep, most urgent first.
    pub(crate) fn kept_forward(&self) -> Vec<Release> {
        distinct([&self.to].into_iter().chain(&self.from).chain(&self.keep))
    }

    /// Lists what its orders back keep.
    pub(crate) fn kept_back(&self) -> Vec<Release> {
        distinct(self.from.iter().chain(&self.keep))
    }
}

fn forward(rollout: &Rollout) -> Assignment {
    Assignment {
        generation: rollout.generation,
        run: rollout.from.as_ref().map(|from| from.id.clone()),
        switch: Some(Switch { to: rollout.to.id.clone(), barrier: rollout.generation }),
        keep: rollout.kept_forward(),
        sources: Vec::new(),
    }
}

fn back(rollout: &Rollout) -> Assignment {
    Assignment {
        generation: rollout.generation,
        run: rollout.from.as_ref().map(|from| from.id.clone()),
        switch: None,
        keep: rollout.kept_back(),
        sources: Vec::new(),
    }
}

/// Under another delivery the host may never have run the app, so the order names nothing to run: whatever runs stays.
fn aside(rollout: &Rollout, generation: Generation) -> Assignment {
    let back = back(rollout);
    Assignment { generation, run: back.run.filter(|_| rollout.delivery.is_none()), ..back }
}
