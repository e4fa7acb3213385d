//! One lane under a seed: a worker that may die between any two lines, people who press anything, and everything outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::train::{
    Announcement, Command, Effect, Ending, Event, LandAt, Lane, OnSilence, Seen, Settings, Settlement, Stage,
    effects, step,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::mutation::Mutation;
use crate::outside::{Outside, change, is_under_way};
use crate::promises;

pub struct World {
    pub now: Moment,
    pub lane: Lane,
    pub outside: Outside,
    pub mutation: Option<Mutation>,
    pub broken: Option<String>,
    pub ends: BTreeMap<&'static str, u64>,
    /// From which stages trips were taken back.
    pub turned: BTreeSet<Stage>,
    pub settled: bool,
    pub announced: BTreeSet<String>,
    rng: SmallRng,
    calm: bool,
    changes: u64,
    commands: u64,
    /// Effects of workers that are late.
    late: Vec<Effect>,
    /// An older look, which may come again.
    former: Option<Seen>,
    story: Option<Vec<String>>,
}

const START: u64 = 1_000_000_000;

impl World {
    pub fn new(seed: u64, mutation: Option<Mutation>, tells: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let settings = Settings {
            land_at: [LandAt::AfterBuild, LandAt::First, LandAt::AfterCanary, LandAt::AfterRoll]
                [rng.random_range(0..4)],
            batch_max: rng.random_range(1..5),
            ahead_max: rng.random_range(1..5),
            on_silence: if rng.random_bool(0.5) { OnSilence::TakeBack } else { OnSilence::GoWhenProved },
            soak_holds: rng.random_bool(0.2),
            ..Settings::default()
        };
        Self {
            now: Moment::from_millis(START),
            lane: Lane::new("main".parse().unwrap(), settings, Some("v0".parse().unwrap())),
            outside: Outside {
                troubled: seed.is_multiple_of(5),
                ..Outside::new(SmallRng::seed_from_u64(seed ^ 0x6f75_7473), mutation)
            },
            mutation,
            broken: None,
            ends: BTreeMap::new(),
            turned: BTreeSet::new(),
            settled: false,
            announced: BTreeSet::new(),
            rng,
            calm: false,
            changes: 0,
            commands: 0,
            late: Vec::new(),
            former: None,
            story: tells.then(Vec::new),
        }
    }

