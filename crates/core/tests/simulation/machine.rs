//! One host: a disk that survives its agent, and an agent that may die between any two steps.
//!
//! The agent's rules that the core relies on: it obeys a new order only between two actions (a prepare is given up for
//! it), reads the barrier after the order, writes its reports before its presence, reports nothing while it activates,
//! and finishes an activation that was cut off before it reports again.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::fleet::Presence;
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{GroupName, HostName, ReleaseId, Target};
use footplate_core::target::{Action, Assignment, Failure, Report, Verb, plan};

use crate::mutation::Mutation;
use crate::service::{self, Process};
use crate::store::Session;

pub struct Machine {
    pub name: HostName,
    pub instance: u64,
    /// One per process group.
    pub disks: BTreeMap<GroupName, Disk>,
    /// The agent's process, while it runs.
    pub agent: Option<Agent>,
    pub down_until: Moment,
    pub slow_until: Moment,
    pub cut_off_until: Moment,
    /// When somebody last changed the disk behind the agent's back.
    pub incident_at: Option<Moment>,
    pub rebooted_at: Moment,
    /// Whether its labels are those that the app asks for.
    pub matches: bool,
}

/// What survives the agent; services end with a reboot.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub up: BTreeMap<ReleaseId, Process>,
    pub order: Option<Assignment>,
    pub obeyed: Generation,
    pub live: Option<ReleaseId>,
    /// Set while an activation is not finished.
    pub activating: Option<ReleaseId>,
    pub prepared: BTreeSet<ReleaseId>,
    pub failed: BTreeMap<ReleaseId, Failure>,
}

#[derive(Default)]
pub struct Agent {
    pub session: Option<Session>,
    pub seen: u64,
    pub stage: usize,
    pub works: BTreeMap<GroupName, Work>,
}

/// What one target's worker holds in memory.
#[derive(Default)]
pub struct Work {
    pub barrier: Option<Generation>,
    /// Whether the barrier was read since the order came, or the agent began.
    pub barrier_was_read: bool,
    pub busy: Option<(Action, Moment)>,
}

impl Machine {
    pub fn new(name: HostName, groups: &BTreeSet<GroupName>, instance: u64) -> Self {
        Self {
            name,
            instance,
            disks: groups.iter().map(|group| (group.clone(), Disk::default())).collect(),
            agent: Some(Agent::default()),
            down_until: Moment::default(),
            slow_until: Moment::default(),
            cut_off_until: Moment::default(),
            incident_at: None,
            rebooted_at: Moment::default(),
            matches: true,
        }
    }

    pub fn target(&self, group: &GroupName) -> Target {
        Target { host: self.name.clone(), group: group.clone() }
    }

    pub fn presence(&self) -> Presence {
        let role = if self.matches { "web" } else { "database" };
        Presence {
            instance: self.instance.to_string(),
            address: "127.0.0.1".to_owned(),
            labels: BTreeMap::from([("role".to_owned(), role.to_owned())]),
            version: "0.1.0".to_owned(),
            vitals: None,
        }
    }

    /// Starts the agent; what it was activating when it died, it activates again.
    pub fn boot(&mut self, now: Moment) {
        let mut agent = Agent::default();
        for (group, disk) in &self.disks {
            let busy = disk.activating.clone().map(|release| (Action::Activate(release), now));
            agent.works.insert(group.clone(), Work { busy, ..Work::default() });
        }
        self.agent = Some(agent);
    }

    /// Ends everything that runs; the disks stay.
    pub fn reboot(&mut self, now: Moment) {
        self.agent = None;
        self.rebooted_at = now;
        self.disks.values_mut().for_each(|disk| disk.up.clear());
    }

    /// Replaces the machine by an empty one of the same name.
    pub fn reimage(&mut self, now: Moment) {
        self.instance += 1000;
        self.agent = None;
        self.incident_at = Some(now);
        self.rebooted_at = now;
        self.disks.values_mut().for_each(|disk| *disk = Disk::default());
    }
}

impl Disk {
    pub fn report(&self) -> Report {
        Report {
            waiting: None,
            generation: self.obeyed,
            live: self.live.clone(),
            live_since: None,
            prepared: self.prepared.clone(),
            up: service::reported(&self.up),
            failed: self.failed.clone(),
            drift: None,
        }
    }

    /// Takes an order unless a newer one was obeyed. Returns whether it did.
    pub fn offer(&mut self, order: &Assignment, mutation: Option<Mutation>) -> bool {
        let newer = order.generation >= self.obeyed || mutation == Some(Mutation::AgentObeysOlderOrders);
        if newer {
            self.order = Some(order.clone());
            self.obeyed = order.generation;
        }
        newer
    }

