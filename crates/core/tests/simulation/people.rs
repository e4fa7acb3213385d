//! People: they deploy, roll back, interrupt, cordon and clean up, at any moment, also twice, through whichever controller
//! acts; and one of them creates the app.

use std::time::Duration;

use std::collections::BTreeSet;

use footplate_core::fleet::{
    self, Back, Current, Deploy, HostState, Order, Records, Restriction, Seen, observe,
};
use footplate_core::gate::{Days, Fix, Freeze, Gate, Halt, Lock, Opening, Test, TimeOfDay, Weekday, Window};
use footplate_core::name::{Actor, GroupName, Version};
use footplate_core::record::Key;
use footplate_core::release::{Hooks, Release, Service, Workload};
use footplate_core::rollout::{
    Command, Delivery, During, OnFailedActivation, OnVanished, Pace, Policy, Portion, Strategy,
};
use footplate_core::traffic::Share;
use footplate_core::verdict::{Drawn, Judging, OnUnknown};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::controller::{door, lease, look, path, record_guards};
use crate::mutation::Mutation;
use crate::store::{Author, Session, Value, Write};
use crate::world::World;

impl World {
    /// One order of one person, if a controller acts.
    pub fn person_acts(&mut self) {
        let holder = self.scene.store.entries.get(&lease()).and_then(|entry| entry.session);
        let now = self.now();
        let acts = |session: &Session| {
            self.controllers.iter().any(|controller| {
                controller.session == Some(*session)
                    && now >= controller.stopped_until
                    && now >= controller.down_until
            })
        };
        let Some(session) = holder.filter(acts).filter(|_| self.store_answers()) else { return };
        match look(&self.scene.store, now) {
            None => self.create(session),
            Some(seen) => {
                // A halt would keep out most of what else happens in so short a life.
                let chance = if seen.door.gate.halted.is_some() { 0.9 } else { 0.05 };
                if self.gate_rng.as_mut().is_some_and(|rng| rng.random_bool(chance)) {
                    self.see_to_the_gate(session, &seen.door.gate);
                }
                if let Some(seen) = look(&self.scene.store, now) {
                    self.order(session, &seen);
                }
            }
        }
    }

    /// Creates the app, or deploys its first release by the rules it was created with.
    pub fn person_begins(&mut self) {
        let holder = self.scene.store.entries.get(&lease()).and_then(|entry| entry.session);
        let Some(session) = holder else { return };
        let Some(seen) = look(&self.scene.store, self.now()) else { return self.create(session) };
        let to = self.new_release();
        let by = Order { actor: "ann".parse().unwrap(), reason: None };
        if let Some(records) = self.deploy(&seen, to, by) {
            self.record(session, records);
        }
    }

    fn create(&mut self, session: Session) {
        let current = Current::new(path(), self.delivery(), Default::default());
        let guards = record_guards(&self.scene.store, session);
        let write = Write::put(Key::Current(path()), Value::Current(Box::new(current)));
        self.write(&Author::Controller(session), &guards, &[write]);
    }

    /// Draws what `footplate.toml` says at one moment.
    fn delivery(&mut self) -> Delivery {
        let mut delivery = Delivery::new("role=web".parse().unwrap(), self.groups.clone());
        let seconds = |rng: &mut SmallRng, most: u64| Duration::from_secs(rng.random_range(10..most));
        delivery.policy = Policy {
            nodes_min: self.rng.random_range(0..3).min(if self.knobs.services { 1 } else { 2 }),
            prepare_deadline: seconds(&mut self.rng, 200),
            activate_deadline: seconds(&mut self.rng, 60),
            hold: self.rng.random_bool(0.3),
            hold_deadline: seconds(&mut self.rng, 60),
            on_failed_activation: match self.rng.random_bool(0.6) {
                true => OnFailedActivation::Rollback,
                false => OnFailedActivation::Keep,
            },
            during: match self.rng.random_range(0..4) {
                0 | 1 => During::Refuse,
                2 => During::Wait,
                _ => During::Replace,
            },
            halt: match self.gate_rng.as_mut().map(|rng| rng.random_range(0..8)) {
                None | Some(0..3) => Halt::Never,
                Some(3) => Halt::Always,
                Some(_) => Halt::Users,
            },
            on_vanished: if self.rng.random_bool(0.5) { OnVanished::Fail } else { OnVanished::GoOn },
            ..Policy::default()
        };
        delivery.policy.judging = self.judging();
        delivery.retention.keep = self.rng.random_range(0..4);
        if self.knobs.services {
            delivery.policy.strategy = self.strategy();
            delivery.policy.pace = self.pace();
        }
        delivery
    }

    /// Some fleets have a judge, by lots of their own.
    fn judging(&mut self) -> Option<Judging> {
        let rng = self.gate_rng.as_mut().filter(|_| self.knobs.services)?;
        let on_unknown = match rng.random_range(0..4) {
            0 => return None,
            1 => OnUnknown::Promote,
            2 => OnUnknown::Rollback,
            _ => OnUnknown::Hold,
        };
        let unknown_max = Duration::from_secs(rng.random_range(5..60));
        let after = Duration::from_secs(rng.random_range(0..20));
        Some(Judging { on_unknown, unknown_max, after, ..Judging::of_requests(Drawn::Request) })
    }

