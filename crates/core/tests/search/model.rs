//! The model: hosts with disks, reports that lag behind them, orders and a barrier that lag behind the record.
//!
//! Its states form no cycle: budgets only shrink, the clock only moves to a deadline, and an act that changes nothing is no
//! step. That is what makes "in the end" a property of every path.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, HostName, Target, Version};
use footplate_core::release::{Hooks, Release, Workload};
use footplate_core::rollout::{
    self, Command, Event, HostSeen, Kind, Observation, Phase, Policy, Request, Rollout, assignments, barrier,
    step,
};
use footplate_core::target::{self, Action, Assignment, Failure, Report};
use stateright::{Model, Property};

use crate::properties;

/// How much trouble there may be on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    pub commands: u8,
    pub deaths: u8,
    pub reimages: u8,
    pub failures: u8,
}

pub struct Field {
    pub hosts: Vec<HostName>,
    pub kind: Kind,
    pub from: Option<Release>,
    pub to: Release,
    pub policy: Policy,
    pub budget: Budget,
}

#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub now: Moment,
    pub rollout: Arc<Rollout>,
    pub machines: Vec<Machine>,
    pub barrier: Option<Generation>,
    pub budget: Budget,
    /// What a property remembers about the way here.
    pub wrong: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub alive: bool,
    /// Whether its disk was replaced; then nothing that was reported of it binds.
    pub reimaged: bool,
    /// What the store orders it.
    pub ordered: Arc<Assignment>,
    /// What the agent obeys, and the barrier as it read it then or later.
    pub obeys: Option<Arc<Assignment>>,
    pub disk: Report,
    /// What the store knows of it.
    pub told: Report,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The controller looks at the store and writes the record.
    Observe,
    /// The controller writes the barrier that the record asks for.
    OpenBarrier,
    /// The controller writes the order that the record asks for.
    Order(usize),
    /// The clock reaches the rollout's deadline.
    Deadline,
    Command(&'static str),
    /// The agent takes a newer order, or does what is planned for the one it has, or fails at it.
    Act(usize, Luck),
    Tell(usize),
    Die(usize),
    Return(usize),
    Reimage(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Luck {
    Good,
    Bad,
}

const COMMANDS: [&str; 5] = ["promote", "pause", "resume", "abort", "rollback"];

impl Field {
    pub fn new(hosts: usize, kind: Kind, ran_before: bool) -> Self {
        Self {
            hosts: (0..hosts).map(|number| format!("host-{number}").parse().unwrap()).collect(),
            kind,
            from: ran_before.then(|| release("1")),
            to: release("2"),
            policy: Policy { prepare_deadline: Duration::from_secs(60), ..Policy::default() },
            budget: Budget { commands: 0, deaths: 0, reimages: 0, failures: 0 },
        }
    }

    pub fn target(&self, number: usize) -> Target {
        Target { host: self.hosts[number].clone(), group: "web".parse().unwrap() }
    }

    fn observation(&self, state: &State) -> Observation {
        let hosts = state.machines.iter().enumerate().map(|(number, machine)| {
            let target = self.target(number);
            let seen = HostSeen {
                alive: machine.alive,
                matches: machine.alive,
                cordoned: false,
                reports: BTreeMap::from([(target.clone(), machine.told.clone())]),
            };
            (target.host, seen)
        });
        Observation {
            now: state.now,
            hosts: hosts.collect(),
            routers: BTreeMap::new(),
            told: None,
            judged: None,
        }
    }

    /// Returns a machine at rest with what ran before; before a rollback it still keeps where it goes.
    fn machine(&self) -> Machine {
        let kept = (self.kind == Kind::Rollback).then_some(&self.to);
        let disk = Report {
            generation: Generation::new(0, 1),
            live: self.from.as_ref().map(|from| from.id.clone()),
            prepared: self.from.iter().chain(kept).map(|release| release.id.clone()).collect(),
            ..Report::default()
        };
        let keep = self.from.iter().chain(kept).cloned().collect();
        let ordered = Assignment::to_run(Generation::new(0, 1), disk.live.clone(), keep);
        let (ordered, told) = (Arc::new(ordered), disk.clone());
        Machine { alive: true, reimaged: false, obeys: Some(ordered.clone()), ordered, disk, told }
    }

    fn observe(&self, state: &mut State) {
        let before = state.rollout.phase.clone();
        let event = Event::Observed(self.observation(state));
        let next = step(&state.rollout, &event).expect("a fact is never refused").next;
        if next == *state.rollout {
            return;
        }
        state.rollout = Arc::new(next);
        properties::remember(self, &before, state);
    }

    fn command(&self, state: &mut State, word: &str) {
        let command = match word {
            "promote" => Command::Promote,
            "pause" => Command::Pause,
            "resume" => Command::Resume,
            "abort" => Command::Abort,
            _ => Command::Rollback { reason: None },
        };
        let before = state.rollout.phase.clone();
        let event = Event::Commanded { command, actor: "ann".parse().unwrap(), now: state.now };
        if let Ok(step) = step(&state.rollout, &event) {
            state.rollout = Arc::new(step.next);
            state.budget.commands -= 1;
            properties::remember(self, &before, state);
        }
    }

    /// Lets the agent take a newer order, or else do the first thing that is planned for the one it has; never both, so that
    /// a report may fall between.
    fn act(&self, state: &mut State, number: usize, luck: Luck) {
        let barrier = state.barrier;
        // Long enough after any failure that the agent tries again.
        let now = state.now + Duration::from_secs(3600);
        let machine = &mut state.machines[number];
        if machine.ordered.generation > machine.disk.generation {
            if luck == Luck::Good {
                machine.obeys = Some(machine.ordered.clone());
                machine.disk.generation = machine.ordered.generation;
            }
            return;
        }
        let Some(order) = &machine.obeys else { return };
        let group = self.target(number).group;
        let plan = target::plan(&group, order, barrier, &machine.disk, now);
        let Some(action) = plan.actions.into_iter().next() else {
            return;
        };
        match luck {
            Luck::Good => machine.succeed(&action),
            Luck::Bad => {
                machine.fail(&action, state.now);
                state.budget.failures -= 1;
            }
        }
    }
}

impl Machine {
    fn succeed(&mut self, action: &Action) {
        let (_, release) = action.parts();
        self.disk.failed.remove(release);
        match action {
            Action::Prepare(release) => {
                self.disk.prepared.insert(release.clone());
            }
            Action::Activate(release) => self.disk.live = Some(release.clone()),
            Action::Start(_) | Action::Accept(_) | Action::Stop(_) => unreachable!("files have no service"),
            Action::Clean(release) => {
                self.disk.prepared.remove(release);
            }
        }
    }

    fn fail(&mut self, action: &Action, at: Moment) {
        let (verb, release) = action.parts();
        let failure = Failure {
            verb,
            generation: self.disk.generation,
            reason: "it ended with 1".to_owned(),
            output: String::new(),
            lapse: None,
            attempts: 1,
            at,
        };
        self.disk.failed.insert(release.clone(), failure);
        if let Action::Activate(release) = action {
            self.disk.live = Some(release.clone());
        }
    }
}

impl Model for Field {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let machines = vec![self.machine(); self.hosts.len()];
        let mut state = State {
            now: Moment::default(),
            rollout: Arc::new(unplanned(self)),
            machines,
            barrier: None,
            budget: self.budget,
            wrong: None,
        };
        let planned = rollout::plan(request(self), &self.observation(&state)).expect("it makes sense");
        state.rollout = Arc::new(planned);
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend([Step::Observe, Step::OpenBarrier, Step::Deadline]);
        if state.budget.commands > 0 && state.rollout.is_active() {
            steps.extend(COMMANDS.map(Step::Command));
        }
        for (number, machine) in state.machines.iter().enumerate() {
            steps.push(Step::Order(number));
            if !machine.alive {
                steps.push(Step::Return(number));
                continue;
            }
            steps.extend([Step::Act(number, Luck::Good), Step::Tell(number)]);
            if state.budget.failures > 0 {
                steps.push(Step::Act(number, Luck::Bad));
            }
            if state.budget.deaths > 0 {
                steps.push(Step::Die(number));
            }
            if state.budget.reimages > 0 {
                steps.push(Step::Reimage(number));
            }
        }
    }

    fn next_state(&self, last: &State, taken: Step) -> Option<State> {
        let mut state = last.clone();
        match taken {
            Step::Observe => self.observe(&mut state),
            Step::OpenBarrier => state.barrier = barrier(&state.rollout).or(state.barrier),
            Step::Order(number) => {
                // A generation means one order, so one that stands need not be written again.
                if state.machines[number].ordered.generation == state.rollout.generation {
                    return None;
                }
                let order = assignments(&state.rollout).remove(&self.target(number))?;
                state.machines[number].ordered = Arc::new(order);
            }
            Step::Deadline => {
                state.now = state.rollout.deadline().map_or(state.now, |until| until.max(state.now))
            }
            Step::Command(word) => self.command(&mut state, word),
            Step::Act(number, luck) => self.act(&mut state, number, luck),
            Step::Tell(number) => state.machines[number].told = state.machines[number].disk.clone(),
            Step::Die(number) => {
                state.machines[number].alive = false;
                state.budget.deaths -= 1;
            }
            Step::Return(number) => {
                let machine = &mut state.machines[number];
                machine.told = machine.disk.clone();
                machine.alive = true;
            }
            Step::Reimage(number) => {
                let machine = &mut state.machines[number];
                machine.disk = Report::default();
                machine.obeys = None;
                machine.reimaged = true;
                machine.alive = false;
                state.budget.reimages -= 1;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Hash for State {
    /// Leaves out what never changes on any path.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let rollout = &self.rollout;
        (self.now, &rollout.phase, rollout.generation, &rollout.hosts, &rollout.excused).hash(hasher);
        (&rollout.paused, &rollout.promoted, self.barrier, self.budget, self.wrong).hash(hasher);
        for machine in &self.machines {
            (machine.alive, machine.reimaged, machine.ordered.generation).hash(hasher);
            machine.obeys.as_ref().map(|order| order.generation).hash(hasher);
            for report in [&machine.disk, &machine.told] {
                (report.generation, &report.live, &report.prepared).hash(hasher);
                let failed = report.failed.iter();
                failed.for_each(|(id, failure)| (id, failure.verb as u8, failure.generation).hash(hasher));
            }
        }
    }
}

fn request(field: &Field) -> Request {
    Request {
        path: AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() },
        number: 1,
        kind: field.kind,
        from: field.from.clone(),
        to: field.to.clone(),
        keep: if field.kind == Kind::Rollback { vec![field.to.clone()] } else { Vec::new() },
        apart: BTreeMap::new(),
        is_partial: false,
        joins: false,
        generation: Generation::new(0, 2),
        roll_call: Generation::default(),
        kept_since: (field.kind == Kind::Rollback).then_some(Generation::new(0, 1)),
        groups: BTreeSet::from(["web".parse().unwrap()]),
        policy: field.policy.clone(),
        delivery: None,
        actor: "ann".parse().unwrap(),
        reason: None,
        fix: None,
    }
}

/// A rollout to begin the first state with; planning replaces it.
fn unplanned(field: &Field) -> Rollout {
    let nobody = Observation {
        now: Moment::default(),
        hosts: BTreeMap::new(),
        routers: BTreeMap::new(),
        told: None,
        judged: None,
    };
    rollout::plan(request(field), &nobody).expect("it makes sense")
}

fn release(id: &str) -> Release {
    let version: Version = id.parse().unwrap();
    Release::new("shop".parse().unwrap(), version, Workload::ReleaseDir(Hooks::default()), Moment::default())
}

/// Tells whether the rollout has just gone from one kind of phase to another.
pub fn entered(before: &Phase, state: &State, word: &str) -> bool {
    before.word() != word && state.rollout.phase.word() == word
}
