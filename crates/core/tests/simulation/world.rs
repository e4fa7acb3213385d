//! One fleet: its machines, two controllers, people, and the order in which they happen to act, all from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::name::{GroupName, HostName};
use footplate_core::record::Key;
use footplate_core::rollout::{Phase, Rollout};
use footplate_core::target::Readiness;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::controller::{Controller, rollout, target_name, wanted};
use crate::knobs::Knobs;
use crate::machine::Machine;
use crate::mutation::Mutation;
use crate::promises::{self, Fact, Promise, Scene};
use crate::routers::Router;
use crate::store::{Author, Guard, Store, Value, Write};
use crate::story::brief;

/// A promise that was broken.
#[derive(Debug)]
pub struct Broken {
    pub promise: &'static str,
    pub how: String,
}

pub struct World {
    pub rng: SmallRng,
    /// What people do about the gate, apart from all else that is drawn; in half of the fleets nothing.
    pub gate_rng: Option<SmallRng>,
    pub knobs: Knobs,
    pub mutation: Option<Mutation>,
    pub scene: Scene,
    pub groups: BTreeSet<GroupName>,
    pub controllers: Vec<Controller>,
    pub releases: u32,
    pub ended: Vec<Rollout>,
    /// From which parts of which steps rollouts turned back; steps beyond the second count as one.
    pub turned: BTreeSet<(u32, &'static str)>,
    pub broken: Option<Broken>,
    promises: Vec<Box<dyn Promise>>,
    backup: Option<Store>,
    pub down_until: Moment,
    pub calm: bool,
    story: Option<Vec<String>>,
}

/// How long a session lives unrenewed; at most twice that.
pub const TTL: Duration = Duration::from_secs(10);
/// How long a calm fleet may take to come to rest: every deadline in turn, and the longest back-off.
const CALM: Duration = Duration::from_secs(1200);

impl World {
    pub fn new(seed: u64, mutation: Option<Mutation>, tells: bool) -> Self {
        let knobs = Knobs::draw(seed);
        let names = ["web", "worker"];
        let groups: BTreeSet<GroupName> =
            names[..knobs.groups].iter().map(|name| name.parse().unwrap()).collect();
        let mut world = Self {
            rng: SmallRng::seed_from_u64(seed),
            gate_rng: (seed % 2 == 1).then(|| SmallRng::seed_from_u64(seed ^ 0x6761_7465)),
            mutation,
            scene: Scene {
                now: Moment::from_millis(1_000_000_000),
                store: Store::default(),
                machines: BTreeMap::new(),
                routers: (0..knobs.routers).filter(|_| knobs.services).map(Router::new).collect(),
                in_order: knobs.in_order(),
            },
            groups,
            controllers: vec![Controller::default(), Controller::default()],
            releases: 0,
            ended: Vec::new(),
            turned: BTreeSet::new(),
            broken: None,
            promises: promises::all(),
            backup: None,
            down_until: Moment::default(),
            calm: false,
            story: tells.then(Vec::new),
            knobs,
        };
        for _ in 0..world.knobs.hosts {
            world.join();
        }
        world
    }

    /// Lets everything happen, then nothing go wrong any more, and returns what was broken, if anything.
    pub fn run(&mut self) -> Result<(), Broken> {
        if self.knobs.services {
            self.begin_at_rest();
        }
        for _ in 0..self.knobs.steps {
            let length = Duration::from_millis(self.rng.random_range(10..400));
            self.pass(length);
            self.step();
            if self.broken.is_some() {
                break;
            }
        }
        self.calm_down();
        self.come_to_rest();
        self.tell(&Fact::Ended);
        self.broken.take().map_or(Ok(()), Err)
    }

    /// Deploys a first release before anything goes wrong: what is of interest is how it is followed.
    fn begin_at_rest(&mut self) {
        self.calm = true;
        for _ in 0..2 {
            self.come_to_rest();
            self.person_begins();
        }
        self.come_to_rest();
        self.calm = false;
    }

    fn come_to_rest(&mut self) {
        let end = self.scene.now + CALM;
        while !self.at_rest() && self.scene.now < end && self.broken.is_none() {
            self.pass(Duration::from_secs(1));
            self.everybody();
        }
    }

