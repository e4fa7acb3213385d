//! The model: the whole store of one app, the controller's turns on it, and what is really there.
//!
//! Its states form no cycle: budgets only shrink, the clock only moves to a deadline, and an act that changes nothing is no step.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::fleet::{self, Current, Deploy, Host, Order, Presence, Seen, Turn, observe};
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, HostName, ReleaseId, Target, Version};
use footplate_core::release::{Hooks, Release, Service, Workload};
use footplate_core::rollout::{Command, Delivery, Pace, Part, Phase, Rollout, Strategy, WayBack};
use footplate_core::target::{self, Action, Assignment, Report};
use footplate_core::traffic::{Followed, Route, Traffic};
use stateright::{Model, Property};

use super::machine::{Machine, Router};
use super::properties;

/// How much trouble there may be on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Deadlines that pass although what they wait for could still come.
    pub deadlines: u8,
    /// Services that do not start.
    pub failures: u8,
    /// Turns that are cut in the middle.
    pub cuts: u8,
    pub requests: u8,
    pub commands: u8,
    /// Times that the router serves on without its agent.
    pub absences: u8,
}

pub struct Field {
    pub hosts: Vec<HostName>,
    pub strategy: Strategy,
    pub pace: Pace,
    pub budget: Budget,
}

#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub now: Moment,
    pub store: Store,
    pub machines: Vec<Machine>,
    pub router: Router,
    /// Whether the agent beside the router lives.
    pub is_led: bool,
    pub budget: Budget,
    /// Whether what leaves may be stopped with requests in flight: the time for them was over.
    pub is_drain_over: bool,
    /// What a property remembers about the way here.
    pub wrong: Option<&'static str>,
}

/// What stands in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    pub current: Arc<Current>,
    pub rollout: Option<Arc<Rollout>>,
    pub orders: BTreeMap<Target, Arc<Assignment>>,
    pub reports: Vec<Report>,
    pub followed: Followed,
    pub routes: Arc<BTreeMap<Target, Route>>,
    pub traffic: Option<Arc<Traffic>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Luck {
    Good,
    Bad,
}

/// How far a turn's writes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum Reach {
    Records,
    Orders,
    Routes,
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Turn(Reach),
    Deadline,
    Command(&'static str),
    /// The agent takes a newer order, or does what is planned first for the one it has.
    Act(usize, Luck),
    Tell(usize),
    RouterReads,
    RouterApplies,
    RouterTells,
    RouterLeft,
    RouterFound,
    Begin(usize, ReleaseId),
    End(usize, ReleaseId),
}

const COMMANDS: [&str; 3] = ["pause", "abort", "rollback"];

impl Field {
    pub fn new(hosts: usize, strategy: Strategy, pace: Pace, budget: Budget) -> Self {
        let hosts = (0..hosts).map(|number| format!("host-{number}").parse().unwrap()).collect();
        Self { hosts, strategy, pace, budget }
    }

    pub fn target(&self, number: usize) -> Target {
        Target { host: self.hosts[number].clone(), group: "web".parse().unwrap() }
    }

    fn number(&self, target: &Target) -> usize {
        self.hosts.iter().position(|host| *host == target.host).expect("one of ours")
    }

    fn delivery(&self) -> Delivery {
        let mut delivery =
            Delivery::new("role=web".parse().unwrap(), BTreeSet::from(["web".parse().unwrap()]));
        delivery.policy.strategy = self.strategy.clone();
        delivery.policy.pace = self.pace.clone();
        delivery
    }

