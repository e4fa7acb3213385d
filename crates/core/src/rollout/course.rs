//! How far a rollout in steps is: the position of every host, and which part of which step runs.
//!
//! Invariants: orders and routes follow from the positions alone; a position changes only together with the generation of its
//! order; what routers must follow has a mark, which rises with every change that a rollout waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::strategy::{Goal, Strategy, goals};
use super::{Kind, Phase, Rollout};
use crate::generation::Generation;
use crate::name::{HostName, ReleaseId, Target};
use crate::release::Release;
use crate::target::{Acceptance, Assignment, Report};
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
    /// Whether it waits for its judge's proof beyond the time of its step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_proof: bool,
    /// Up to which of its steps a person let it go on without a proof.
    #[serde(default, skip_serializing_if = "is_none")]
    pub trusted: u32,
    /// Whether it turned back while the new release had a share of the requests, and the old one was up everywhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub had_share: bool,
    /// How far it is on the way back, once it turned back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_back: Option<WayBack>,
}

/// How far a rollout in steps is on its way back. Each has a deadline, that of the phase, and goes on when it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayBack {
    /// The old release comes up where it is gone, and takes the requests of its host once it is ready.
    Restoring,
    /// Routers take the new release out.
    Shifting,
    /// It finishes its requests.
    Draining,
    /// It is stopped.
    Stopping,
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
    /// Back from where both are up: the old release takes the requests again, the new one finishes what it has.
    Returning,
    /// Back from where the old release is gone or going: it comes up again before the new one leaves.
    Restoring,
    /// Back: the old release is alone.
    Returned,
    /// Back, and out of the rollout: the new release failed here, and that was put up with.
    Failed,
    /// Out of the rollout: it was away when the rollout came to it. It follows at the end.
    Skipped,
}

/// What a step does now. Each part is left when it is done or when its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It waits for a person.
    Holding,
    /// Before the first step all routers are called, so that it is known which of them may serve on unseen.
    Calling,
    /// Routers take out the old endpoints that must stop before the new ones start.
    Withdrawing,
    /// These finish their requests.
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
    /// Whatever has the new release must be well before the rollout goes on.
    Settling,
}

impl Part {
    /// All of them, in the order of a step.
    pub(super) const ALL: [Part; 11] = [
        Part::Holding,
        Part::Calling,
        Part::Withdrawing,
        Part::Emptying,
        Part::Starting,
        Part::Accepting,
        Part::Shifting,
        Part::Draining,
        Part::Stopping,
        Part::Watching,
        Part::Settling,
    ];

    /// Returns the part in one word, for people.
    pub fn word(self) -> &'static str {
        match self {
            Part::Holding => "holding",
            Part::Calling => "calling",
            Part::Withdrawing => "withdrawing",
            Part::Emptying => "emptying",
            Part::Starting => "starting",
            Part::Accepting => "accepting",
            Part::Shifting => "shifting",
            Part::Draining => "draining",
            Part::Stopping => "stopping",
            Part::Watching => "watching",
            Part::Settling => "settling",
        }
    }
}

impl Course {
    /// Returns the host that accepts again after each step: the first one that has the new release.
    pub(super) fn first(&self) -> Option<&HostName> {
        let takes_part = |position: &Position| !matches!(position.at, At::Failed | At::Skipped);
        self.positions.iter().find(|(_, position)| takes_part(position)).map(|(host, _)| host)
    }
}

impl Rollout {
    /// Tells whether it goes in steps: a release of it has services, or its strategy is not the barrier.
    pub fn goes_in_steps(&self) -> bool {
        self.policy.strategy != Strategy::Barrier || self.to.has_services() || self.leaves_services()
    }

    /// Tells whether what it leaves has services.
    pub(super) fn leaves_services(&self) -> bool {
        self.all_from().any(Release::has_services)
    }

    /// Tells whether the old and the new release may be up at once on a host.
    pub(crate) fn runs_beside(&self) -> bool {
        self.to.has_services() && self.leaves_services() && !self.policy.pace.alone
    }