    /// Lets everything happen, then nothing go wrong any more, and returns what was broken, if anything.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..400 {
            self.turn();
            if self.broken.is_some() {
                break;
            }
        }
        (self.calm, self.outside.calm) = (true, true);
        for _ in 0..6000 {
            let is_at_rest = self.lane.trips.is_empty() && self.lane.queue.is_empty();
            if self.broken.is_some() || is_at_rest && self.lane.leftovers.is_empty() {
                break;
            }
            self.turn();
        }
        if self.broken.is_none() {
            self.broken = promises::at_the_end(self).err();
        }
        self.broken.take().map_or(Ok(()), Err)
    }

    pub fn story(&self) -> String {
        self.story.as_deref().unwrap_or_default().join("\n")
    }

    pub fn break_(&mut self, how: String) {
        self.broken.get_or_insert(how);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now.as_millis() - START;
        if let Some(story) = &mut self.story {
            story.push(format!("{:>8} s  {}", now / 1000, what()));
        }
    }

    fn chance(&mut self, chance: f64) -> bool {
        !self.calm && self.rng.random_bool(chance)
    }

    fn turn(&mut self) {
        self.now = self.now + Duration::from_secs(self.rng.random_range(1..120));
        self.outside.pass(self.now);
        self.people();
        self.work();
        if self.chance(0.1) && !self.late.is_empty() {
            let at = self.rng.random_range(0..self.late.len());
            let effect = self.late.remove(at);
            self.note(|| format!("late: {} (fence {})", effect.key, effect.fence));
            self.carry_out(&effect);
        }
        let broken = self.outside.broken.take();
        self.broken = self.broken.take().or(broken);
    }

    /// The worker looks, decides, writes and does, and may die in between.
    fn work(&mut self) {
        if self.chance(0.1) {
            return;
        }
        if self.chance(0.05) {
            self.note(|| "another worker takes over".to_owned());
            self.decide(&Event::TakenOver, None);
        }
        let asked = effects(&self.lane).into_iter().map(|effect| effect.key).collect();
        let mut seen = self.outside.seen(self.now, &asked);
        let former = self.former.clone();
        if let Some(former) = former.filter(|_| self.chance(0.05)) {
            self.note(|| "an older look comes again".to_owned());
            self.decide(&Event::Observed(former), None);
        }
        if self.chance(0.2) {
            self.former = Some(seen.clone());
        }
        let fresh = seen.clone();
        if let Some(mutation) = self.mutation {
            mutation.blur(&mut seen);
        }
        self.decide(&Event::Observed(seen), Some(&fresh));
    }

    /// Takes a step with the lane. `fresh` is what the world is like, when the event is a look at it.
    fn decide(&mut self, event: &Event, fresh: Option<&Seen>) -> bool {
        let before = self.lane.clone();
        let Ok(mut step) = step(&before, event) else { return false };
        if let Some(mutation) = self.mutation {
            mutation.spoil(&before, &mut step.next);
            step.effects = effects(&step.next);
            if mutation.acts_early(&step.effects) && self.rng.random_bool(0.3) {
                step.effects.clone().iter().for_each(|effect| self.carry_out(effect));
                return true;
            }
        }
        if self.chance(0.03) {
            self.note(|| "the worker dies before it writes".to_owned());
            return true;
        }
        self.lane = step.next;
        self.hear(&before, &step.said);
        if let Err(how) = promises::of_step(self, &before, event, fresh) {
            self.break_(how);
        }
        for effect in step.effects {
            if self.chance(0.03) {
                self.note(|| "the worker dies between two effects".to_owned());
                return true;
            }
            if self.chance(0.05) {
                self.late.push(effect);
                continue;
            }
            self.carry_out(&effect);
            if self.chance(0.05) {
                self.carry_out(&effect);
            }
        }
        true
    }

    fn carry_out(&mut self, effect: &Effect) {
        let is_heard = effect.fence >= self.outside.fence;
        let judged = promises::of_effect(self, effect);
        if let Some(how) = judged.err().filter(|_| is_heard) {
            self.break_(how);
        }
        self.outside.perform(effect, self.now);
    }

    fn hear(&mut self, before: &Lane, said: &[Announcement]) {
        for one in said {
            self.announced.insert(one.text.clone());
            self.note(|| one.text.clone());
        }
        let count = said.len().min(self.lane.ended.len());
        let ended = &self.lane.ended[self.lane.ended.len() - count..];
        for ended in ended.iter().filter(|ended| !before.ended.contains(ended)) {
            let word = match &ended.ending {
                Ending::Done { by: Some(_) } => "confirmed",
                Ending::Done { by: None } => "done",
                Ending::RolledBack { .. } => "rolled back",
                Ending::Ejected { .. } => "ejected",
                Ending::Cancelled { .. } => "cancelled",
                Ending::Refused { .. } => "refused",
                Ending::Settled { .. } => "settled",
            };
            *self.ends.entry(word).or_default() += 1;
        }
        for trip in &self.lane.trips {
            let former = before.trip(trip.number);
            if let Some(former) = former.filter(|former| trip.state.goes_back() && !former.state.goes_back())
            {
                self.turned.insert(former.state.stage());
            }
        }
    }

    fn people(&mut self) {
        if self.chance(0.08) {
            self.arrive();
        }
        if self.chance(0.01) {
            self.note(|| "somebody pushes to the mainline".to_owned());
            self.outside.push_by_hand();
        }
        if self.outside.door.gate.halted.is_some() && (self.calm || self.chance(0.05)) {
            self.outside.door.gate.halted = None;
        }
        if self.chance(0.02) {
            self.withdraw();
        }
        let presses = if self.calm { self.rng.random_bool(0.2) } else { self.rng.random_bool(0.15) };
        if let Some(command) = self.command().filter(|_| presses) {
            self.order(command);
        }
    }

    fn arrive(&mut self) {
        self.changes += 1;
        let number = self.changes;
        let fault = crate::outside::Fault {
            conflicts: self.rng.random_bool(0.06),
            breaks_builds: self.rng.random_bool(0.12),
            does_harm: self.rng.random_bool(0.12),
        };
        let change = change(number, 0, self.rng.random_bool(0.15));
        let seen = footplate_core::train::ChangeSeen { is_open: true, head: change.head.clone() };
        self.outside.faults.insert(change.id.clone(), fault);
        self.outside.changes.insert(change.id.clone(), seen);
        let drafts = self.rng.random_bool(0.1);
        self.order(if drafts { Command::Draft(change.clone()) } else { Command::Queue(change.clone()) });
    }

    /// Somebody closes a pull request, or pushes to it.
    fn withdraw(&mut self) {
        let ids: Vec<_> = self.outside.changes.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.rng.random_range(0..ids.len())].clone();
        let closes = self.rng.random_bool(0.5);
        let head = format!("h{id}-{}", self.now.as_millis()).parse().unwrap();
        let seen = self.outside.changes.get_mut(&id).unwrap();
        if closes {
            seen.is_open = false;
        } else {
            seen.head = head;
        }
    }

    /// Draws something that a person does; in a calm lane only what it asks for.
    fn command(&mut self) -> Option<Command> {
        if self.lane.trips.is_empty() && self.lane.queue.is_empty() {
            return None;
        }
        let trip = match self.lane.trips.len() {
            0 => None,
            count => Some(self.lane.trips[self.rng.random_range(0..count)].clone()),
        };
        let reason = if self.chance(0.1) { String::new() } else { "it must".to_owned() };
        let draw = self.rng.random_range(0..12);
        if self.calm {
            return trip.and_then(|trip| match trip.state.stage() {
                Stage::CanaryWatching => Some(Command::Well(trip.number)),
                Stage::Held => Some(Command::Resume(trip.number)),
                Stage::Stuck => Some(Command::Settle { trip: trip.number, settlement: Settlement::Again }),
                _ => None,
            });
        }
        if let Some(queued) = self.lane.queue.first().filter(|_| draw == 0) {
            let id = queued.change.id.clone();
            return Some(if self.rng.random_bool(0.5) {
                Command::Cancel(id)
            } else {
                Command::Front { change: id, reason }
            });
        }
        let trip = trip?;
        let number = trip.number;
        Some(match draw {
            1 => Command::TakeBack { trip: number, reason },
            2 => Command::Hold { trip: number, reason },
            3 => Command::Resume(number),
            4 if self.rng.random_bool(0.2) => Command::SkipGreen { trip: number, reason, has_artifact: true },
            5 if self.rng.random_bool(0.3) => Command::SkipCanary { trip: number, reason },
            6 => Command::Retry { trip: number, only_failed: true },
            7 => Command::Cancel(trip.changes[0].id.clone()),
            8 if trip.state.stage() == Stage::Stuck && self.rng.random_bool(0.5) => {
                let settlement = Settlement::AsItIs { note: reason };
                Command::Settle { trip: number, settlement }
            }
            8 => Command::Settle { trip: number, settlement: Settlement::Again },
            9 => Command::Confirm(number),
            _ => Command::Well(number),
        })
    }

    fn order(&mut self, command: Command) {
        self.commands += 1;
        let (key, now) = (self.commands.to_string(), self.now);
        let actor = ["ann", "bob"][self.rng.random_range(0..2)].parse().unwrap();
        self.note(|| format!("{actor} orders {command:?}"));
        let is_settled = matches!(&command, Command::Settle { settlement: Settlement::AsItIs { .. }, .. });
        let event = Event::Commanded { key, command, actor, now };
        let twice = self.chance(0.2);
        let before = self.lane.clone();
        if self.decide(&event, None) && is_settled && before.trips.len() > self.lane.trips.len() {
            let ended = before.trips.iter().find(|trip| self.lane.trip(trip.number).is_none());
            self.outside.mend_by_hand(ended.unwrap());
            self.settled = true;
        }
        if twice && self.lane != before {
            let once = self.lane.clone();
            match step(&once, &event) {
                Ok(again) if again.next == once => {}
                _ => self.break_(format!("an order that came twice was not obeyed once: {event:?}")),
            }
        }
    }

    /// Tells whether a rollout is still moving.
    pub fn rolls(&self) -> bool {
        self.outside.rollouts.values().any(|rolling| is_under_way(&rolling.at))
    }
}
