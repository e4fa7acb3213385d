//! How far a rollout in steps is: the position of every host, and which part of which step runs.
//!
//! Invariants: orders and routes follow from the positions alone; a position changes only together with the generation of its
//! order; what routers must follow has a mark, which rises with every change that a rollout waits for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::strategy::{Goal, Strategy, goals};
use super::{Phase, Rollout};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{HostName, ReleaseId};
use crate::target::{Acceptance, Assignment};
use crate::traffic::{EndpointState, Share};

/// How far a rollout in steps is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// The age of the orders of hosts that have no position yet.
    pub base: Generation,
    /// What every router must follow before the rollout goes on.
    pub mark: Generation,
    /// Where the hosts are that have a position of their own; the others run the old release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<HostName, Position>,
    /// How many hosts in a row failed.
    #[serde(default)]
    pub failures: u32,
    /// How often the acceptance hook must have passed.
    #[serde(default)]
    pub round: u32,
    /// How many of its steps a person let go on, when each waits for one.
    #[serde(default)]
    pub promoted: u32,
    /// Until when what leaves may finish its requests, once it turns back and all have the old release again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_until: Option<Moment>,
}

/// Where one host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Where.
    pub at: At,
    /// The age of the order that put it there.
    pub since: Generation,
}

/// The positions of a host, in the order in which it takes them. One without a position runs what ran before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// The old release takes no new request, because the new one may not run beside it.
    Emptied,
    /// The new release is up alone, or starts, and takes no request yet.
    Renewed,
    /// The new release is up beside the old one, or starts, and takes no request yet.
    Beside,
    /// Both take requests.
    Admitted,
    /// The new release takes requests, the old one finishes what it has.
    Leaving,
    /// The new release is alone.
    Over,
    /// Back from any of these: the old release comes up again where it is gone, the new one finishes what it has.
    Returning,
    /// Back: the old release is alone.
    Returned,
    /// Back, and out of the rollout: the new release failed here, and that was put up with.
    Failed,
}

/// What a step does now. Each part is left when it is done or when its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It waits for a person.
    Holding,
    /// Old endpoints that must stop before the new ones start finish their requests.
    Emptying,
    /// The new release comes up on the step's hosts.
    Starting,
    /// The acceptance hook runs against it.
    Accepting,
    /// Routers take the step's endpoints and share.
    Shifting,
    /// Old endpoints finish their requests.
    Draining,
    /// They are stopped.
    Stopping,
    /// It is watched for a while.
    Watching,
}

impl Part {
    /// All of them, in the order of a step.
    pub(super) const ALL: [Part; 8] = [
        Part::Holding,
        Part::Emptying,
        Part::Starting,
        Part::Accepting,
        Part::Shifting,
        Part::Draining,
        Part::Stopping,
        Part::Watching,
    ];

    /// Returns the part in one word, for people.
    pub fn word(self) -> &'static str {
        match self {
            Part::Holding => "holding",
            Part::Emptying => "emptying",
            Part::Starting => "starting",
            Part::Accepting => "accepting",
            Part::Shifting => "shifting",
            Part::Draining => "draining",
            Part::Stopping => "stopping",
            Part::Watching => "watching",
        }
    }
}

impl Rollout {
    /// Tells whether it goes in steps: its release has services, or its strategy is not the barrier.
    pub fn goes_in_steps(&self) -> bool {
        self.policy.strategy != Strategy::Barrier || self.to.has_services()
    }

    /// Tells whether the old and the new release may be up at once on a host.
    pub(super) fn runs_beside(&self) -> bool {
        let both = self.to.has_services() && self.from.as_ref().is_some_and(|from| from.has_services());
        both && !self.policy.pace.alone
    }

    /// Lists its steps on the hosts that it has now. A first deployment takes nobody's place, so it is one step.
    pub fn goals(&self) -> Vec<Goal> {
        let first = self.from.is_none();
        let strategy = if first { &Strategy::Barrier } else { &self.policy.strategy };
        goals(strategy, self.hosts.len(), self.runs_beside())
    }