    fn strategy(&mut self) -> Strategy {
        let batch = match self.rng.random_bool(0.5) {
            true => Portion::Count(self.rng.random_range(1..3)),
            false => Portion::Part(Share::from_millionths(self.rng.random_range(100_000..700_000))),
        };
        let ramp = [10_000, 200_000, 500_000].map(Share::from_millionths);
        let ramp = ramp[..self.rng.random_range(1..=3)].to_vec();
        match self.rng.random_range(0..6) {
            0 => Strategy::Barrier,
            1 => Strategy::BlueGreen,
            2 | 3 => Strategy::Canary { ramp, batch },
            _ => Strategy::Rolling { batch },
        }
    }

    fn pace(&mut self) -> Pace {
        let seconds =
            |rng: &mut SmallRng, least: u64, most: u64| Duration::from_secs(rng.random_range(least..most));
        Pace {
            step_deadline: seconds(&mut self.rng, 15, 90),
            drain: seconds(&mut self.rng, 4, 20),
            watch: seconds(&mut self.rng, 0, 10),
            soak: seconds(&mut self.rng, 0, 20),
            failures_max: if self.rng.random_bool(0.3) { self.rng.random_range(1..3) } else { 0 },
            crashes_max: 0,
            alone: self.rng.random_bool(0.25),
            accept: self.rng.random_bool(0.3),
            hold_steps: self.rng.random_bool(0.15),
            surge_max: self.a_few(),
            unavailable_max: self.a_few(),
        }
    }

    fn a_few(&mut self) -> Option<Portion> {
        let few = Portion::Count(self.rng.random_range(1..3));
        self.rng.random_bool(0.1).then_some(few)
    }

    fn order(&mut self, session: Session, seen: &Seen) {
        let by = Order { actor: "ann".parse().unwrap(), reason: None };
        let observation =
            observe(&seen.current.delivery.selector, seen.rollout.as_ref(), &seen.hosts, seen.now);
        let (current, latest) = (&seen.current, seen.rollout.as_ref());
        let command = |command: Command| {
            let actor: Actor = "bob".parse().unwrap();
            latest.and_then(|rollout| fleet::command(current, rollout, &command, actor, seen.now).ok())
        };
        let interrupts = self.knobs.person_interrupts;
        let act = if self.chance(interrupts) {
            self.rng.random_range(0..11)
        } else {
            self.rng.random_range(11..20)
        };
        let records = match act {
            11..17 => {
                let to = self.new_release();
                self.deploy(seen, to, by)
            }
            0 => {
                let to = self.old_release();
                self.deploy(seen, to, by)
            }
            1 => {
                let back = Back { to: None, only: self.some_groups(current) };
                fleet::rollback(current, latest, back, by, &observation).ok()
            }
            2 => {
                let back = Back { to: Some(self.old_release()), only: self.some_groups(current) };
                fleet::rollback(current, latest, back, by, &observation).ok()
            }
            17..20 => command(Command::Promote),
            3 => command(Command::Pause),
            4 | 5 => command(Command::Resume),
            6 => command(Command::Abort),
            7 => return self.cordon(session),
            8 => {
                let cleaned = fleet::clean(current, latest, seen.now).ok().map(|(current, _)| current);
                return self.replace_current(session, cleaned);
            }
            _ => {
                let id = self.old_release().id;
                return self.replace_current(session, fleet::remove(current, latest, &id, seen.now).ok());
            }
        };
        if let Some(records) = records {
            self.record(session, records);
        }
    }

    /// Deploys as `footplate.toml` says, which half of the time is something new.
    fn deploy(&mut self, seen: &Seen, to: Release, by: Order) -> Option<Records> {
        let new = self.rng.random_bool(0.5).then(|| self.delivery());
        let mut delivery = new.unwrap_or_else(|| seen.current.delivery.clone());
        if self.knobs.brings {
            delivery.groups = self.groups.iter().filter(|group| has(&to, group)).cloned().collect();
        }
        let observation = observe(&delivery.selector, seen.rollout.as_ref(), &seen.hosts, seen.now);
        let only = self.some_groups(&seen.current);
        let fix = self.gate_rng.as_mut().and_then(|rng| {
            let despite = rng.random_bool(0.3).then(|| "customers wait".to_owned());
            rng.random_bool(0.1).then_some(Fix { despite })
        });
        if self.mutation != Some(Mutation::PeopleWalkAroundTheGate) {
            seen.door.pass(&path(), &to.id, (&by.actor, fix.as_ref()), seen.now).ok()?;
        }
        let what = Deploy { to, policy: delivery.policy.clone(), delivery, only, fix };
        fleet::deploy(&seen.current, seen.rollout.as_ref(), what, by, &observation).ok()
    }