    fn seen(&self, state: &State) -> Seen {
        let store = &state.store;
        let mut hosts: BTreeMap<HostName, Host> = self
            .hosts
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let reports = BTreeMap::from([(self.target(number), store.reports[number].clone())]);
                (name.clone(), Host { presence: Some(presence("web")), reports, ..Host::default() })
            })
            .collect();
        let edge = Host {
            presence: state.is_led.then(|| presence("edge")),
            router: Some(store.followed.clone()),
            ..Host::default()
        };
        hosts.insert("edge".parse().unwrap(), edge);
        Seen {
            now: state.now,
            current: Current::clone(&store.current),
            rollout: store.rollout.as_deref().cloned(),
            door: Default::default(),
            hosts,
            orders: store
                .orders
                .iter()
                .map(|(target, order)| (target.clone(), Assignment::clone(order)))
                .collect(),
            barrier: None,
            releases: ["1", "2"].map(|id| release(id).id).into(),
            routes: BTreeMap::clone(&store.routes),
            traffic: store.traffic.as_deref().cloned(),
            judged: None,
        }
    }

    fn turn(&self, state: &mut State, reach: Reach) {
        let Turn { current, rollout, orders, routes, routes_gone, traffic, .. } =
            fleet::turn(&self.seen(state), |_| Vec::new());
        let store = &mut state.store;
        store.current = current.map_or_else(|| store.current.clone(), Arc::new);
        store.rollout = rollout.map(Arc::new).or(store.rollout.take());
        if reach >= Reach::Orders {
            store.orders.extend(orders.into_iter().map(|(target, order)| (target, Arc::new(order))));
        }
        if reach >= Reach::Routes {
            let mut fresh = BTreeMap::clone(&store.routes);
            fresh.extend(routes);
            fresh.retain(|target, _| !routes_gone.contains(target));
            store.routes = Arc::new(fresh);
        }
        if reach >= Reach::All {
            store.traffic = traffic.map(Arc::new).or(store.traffic.take());
        }
    }

    fn command(&self, state: &mut State, word: &str) {
        let Some(rollout) = &state.store.rollout else { return };
        let command = match word {
            "pause" => Command::Pause,
            "abort" => Command::Abort,
            _ => Command::Rollback { reason: None },
        };
        let ordered =
            fleet::command(&state.store.current, rollout, &command, "ann".parse().unwrap(), state.now);
        if let Ok(records) = ordered {
            state.store.current = Arc::new(records.current);
            state.store.rollout = Some(Arc::new(records.rollout));
            state.budget.commands -= 1;
        }
    }

    /// Lets the agent take a newer order, or else do the first thing that is planned; never both, so that a report may fall between.
    fn act(&self, state: &mut State, number: usize, luck: Luck) {
        let target = self.target(number);
        let Some(ordered) = state.store.orders.get(&target) else { return };
        let machine = &mut state.machines[number];
        if ordered.generation > machine.is.generation {
            if luck == Luck::Good {
                machine.obeys = ordered.clone();
                machine.is.generation = ordered.generation;
            }
            return;
        }
        // Long enough after any failure that the agent tries again.
        let later = state.now + Duration::from_secs(3600);
        let plan = target::plan(&target.group, &machine.obeys, None, &machine.is, later);
        let Some(action) = plan.actions.into_iter().next() else {
            return;
        };
        match (&action, luck) {
            (Action::Start(id), Luck::Bad) if id.as_str() == "2" => {
                machine.fail(&action, state.now);
                state.budget.failures -= 1;
            }
            (_, Luck::Bad) => {}
            (_, Luck::Good) => {
                let machine = &mut state.machines[number];
                machine.succeed(&target, &action, state.now);
                if let Action::Stop(release) = action {
                    properties::judge_stop(state, &target, &release);
                }
            }
        }
    }

    /// Moves the clock to the rollout's deadline. Where the part ends by time alone it costs nothing.
    fn deadline(&self, state: &mut State) {
        let Some(rollout) = state.store.rollout.clone().filter(|rollout| rollout.is_active()) else { return };
        let Some(until) = rollout.deadline().filter(|until| *until > state.now) else { return };
        let drains = match &rollout.phase {
            Phase::Stepping { part, .. } => matches!(part, Part::Draining | Part::Emptying),
            Phase::TurningBack { .. } => {
                rollout.course.as_ref().and_then(|course| course.way_back) == Some(WayBack::Draining)
            }
            _ => false,
        };
        let is_due = matches!(rollout.phase, Phase::Stepping { part: Part::Watching, .. });
        if !is_due {
            if state.budget.deadlines == 0 {
                return;
            }
            state.budget.deadlines -= 1;
        }
        state.is_drain_over |= drains;
        state.now = until;
    }

    /// Lets everything come to rest with no trouble at all.
    fn settle(&self, state: &mut State) {
        loop {
            let before = state.clone();
            self.turn(state, Reach::All);
            for number in 0..self.hosts.len() {
                self.act(state, number, Luck::Good);
                state.store.reports[number] = state.machines[number].is.clone();
            }
            state.router.traffic = state.store.traffic.clone();
            state.router.routes = state.store.routes.clone();
            state.store.followed = state.router.followed();
            if *state == before {
                self.deadline(state);
            }
            if *state == before {
                return;
            }
        }
    }

    fn deploy(&self, state: &mut State, id: &str) {
        let delivery = self.delivery();
        let seen =
            observe(&delivery.selector, state.store.rollout.as_deref(), &self.seen(state).hosts, state.now);
        let what =
            Deploy { to: release(id), policy: delivery.policy.clone(), delivery, only: None, fix: None };
        let by = Order { actor: "ann".parse().unwrap(), reason: None };
        let records = fleet::deploy(&state.store.current, state.store.rollout.as_deref(), what, by, &seen);
        let records = records.expect("nothing is under way");
        state.store.current = Arc::new(records.current);
        state.store.rollout = Some(Arc::new(records.rollout));
    }

    fn empty(&self) -> State {
        let path = AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() };
        let machine = Machine {
            obeys: Arc::new(Assignment::to_run(Generation::default(), None, Vec::new())),
            is: Report::default(),
        };
        State {
            now: Moment::default(),
            store: Store {
                current: Arc::new(Current::new(path, self.delivery(), Generation::default())),
                rollout: None,
                orders: BTreeMap::new(),
                reports: vec![Report::default(); self.hosts.len()],
                followed: Followed::default(),
                routes: Arc::default(),
                traffic: None,
            },
            machines: vec![machine; self.hosts.len()],
            router: Router::default(),
            is_led: true,
            budget: self.budget,
            is_drain_over: false,
            wrong: None,
        }
    }
}