    pub fn story(&self) -> String {
        self.story.as_deref().unwrap_or_default().join("\n")
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.scene.now.as_millis() - 1_000_000_000;
        if let Some(story) = &mut self.story {
            story.push(format!("{:>7.1} s  {}", now as f64 / 1000.0, what()));
        }
    }

    pub fn now(&self) -> Moment {
        self.scene.now
    }

    pub fn chance(&mut self, chance: f64) -> bool {
        !self.calm && chance > 0.0 && self.rng.random_bool(chance)
    }

    pub fn tell(&mut self, fact: &Fact) {
        if self.broken.is_some() {
            return;
        }
        for promise in &mut self.promises {
            if let Err(how) = promise.judge(fact, &self.scene) {
                self.broken = Some(Broken { promise: promise.name(), how });
                return;
            }
        }
    }

    /// Writes, if the guards hold, and lets the promises judge each write.
    pub fn write(&mut self, author: &Author, guards: &[Guard], writes: &[Write]) -> bool {
        let before: Vec<Option<Value>> =
            writes.iter().map(|write| self.scene.store.get(&write.key).cloned()).collect();
        if !self.scene.store.apply(guards, writes) {
            return false;
        }
        for (write, before) in writes.iter().zip(&before) {
            self.turned.extend(turned(write, before.as_ref()));
            self.note(|| format!("{author:?} writes {}: {}", write.key, brief(write.value.as_ref())));
            self.tell(&Fact::Wrote { author, write, before: before.as_ref() });
            let ended = match (&write.value, before) {
                (Some(Value::Rollout(new)), Some(Value::Rollout(old)))
                    if old.is_active() && !new.is_active() =>
                {
                    Some(new)
                }
                _ => None,
            };
            self.ended.extend(ended.map(|rollout| (**rollout).clone()));
        }
        true
    }

    pub fn store_answers(&self) -> bool {
        self.now() >= self.down_until
    }

    pub fn session_end(&mut self) -> Moment {
        let late = self.rng.random_range(0..TTL.as_millis() as u64);
        self.now() + TTL + Duration::from_millis(late)
    }

    pub fn host_names(&self) -> Vec<HostName> {
        self.scene.machines.keys().cloned().collect()
    }

    fn pass(&mut self, length: Duration) {
        self.scene.now = self.scene.now + length;
        if self.store_answers() {
            let now = self.now();
            self.scene.store.expire(now);
        }
    }

    /// One step of somebody.
    fn step(&mut self) {
        let (machines, routers) = (self.scene.machines.len(), self.scene.routers.len());
        match self.rng.random_range(0..machines * 3 + 4 + routers * 2) {
            0 => self.misfortune(),
            number @ 1..4 => self.controller_step(number % 2),
            number if number >= machines * 3 + 4 => {
                for _ in 0..self.rng.random_range(1..=4) {
                    self.router_step(number % routers);
                }
            }
            number => {
                let host = self.host_names()[(number - 4) % machines].clone();
                for _ in 0..self.rng.random_range(1..=4) {
                    self.agent_step(&host);
                }
            }
        }
        let acts = self.knobs.person_acts;
        if self.chance(acts) {
            self.person_acts();
        }
        self.tell(&Fact::Passed);
    }

    /// Everybody's steps, with nothing going wrong.
    fn everybody(&mut self) {
        for number in 0..2 {
            for _ in 0..4 {
                self.controller_step(number);
            }
        }
        for host in self.host_names() {
            for _ in 0..4 {
                self.agent_step(&host);
            }
        }
        for number in 0..self.scene.routers.len() {
            for _ in 0..4 {
                self.router_step(number);
            }
        }
        self.tell(&Fact::Passed);
    }

    fn calm_down(&mut self) {
        self.calm = true;
        let now = self.now();
        self.down_until = now;
        for controller in &mut self.controllers {
            controller.down_until = now;
            controller.stopped_until = now;
        }
        for machine in self.scene.machines.values_mut() {
            machine.down_until = now;
            machine.slow_until = now;
            machine.cut_off_until = now;
            for process in machine.disks.values_mut().flat_map(|disk| disk.up.values_mut()) {
                process.ready_at = process.ready_at.min(now);
            }
        }
        self.scene.routers.iter_mut().for_each(|router| router.calm_down(now));
        let states = self.scene.store.entries.keys().filter(|key| matches!(key, Key::HostState(_)));
        let uncordon: Vec<Write> = states.cloned().map(Write::delete).collect();
        self.write(&Author::Person, &[], &uncordon);
        self.note(|| "calm".to_owned());
    }