    /// Lists its steps on the hosts that it has now. What takes nobody's place is one step.
    pub fn goals(&self) -> Vec<Goal> {
        let (hosts, pace) = (self.hosts.len(), &self.policy.pace);
        let most = if self.runs_beside() { pace.surge_max } else { pace.unavailable_max };
        match self.is_first() {
            true => goals(&Strategy::Barrier, hosts, self.runs_beside()),
            false => goals(&self.policy.strategy.bounded(most, hosts), hosts, self.runs_beside()),
        }
    }

    /// Returns where a step leads; beyond the last one, where that leads.
    pub(super) fn goal(&self, step: u32) -> Goal {
        let goals = self.goals();
        let last = goals.len().saturating_sub(1);
        goals.get((step as usize).min(last)).copied().unwrap_or(Goal { up: 0, share: None, over: 0 })
    }

    /// Returns on how many targets the new release is up when a step is done.
    pub(super) fn targets_up(&self, step: u32) -> usize {
        self.goal(step).up * self.groups.len()
    }

    /// Returns how far it is on the way back, when it goes back in steps.
    pub(super) fn way_back(&self) -> Option<WayBack> {
        self.course.as_ref()?.way_back
    }

    /// Returns the share of the traffic that `to` gets now; by the number of endpoints when absent. What had a share has the least on
    /// the way back: it gets requests where nobody else could answer.
    pub fn share(&self) -> Option<Share> {
        let share = match &self.phase {
            Phase::Stepping { step, part, .. } if *part >= Part::Shifting => self.goal(*step).share,
            Phase::Stepping { step: 0, .. } => self.goal(0).share.map(|_| Share::NONE),
            Phase::Stepping { step, .. } => self.goal(step - 1).share,
            Phase::TurningBack { .. } if self.course.as_ref().is_some_and(|course| course.had_share) => {
                return (self.way_back() == Some(WayBack::Restoring)).then_some(Share::LEAST);
            }
            _ => None,
        };
        share.map(|share| share.max(self.share_of_the_done()))
    }

    /// Returns the part of the hosts that had the new release from the first step on; what follows a share ends that.
    fn share_of_the_done(&self) -> Share {
        let positions = self.course.iter().flat_map(|course| course.positions.values());
        let done = positions.filter(|position| position.at == At::Over).count();
        Share::of_hosts(done, self.hosts.len())
    }

    /// Tells whether the new release takes requests on some host, were it ready there, also where nothing else does.
    pub fn lets_in(&self) -> bool {
        let Some(course) = &self.course else { return false };
        let is_back = course.way_back > Some(WayBack::Restoring);
        let is_in = |position: &Position| match position.at {
            At::Admitted | At::Leaving | At::Over | At::Returning => true,
            At::Restoring => self.runs_beside(),
            At::Emptied | At::Renewed | At::Beside | At::Returned | At::Failed | At::Skipped => false,
        };
        !is_back && course.positions.values().any(is_in)
    }

    /// Returns what one of the two releases may do on this target, were it ready there.
    ///
    /// On the way back the old one takes requests only once its agent has obeyed the order to keep it: by the one before it
    /// may be stopping it.
    pub fn endpoint_state(&self, target: &Target, release: &ReleaseId, report: &Report) -> EndpointState {
        use EndpointState::{Draining, Serving, Standby};
        let (host, from) = (&target.host, self.from_of(&target.group).map(|from| &from.id));
        let is_from_ready = from.is_some_and(|from| report.is_ready(from));
        let is_restored = is_from_ready && report.generation >= self.since(host);
        let carries = self.runs_beside();
        let is_new = *release == self.to.id;
        if !is_new && from != Some(release) {
            return Draining;
        }
        let course = self.course.as_ref();
        let at = course.and_then(|course| course.positions.get(host)).map(|position| position.at);
        let gone_on = course.is_some_and(|course| course.way_back > Some(WayBack::Restoring));
        let (old, new) = match at {
            None | Some(At::Returned | At::Failed | At::Skipped) => (Serving, Draining),
            Some(At::Emptied) => (Draining, Standby),
            Some(At::Renewed) => (Draining, Standby),
            Some(At::Beside) => (Serving, Standby),
            Some(At::Admitted) => (Serving, Serving),
            Some(At::Leaving | At::Over) => (Draining, Serving),
            Some(At::Returning) if is_from_ready || gone_on => (Serving, Draining),
            Some(At::Restoring) if is_restored => (Serving, Draining),
            Some(At::Returning) if !gone_on => (Draining, Serving),
            Some(At::Restoring) if carries && !gone_on => (Draining, Serving),
            Some(At::Returning | At::Restoring) => (Draining, Draining),
        };
        if is_new { new } else { old }
    }