    /// Returns where a step leads; beyond the last one, where that leads.
    pub(super) fn goal(&self, step: u32) -> Goal {
        let goals = self.goals();
        let last = goals.len().saturating_sub(1);
        goals.get((step as usize).min(last)).copied().unwrap_or(Goal { up: 0, share: None, over: 0 })
    }

    /// Returns the share of the traffic that `to` gets now; by the number of endpoints when absent.
    pub fn share(&self) -> Option<Share> {
        match &self.phase {
            Phase::Stepping { step, part, .. } if *part >= Part::Shifting => self.goal(*step).share,
            Phase::Stepping { step, .. } => self.goal(step.checked_sub(1)?).share,
            _ => None,
        }
    }

    /// Returns what one of the two releases may do on this host, were it ready there.
    pub fn endpoint_state(&self, host: &HostName, release: &ReleaseId, is_from_ready: bool) -> EndpointState {
        use EndpointState::{Draining, Serving, Standby};
        let is_new = *release == self.to.id;
        if !is_new && self.from.as_ref().is_none_or(|from| from.id != *release) {
            return Draining;
        }
        let course = self.course.as_ref();
        let at = course.and_then(|course| course.positions.get(host)).map(|position| position.at);
        let gone_on = course.is_some_and(|course| course.drain_until.is_some());
        let (old, new) = match at {
            None | Some(At::Returned | At::Failed) => (Serving, Draining),
            Some(At::Emptied) => (Draining, Standby),
            Some(At::Renewed) => (Draining, Standby),
            Some(At::Beside) => (Serving, Standby),
            Some(At::Admitted) => (Serving, Serving),
            Some(At::Leaving | At::Over) => (Draining, Serving),
            Some(At::Returning) => (Serving, if is_from_ready || gone_on { Draining } else { Serving }),
        };
        if is_new { new } else { old }
    }

    /// Returns the order of a host by its position.
    pub(super) fn order_at(&self, host: &HostName, course: &Course) -> Assignment {
        let position = course.positions.get(host);
        let from = self.from.as_ref().map(|from| &from.id);
        let to = Some(&self.to.id);
        let both = self.runs_beside();
        let (run, beside) = match position.map(|position| position.at) {
            None | Some(At::Emptied | At::Returned | At::Failed) => (from, None),
            Some(At::Renewed | At::Over) => (to, None),
            Some(At::Beside | At::Admitted | At::Leaving) => (from, to),
            Some(At::Returning) => (from, to.filter(|_| both)),
        };
        let keep = match position.map(|position| position.at) {
            _ if self.leads_forward() => self.kept_forward(),
            // `to` stays on the disk until it has been stopped.
            Some(At::Returning) => super::distinct(self.kept_back().iter().chain([&self.to])),
            _ => self.kept_back(),
        };
        let keep_to = run == to || beside == to;
        Assignment {
            generation: position.map_or(course.base, |position| position.since),
            run: run.cloned(),
            switch: None,
            beside: beside.cloned(),
            accept: self.acceptance(host, course).filter(|_| keep_to),
            alone: self.policy.pace.alone,
            keep,
            sources: Vec::new(),
        }
    }

    /// Returns the order of a host once the rollout has arrived: whatever its position was, it runs the new release.
    pub(super) fn order_at_end(&self, host: &HostName, course: &Course) -> Assignment {
        let is_over = course.positions.get(host).is_some_and(|position| position.at == At::Over);
        if is_over {
            return self.order_at(host, course);
        }
        let order = self.order_at(host, course);
        Assignment { generation: self.generation, run: Some(self.to.id.clone()), beside: None, ..order }
    }

    /// Every host accepts once; later rounds are the business of the first one alone.
    fn acceptance(&self, host: &HostName, course: &Course) -> Option<Acceptance> {
        let times = self.acceptances(host, course);
        (times > 0).then(|| Acceptance { release: self.to.id.clone(), times })
    }

    /// Returns how often the acceptance hook must have passed on a host.
    pub(super) fn acceptances(&self, host: &HostName, course: &Course) -> u32 {
        let is_first = course.positions.keys().next() == Some(host);
        match self.policy.pace.accept {
            true if is_first => course.round,
            true => course.round.min(1),
            false => 0,
        }
    }
}