    /// Tells whether nobody has anything left to do.
    fn at_rest(&self) -> bool {
        let store = &self.scene.store;
        let settled = !rollout(store).is_some_and(Rollout::is_active)
            && self.scene.machines.values().all(|machine| self.is_settled(machine));
        let quiet = |controller: &Controller| controller.pending.is_empty() && controller.session.is_some();
        settled
            && self.controllers.iter().all(quiet)
            && self.controllers.iter().any(|c| c.seen == store.revision && c.look_again_at.is_none())
            && self.scene.routers.iter().all(|router| router.is_at_rest(store))
    }

    fn is_settled(&self, machine: &Machine) -> bool {
        let Some(agent) = &machine.agent else { return false };
        let store = &self.scene.store;
        agent.session.is_some()
            && store.get(&Key::Presence(machine.name.clone())).is_some()
            && machine.disks.iter().all(|(group, disk)| {
                let report = store.get(&Key::Report(machine.name.clone(), target_name(group)));
                let idle = agent
                    .works
                    .get(group)
                    .is_none_or(|work| work.busy.is_none() && disk.is_done(group, work.barrier, self.now()));
                let told = matches!(report, Some(Value::Report(report)) if *report == disk.report());
                let healthy = disk.up.values().all(|process| process.readiness == Readiness::Ready);
                idle && healthy
                    && (told || disk.order.is_none())
                    && (!machine.matches
                        || wanted(store, group).is_none_or(|wanted| disk.report().runs(&wanted.id)))
            })
    }

    pub fn join(&mut self) {
        let number = self.scene.machines.len();
        let name: HostName = format!("host-{number}").parse().unwrap();
        let mut machine = Machine::new(name.clone(), &self.groups, number as u64);
        machine.boot(self.now());
        self.note(|| format!("{name} joins"));
        self.scene.machines.insert(name, machine);
    }

    fn misfortune(&mut self) {
        let now = self.now();
        let knobs = self.knobs.clone();
        if self.scene.machines.len() < 8 && self.chance(knobs.host_joins * 10.0) {
            self.join();
        }
        if self.chance(knobs.store_down * 10.0) {
            self.down_until = now + Duration::from_secs(self.rng.random_range(1..90));
            self.note(|| "the store is down".to_owned());
        }
        let often = if self.backup.is_some() { 0.02 } else { 0.2 };
        if self.chance(often) && self.store_answers() {
            self.backup = Some(self.scene.store.backup());
        }
        if self.chance(knobs.store_restored * 10.0) {
            self.restore();
        }
        if self.chance(knobs.order_deleted_by_hand * 10.0) {
            self.delete_by_hand(|key| matches!(key, Key::Assignment(..)));
        }
        if self.chance(knobs.record_deleted_by_hand * 10.0) {
            self.delete_by_hand(|key| matches!(key, Key::Release(..)));
        }
    }

    fn restore(&mut self) {
        let Some(backup) = self.backup.take() else { return };
        self.note(|| "the store is restored from its backup".to_owned());
        self.scene.store.restore(backup);
        self.tell(&Fact::Restored);
    }

    fn delete_by_hand(&mut self, which: impl Fn(&Key) -> bool) {
        let keys: Vec<Key> = self.scene.store.entries.keys().filter(|key| which(key)).cloned().collect();
        if let Some(key) = (!keys.is_empty()).then(|| keys[self.rng.random_range(0..keys.len())].clone()) {
            self.write(&Author::Person, &[], &[Write::delete(key)]);
        }
    }
}

/// Tells from which part of a step a write turns a rollout back.
fn turned(write: &Write, before: Option<&Value>) -> Option<(u32, &'static str)> {
    let (Some(Value::Rollout(new)), Some(Value::Rollout(old))) = (&write.value, before) else { return None };
    let turns = new.number == old.number && !new.leads_forward();
    match old.phase {
        Phase::Stepping { step, part, .. } if turns => Some((step.min(2), part.word())),
        _ => None,
    }
}