    /// Returns the order of a target by its host's position; its age is told apart.
    pub(super) fn order_at(&self, target: &Target, course: &Course) -> Assignment {
        let Target { host, group } = target;
        let position = course.positions.get(host);
        let from = self.from_of(group).map(|from| &from.id);
        let to = Some(&self.to.id);
        let both = self.runs_beside();
        let (run, beside) = match position.map(|position| position.at) {
            None | Some(At::Emptied | At::Returned | At::Failed | At::Skipped) => (from, None),
            Some(At::Renewed | At::Over) => (to, None),
            Some(At::Beside | At::Admitted | At::Leaving) => (from, to),
            Some(At::Returning | At::Restoring) if both => (from, to),
            // The old one cannot come up before the new one is empty and stops.
            Some(At::Returning) => (to, None),
            Some(At::Restoring) => (from, None),
        };
        let keep = match position.map(|position| position.at) {
            _ if self.leads_forward() => self.kept_forward(group),
            // `to` stays on the disk until it has been stopped.
            Some(At::Returning | At::Restoring) => {
                super::distinct(self.kept_back(group).iter().chain([&self.to]))
            }
            _ => self.kept_back(group),
        };
        let keep_to = run == to || beside == to;
        // What stands in for the old release stays until routers have followed that; on the way back nothing does.
        let is_back = position.is_some_and(|position| position.at == At::Returned);
        let linger = if run == from && !is_back { self.policy.pace.drain } else { Duration::ZERO };
        // What a process group new to the app got is taken away again where it had nothing before.
        let had_it = position.is_some_and(|position| position.at != At::Emptied);
        let idle = had_it && !self.is_first() && run.is_none() && beside.is_none();
        Assignment {
            idle,
            beside: beside.cloned(),
            accept: self.acceptance(host, course).filter(|_| keep_to),
            alone: self.policy.pace.alone,
            linger,
            ..Assignment::to_run(self.generation, run.cloned(), keep)
        }
    }

    /// Returns the order of a target once the rollout has arrived: whatever its host's position was, it runs the new release.
    pub(super) fn order_at_end(&self, target: &Target, course: &Course) -> Assignment {
        let is_over = course.positions.get(&target.host).is_some_and(|position| position.at == At::Over);
        if is_over {
            return self.order_at(target, course);
        }
        let order = self.order_at(target, course);
        let (run, linger) = (Some(self.to.id.clone()), self.policy.pace.drain);
        Assignment { run, idle: false, beside: None, linger, ..order }
    }

    /// Tells whether the acceptance hook is tried: on services, and not on what ran before and is only gone back to.
    pub fn accepts(&self) -> bool {
        self.policy.pace.accept && self.to.has_services() && self.kind == Kind::Deploy
    }

    /// Tells whether the hook is tried once more, after a step: users have what it is tried on.
    pub(super) fn is_tried_again(&self, step: u32) -> bool {
        self.accepts() && self.course().round > step + 1
    }

    /// Every host accepts once; later rounds are the business of the first one alone.
    fn acceptance(&self, host: &HostName, course: &Course) -> Option<Acceptance> {
        let times = self.acceptances(host, course);
        let hook = self.policy.acceptance.clone();
        (times > 0).then(|| Acceptance { release: self.to.id.clone(), times, hook })
    }

    /// Returns how often the acceptance hook must have passed on a host.
    pub(super) fn acceptances(&self, host: &HostName, course: &Course) -> u32 {
        let is_first = course.first() == Some(host);
        match self.accepts() {
            true if is_first => course.round,
            true => course.round.min(1),
            false => 0,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_none(number: &u32) -> bool {
    *number == 0
}