impl Model for Field {
    type State = State;
    type Action = Step;

    /// Release 1 runs everywhere, and release 2 is prepared and about to begin its first step.
    fn init_states(&self) -> Vec<State> {
        let mut state = self.empty();
        self.deploy(&mut state, "1");
        self.settle(&mut state);
        self.deploy(&mut state, "2");
        while matches!(state.store.rollout.as_ref().expect("it was begun").phase, Phase::Preparing { .. }) {
            self.turn(&mut state, Reach::All);
            for number in 0..self.hosts.len() {
                self.act(&mut state, number, Luck::Good);
                state.store.reports[number] = state.machines[number].is.clone();
            }
        }
        state.budget = self.budget;
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend([Step::Turn(Reach::All), Step::Deadline]);
        if state.budget.cuts > 0 {
            steps.extend([Reach::Records, Reach::Orders, Reach::Routes].map(Step::Turn));
        }
        if state.budget.commands > 0 {
            steps.extend(COMMANDS.map(Step::Command));
        }
        for number in 0..self.hosts.len() {
            steps.extend([Step::Act(number, Luck::Good), Step::Tell(number)]);
            if state.budget.failures > 0 {
                steps.push(Step::Act(number, Luck::Bad));
            }
        }
        match state.is_led {
            true => steps.extend([Step::RouterReads, Step::RouterApplies, Step::RouterTells]),
            false => steps.push(Step::RouterFound),
        }
        if state.is_led && state.budget.absences > 0 {
            steps.push(Step::RouterLeft);
        }
        if state.budget.requests > 0 {
            let serving = state.router.serving().map(|(target, id)| (self.number(target), id.clone()));
            steps.extend(serving.map(|(number, id)| Step::Begin(number, id)));
        }
        let flights = state.router.flights.iter();
        steps.extend(flights.map(|(target, id)| Step::End(self.number(target), id.clone())));
    }