    /// Chooses one process group of several now and then.
    fn some_groups(&mut self, current: &Current) -> Option<BTreeSet<GroupName>> {
        let chooses = self.groups.len() > 1 && current.track.release.is_some() && !self.calm;
        let chooses = chooses && self.rng.random_bool(0.4);
        let number = chooses.then(|| self.rng.random_range(0..self.groups.len()))?;
        Some(self.groups.iter().nth(number).cloned().into_iter().collect())
    }

    fn record(&mut self, session: Session, records: Records) {
        let guards = record_guards(&self.scene.store, session);
        let gate = door(&self.scene.store, self.now()).gate;
        let gate = records.halts.map(|halted| Value::Gate(Box::new(gate.halt(halted))));
        let mut writes = vec![
            Write::put(Key::Current(path()), Value::Current(Box::new(records.current))),
            Write::put(Key::Rollout(path()), Value::Rollout(Box::new(records.rollout))),
        ];
        writes.extend(gate.map(|gate| Write::put(Key::Gate(path()), gate)));
        self.note(|| "a person gives an order".to_owned());
        if self.write(&Author::Controller(session), &guards, &writes) {
            self.ended.extend(records.replaced);
        }
    }

    /// Opens a halted gate, or locks, unlocks, freezes or unfreezes it for less than a minute.
    fn see_to_the_gate(&mut self, session: Session, gate: &Gate) {
        let now = self.now();
        let Some(rng) = &mut self.gate_rng else { return };
        let by: Actor = ["ann", "bob", "cleo"][rng.random_range(0..3)].parse().unwrap();
        let length = rng.random_range(5..30);
        let act = if gate.halted.is_some() { 4 } else { rng.random_range(0..4) };
        let opening = Opening {
            by: by.clone(),
            at: now,
            whys: vec!["it broke".to_owned()],
            test: Test::Impossible("it is a simulation".to_owned()),
        };
        let next = match act {
            0 => {
                let until = now + Duration::from_secs(length);
                gate.lock(&path(), Lock { owner: by, reason: "a sale".to_owned(), since: now, until })
            }
            1 => gate.freeze(&path(), Freeze { window: window(length), owner: by, since: now }),
            2 => gate.unfreeze(&path(), &"sale".parse().unwrap()),
            3 => gate.unlock(&path(), &by, now),
            _ => gate.open(&path(), None, opening),
        };
        let Ok(next) = next else { return };
        let guards = record_guards(&self.scene.store, session);
        let write = Write::put(Key::Gate(path()), Value::Gate(Box::new(next)));
        self.write(&Author::Controller(session), &guards, &[write]);
    }

    fn replace_current(&mut self, session: Session, current: Option<Current>) {
        let Some(current) = current else { return };
        let guards = record_guards(&self.scene.store, session);
        let write = Write::put(Key::Current(path()), Value::Current(Box::new(current)));
        self.write(&Author::Controller(session), &guards, &[write]);
    }

    fn cordon(&mut self, session: Session) {
        let names = self.host_names();
        let key = Key::HostState(names[self.rng.random_range(0..names.len())].clone());
        let state = HostState {
            restriction: Restriction::Cordoned,
            actor: "bob".parse().unwrap(),
            reason: None,
            since: self.now(),
        };
        let write = match self.scene.store.get(&key) {
            Some(_) => Write::delete(key),
            None => Write::put(key, Value::HostState(state)),
        };
        let guards = [crate::store::Guard::HeldBy(lease(), session)];
        self.write(&Author::Controller(session), &guards, &[write]);
    }

    fn new_release(&mut self) -> Release {
        self.releases += 1;
        self.release(self.releases)
    }

    fn old_release(&mut self) -> Release {
        let newest = self.releases.max(1);
        let number = self.rng.random_range(1..=newest);
        self.release(number)
    }

    /// In a fleet with services every seventh release has none all the same, and in some every third has no worker, and some no web.
    fn release(&self, number: u32) -> Release {
        let version: Version = number.to_string().parse().unwrap();
        let hooks = Hooks::default();
        let lacks = match (number % 3, number % 5) {
            (1, _) if self.knobs.brings => "worker",
            (_, 4) if self.knobs.brings => "web",
            _ => "nothing",
        };
        let workload = if self.knobs.services && number % 7 != 3 {
            let services = [("web", Service::web("serve")), ("worker", Service::worker("work"))];
            let services = services.into_iter().filter(|(group, _)| *group != lacks);
            let services = services.map(|(group, service)| (group.parse().unwrap(), service));
            Workload::Service { hooks, services: services.collect() }
        } else {
            Workload::ReleaseDir(hooks)
        };
        Release::new(path().app, version, workload, Default::default())
    }
}

/// Files are there for all process groups.
fn has(release: &Release, group: &GroupName) -> bool {
    !release.has_services() || release.serves(group)
}

/// A window that freezes for so many seconds of these fleets' calendar.
fn window(seconds: u64) -> Window {
    let to: TimeOfDay = format!("{:02}:{:02}", seconds / 60, seconds % 60).parse().unwrap();
    Window {
        name: "sale".parse().unwrap(),
        days: Days::Days(Weekday::ALL.into()),
        from: TimeOfDay::MIDNIGHT,
        to,
        zone: "UTC".parse().unwrap(),
        reason: "a sale".to_owned(),
    }
}