    /// Tells whether the barrier must be read before anything is planned, as `live` is not what runs before the switch.
    pub fn must_read_barrier(&self, work: &Work) -> bool {
        let order = self.order.as_ref().filter(|order| order.switch.is_some());
        !work.barrier_was_read && order.is_some_and(|order| order.run != self.live)
    }

    /// Returns what the real planner says is next, or what a planted fault makes of it.
    pub fn next(
        &self,
        group: &GroupName,
        barrier: Option<Generation>,
        now: Moment,
        mutation: Option<Mutation>,
    ) -> Option<Action> {
        let order = self.order.as_ref()?;
        let reached = match (mutation, &order.switch, barrier) {
            (Some(Mutation::AgentTakesLaterBarriers), Some(switch), Some(reached)) => {
                Some(reached.min(switch.barrier))
            }
            _ => barrier,
        };
        let report = self.report();
        let action = plan(group, order, reached, &report, now).actions.into_iter().next();
        let wanted = order.wanted(reached).filter(|wanted| !report.runs(wanted));
        match (mutation, action) {
            (Some(Mutation::AgentActivatesWhatIsNotPrepared), Some(Action::Prepare(release)))
                if wanted == Some(&release) =>
            {
                Some(Action::Activate(release))
            }
            (Some(Mutation::AgentStopsBeforeItsSuccessorIsInCharge), action) => {
                let mut gone = self.up.keys().filter(|id| !order.lets_up(id, reached) && order.run.is_some());
                gone.next().cloned().map(Action::Stop).or(action)
            }
            (Some(Mutation::AgentCleansWhatIsKept), None) => {
                let unused = self.prepared.iter().find(|id| report.live.as_ref() != Some(*id));
                unused.cloned().map(Action::Clean)
            }
            (_, action) => action,
        }
    }

    /// Tells whether nothing is left to do, now or later.
    pub fn is_done(&self, group: &GroupName, barrier: Option<Generation>, now: Moment) -> bool {
        self.order.as_ref().is_none_or(|order| {
            let plan = plan(group, order, barrier, &self.report(), now);
            plan.actions.is_empty() && plan.retry_at.is_none()
        })
    }

    /// Looks at the services; one that has failed is a failure of its start.
    pub fn look(&mut self, now: Moment) {
        let failed: Vec<ReleaseId> =
            self.up.iter_mut().filter_map(|(id, process)| process.look(now).then(|| id.clone())).collect();
        failed.iter().for_each(|id| self.fail(Verb::Start, id, now));
    }

    /// Begins an action: an activation switches `live` first and runs its hook afterwards; a stop is felt at once.
    pub fn begin(&mut self, action: &Action, mutation: Option<Mutation>) {
        if let Action::Stop(release) = action {
            self.up.remove(release);
        }
        if let Action::Activate(release) = action {
            self.activating = Some(release.clone());
            let torn = mutation == Some(Mutation::AgentActivatesInTwoSteps);
            self.live = (!torn).then(|| release.clone());
        }
    }

    /// Finishes an action, well or not.
    pub fn finish(&mut self, action: &Action, fails: bool, now: Moment) {
        let (verb, release) = action.parts();
        if fails {
            return self.fail(verb, release, now);
        }
        self.failed.remove(release);
        match action {
            Action::Prepare(release) => {
                self.prepared.insert(release.clone());
            }
            Action::Activate(release) => {
                self.live = Some(release.clone());
                self.activating = None;
            }
            // Somebody may have made it live by hand since it was planned.
            Action::Clean(release) if self.live.as_ref() == Some(release) => {}
            Action::Clean(release) => {
                self.prepared.remove(release);
            }
            Action::Accept(release) => {
                let times = self.order.as_ref().and_then(|order| order.accept.as_ref()).map(|one| one.times);
                if let Some(process) = self.up.get_mut(release) {
                    process.accepted = process.accepted.max(times.unwrap_or_default());
                }
            }
            // What was started stands among the services already.
            Action::Start(_) | Action::Stop(_) => {}
        }
    }

    fn fail(&mut self, verb: Verb, release: &ReleaseId, now: Moment) {
        let before = self.failed.get(release).filter(|failure| failure.verb == verb);
        let attempts = before.map_or(0, |failure| failure.attempts) + 1;
        let failure = Failure {
            verb,
            generation: self.obeyed,
            reason: "it ended with 1".to_owned(),
            output: String::new(),
            lapse: None,
            attempts,
            at: now,
        };
        self.failed.insert(release.clone(), failure);
        if verb == Verb::Activate {
            self.activating = None;
        }
    }
}