    fn next_state(&self, last: &State, taken: Step) -> Option<State> {
        let mut state = last.clone();
        match taken {
            Step::Turn(reach) => {
                self.turn(&mut state, reach);
                if reach != Reach::All && state != *last {
                    state.budget.cuts -= 1;
                }
            }
            Step::Deadline => self.deadline(&mut state),
            Step::Command(word) => self.command(&mut state, word),
            Step::Act(number, luck) => self.act(&mut state, number, luck),
            Step::Tell(number) => state.store.reports[number] = state.machines[number].is.clone(),
            Step::RouterReads => state.router.read = state.store.traffic.clone(),
            Step::RouterApplies => {
                state.router.traffic = state.router.read.take().or(state.router.traffic);
                state.router.routes = state.store.routes.clone();
            }
            Step::RouterTells => state.store.followed = state.router.followed(),
            Step::RouterLeft => {
                state.is_led = false;
                state.budget.absences -= 1;
            }
            Step::RouterFound => state.is_led = true,
            Step::Begin(number, id) => {
                state.router.flights.insert((self.target(number), id));
                state.budget.requests -= 1;
            }
            Step::End(number, id) => drop(state.router.flights.remove(&(self.target(number), id))),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Hash for State {
    /// Leaves out what follows from the rest or never changes on any path.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.now, self.budget, self.is_drain_over, self.is_led, self.wrong).hash(hasher);
        let store = &self.store;
        if let Some(rollout) = &store.rollout {
            (&rollout.phase, rollout.generation, rollout.roll_call, &rollout.paused).hash(hasher);
            if let Some(course) = &rollout.course {
                (course.base, course.mark, &course.positions, course.failures, course.way_back).hash(hasher);
            }
        }
        (store.current.orders, store.current.settled).hash(hasher);
        store.orders.values().for_each(|order| order.generation.hash(hasher));
        for report in self.machines.iter().map(|machine| &machine.is).chain(&store.reports) {
            (report.generation, &report.live, &report.prepared).hash(hasher);
            report.up.keys().for_each(|id| (1, id).hash(hasher));
            report.failed.iter().for_each(|(id, failure)| (2, id, failure.generation).hash(hasher));
        }
        self.machines.iter().for_each(|machine| machine.obeys.generation.hash(hasher));
        for traffic in [&store.traffic, &self.router.read, &self.router.traffic] {
            let share =
                traffic.as_ref().map(|traffic| (traffic.revision, traffic.canary.as_ref().map(|c| c.share)));
            share.hash(hasher);
        }
        for route in store.routes.values().chain(self.router.routes.values()) {
            route.endpoints.iter().for_each(|(id, endpoint)| (id, endpoint.state as u8).hash(hasher));
            3.hash(hasher);
        }
        self.router.flights.hash(hasher);
        store.followed.revision.hash(hasher);
        store.followed.busy.iter().for_each(|busy| (&busy.target, &busy.release).hash(hasher));
    }
}

fn presence(role: &str) -> Presence {
    Presence {
        instance: "one".to_owned(),
        address: "127.0.0.1".to_owned(),
        labels: BTreeMap::from([("role".to_owned(), role.to_owned())]),
        version: "0.1.0".to_owned(),
        vitals: None,
    }
}

fn release(id: &str) -> Release {
    let version: Version = id.parse().unwrap();
    let services = BTreeMap::from([("web".parse().unwrap(), Service::web("./serve"))]);
    let workload = Workload::Service { hooks: Hooks::default(), services };
    Release::new("shop".parse().unwrap(), version, workload, Moment::default())
}
