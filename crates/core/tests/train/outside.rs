//! Everything outside of a lane, simulated: a source with its mainline, builders, and production with its gate.
//!
//! The rules that the core relies on: what carries a lower fence than was heard is refused; a key is carried out once; the mainline is
//! moved only from where it is expected, or merged; a revert is a new commit; undoing what never happened is well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::gate::{Door, Halted};
use footplate_core::moment::Moment;
use footplate_core::name::{ChangeId, Version};
use footplate_core::train::{
    Base, Change, ChangeSeen, Deed, Effect, Moving, Reach, Seen, Trip, Undo, Work, WorkKey,
};
use footplate_core::verdict::Standing;
use rand::Rng;
use rand::rngs::SmallRng;

use crate::mutation::Mutation;
use crate::stage::shop;

/// A commit: what it was made upon, and what changes it holds.
#[derive(Clone, Debug)]
pub struct Commit {
    pub parent: Option<Version>,
    pub holds: BTreeSet<ChangeId>,
}

/// What is wrong with a change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fault {
    pub conflicts: bool,
    pub breaks_builds: bool,
    pub does_harm: bool,
}

/// A rollout: what it moves production to, from what, and how far it is.
#[derive(Clone, Debug)]
pub struct Rolling {
    pub to: Version,
    pub reach: Reach,
    pub at: Moving,
    /// Whether users had it, ever.
    pub met_users: bool,
}

/// A work under way: it ends then, as this. Its fence is looked at once more when it takes effect.
pub struct Pending {
    at: Moment,
    work: Work,
    deed: Deed,
    trip: Option<u64>,
    fence: u64,
}

pub struct Outside {
    pub rng: SmallRng,
    pub calm: bool,
    /// Whether little can be undone at once.
    pub troubled: bool,
    pub mutation: Option<Mutation>,
    pub fence: u64,
    pub commits: BTreeMap<Version, Commit>,
    pub mainline: Version,
    pub faults: BTreeMap<ChangeId, Fault>,
    pub changes: BTreeMap<ChangeId, ChangeSeen>,
    pub works: BTreeMap<WorkKey, Work>,
    /// What ends later, and as what.
    pub pending: BTreeMap<WorkKey, Pending>,
    /// What each trip landed.
    pub landed: BTreeMap<u64, BTreeSet<ChangeId>>,
    pub green: BTreeSet<Version>,
    /// What production ran wholly, and what it runs wherever no rollout has been.
    pub whole: BTreeSet<Version>,
    pub production: Version,
    pub rollouts: BTreeMap<WorkKey, Rolling>,
    pub door: Door,
    /// The trips whose undoing was begun.
    pub undone: BTreeSet<u64>,
    pub broken: Option<String>,
    pub count: u64,
}

impl Outside {
    pub fn new(rng: SmallRng, mutation: Option<Mutation>) -> Self {
        let first: Version = "v0".parse().unwrap();
        Self {
            rng,
            calm: false,
            troubled: false,
            mutation,
            fence: 0,
            commits: BTreeMap::from([(first.clone(), Commit { parent: None, holds: BTreeSet::new() })]),
            mainline: first.clone(),
            faults: BTreeMap::new(),
            changes: BTreeMap::new(),
            works: BTreeMap::new(),
            pending: BTreeMap::new(),
            landed: BTreeMap::new(),
            green: BTreeSet::new(),
            whole: BTreeSet::from([first.clone()]),
            production: first,
            rollouts: BTreeMap::new(),
            door: Door::default(),
            undone: BTreeSet::new(),
            broken: None,
            count: 0,
        }
    }

    pub fn chance(&mut self, chance: f64) -> bool {
        let chance = if self.calm { 0.0 } else { chance };
        self.rng.random_bool(chance)
    }

    pub fn seen(&self, now: Moment, asked: &BTreeSet<WorkKey>) -> Seen {
        let known =
            self.works.iter().filter(|(key, _)| asked.contains(key) || key.as_str().contains("/build/"));
        let mut works: BTreeMap<WorkKey, Work> =
            known.map(|(key, work)| (key.clone(), work.clone())).collect();
        for (key, rolling) in &self.rollouts {
            works.insert(key.clone(), Work::Moving(BTreeMap::from([(shop(), rolling.at.clone())])));
        }
        let doors = BTreeMap::from([(shop(), self.door.clone())]);
        Seen { now, doors, changes: self.changes.clone(), works }
    }

    pub fn contains(&self, commit: &Version, other: &Version) -> bool {
        let mut at = Some(commit.clone());
        while let Some(here) = at {
            if here == *other {
                return true;
            }
            at = self.commits[&here].parent.clone();
        }
        false
    }

    fn commit(&mut self, parent: &Version, holds: BTreeSet<ChangeId>) -> Version {
        self.count += 1;
        let version: Version = format!("c{}", self.count).parse().unwrap();
        self.commits.insert(version.clone(), Commit { parent: Some(parent.clone()), holds });
        version
    }

    fn break_(&mut self, how: String) {
        self.broken.get_or_insert(how);
    }

    /// Carries out what is owed, unless it is too old or was carried out before.
    pub fn perform(&mut self, effect: &Effect, now: Moment) {
        let ignores = self.mutation == Some(Mutation::OutsideIgnoresTheFence);
        if effect.fence < self.fence && !ignores {
            return;
        }
        self.fence = self.fence.max(effect.fence);
        let is_undo = matches!(effect.deed, Deed::Undo(_));
        if let Some(trip) = effect.trip.filter(|trip| !is_undo && self.undone.contains(trip)) {
            self.break_(format!("`{}` was carried out after trip {trip} began to go back", effect.key));
        }
        if let Deed::Roll { to, reach, .. } = &effect.deed {
            return self.roll(&effect.key, to, *reach);
        }
        if self.works.contains_key(&effect.key) {
            if let Some(pending) = self.pending.get_mut(&effect.key) {
                pending.fence = pending.fence.max(effect.fence);
            }
            return;
        }
        self.undone.extend(effect.trip.filter(|_| is_undo));
        let longest = if matches!(effect.deed, Deed::Check(_)) { 60 } else { 400 };
        let lasts = Duration::from_secs(self.rng.random_range(1..longest));
        let (lasts, work) = self.outcome(&effect.deed, lasts);
        self.works.insert(effect.key.clone(), Work::Running { has_artifact: false });
        let (at, deed) = (now + lasts, effect.deed.clone());
        let pending = Pending { at, work, deed, trip: effect.trip, fence: effect.fence };
        self.pending.insert(effect.key.clone(), pending);
    }

    /// Draws how a work will end and when; what it does is done then.
    fn outcome(&mut self, deed: &Deed, lasts: Duration) -> (Duration, Work) {
        let failed = Work::Failed { why: "no answer".to_owned() };
        let hangs = self.chance(0.02);
        let lasts = if hangs { Duration::from_secs(86_400) } else { lasts };
        let red = |why: &str, is_flaky| Work::Red { why: why.to_owned(), is_flaky, has_artifact: true };
        let work = match deed {
            Deed::Undo(_) if self.troubled && self.chance(0.6) => failed,
            _ if self.chance(0.05) => failed,
            Deed::Check(_) if self.chance(0.05) => red("nobody reviewed it", false),
            Deed::Build { commit, .. } => {
                let holds = self.commits[commit].holds.clone();
                let breaks = holds.iter().any(|id| self.faults[id].breaks_builds);
                match breaks {
                    true => red("a test fails", false),
                    false if self.chance(0.1) => red("a test flickers", true),
                    false => Work::Passed,
                }
            }
            Deed::Qualify(_) if self.chance(0.05) => red("it is slow", false),
            Deed::Undo(Undo::Landed) if self.chance(0.05) => {
                Work::Conflict { change: "other".parse().unwrap(), why: "changed the same lines".to_owned() }
            }
            Deed::Undo(_) => Work::Undone,
            _ => Work::Passed,
        };
        (lasts, work)
    }

    /// Lets time pass: what is over by now has its end.
    pub fn pass(&mut self, now: Moment) {
        let is_over = |(_, pending): &(&WorkKey, &Pending)| pending.at <= now;
        let over: Vec<WorkKey> = self.pending.iter().filter(is_over).map(|(key, _)| key.clone()).collect();
        for key in over {
            let Pending { work, deed, trip, fence, .. } = self.pending.remove(&key).unwrap();
            if fence < self.fence && self.mutation != Some(Mutation::OutsideIgnoresTheFence) {
                self.works.remove(&key);
                continue;
            }
            // What failed may have been done all the same.
            let was_done = !matches!(work, Work::Failed { .. }) || self.chance(0.3);
            let work = match (was_done, work) {
                (true, Work::Passed | Work::Undone) => self.finish(&deed, trip),
                (true, Work::Failed { why }) => {
                    self.finish(&deed, trip);
                    Work::Failed { why }
                }
                (_, work) => work,
            };
            self.works.insert(key, work);
        }
        self.move_on();
    }

    fn finish(&mut self, deed: &Deed, trip: Option<u64>) -> Work {
        match deed {
            Deed::Check(_) | Deed::Qualify(_) => Work::Passed,
            Deed::Prepare { base, changes } => self.prepare(base, changes),
            Deed::Build { commit, .. } => {
                self.green.insert(commit.clone());
                Work::Passed
            }
            Deed::Land { from, to, merges } => self.land(from, to, *merges, trip.unwrap()),
            Deed::Undo(Undo::Landed) => self.revert(trip.unwrap()),
            Deed::Undo(Undo::Rollout { to }) => self.take_back(to.as_ref(), trip.unwrap()),
            Deed::Undo(_) => Work::Undone,
            Deed::Roll { .. } => unreachable!("rollouts go their own way"),
        }
    }

    fn prepare(&mut self, base: &Base, changes: &[(ChangeId, Version)]) -> Work {
        let base = match base {
            Base::Mainline => self.mainline.clone(),
            Base::Candidate(commit) => commit.clone(),
        };
        if let Some((change, _)) = changes.iter().find(|(id, _)| self.faults[id].conflicts) {
            return Work::Conflict { change: change.clone(), why: "changed the same lines".to_owned() };
        }
        let mut holds = self.commits[&base].holds.clone();
        holds.extend(changes.iter().map(|(id, _)| id.clone()));
        let commit = self.commit(&base, holds);
        Work::Made { base, commit }
    }

    fn land(&mut self, from: &Version, to: &Version, merges: bool, trip: u64) -> Work {
        let careless = self.mutation == Some(Mutation::OutsideLandsAnywhere);
        let brings = |outside: &Self| -> BTreeSet<ChangeId> {
            outside.commits[to].holds.difference(&outside.commits[&outside.mainline].holds).cloned().collect()
        };
        let tip = if self.contains(&self.mainline, to) {
            self.mainline.clone()
        } else if self.mainline == *from || careless {
            let brought = brings(self);
            self.landed.entry(trip).or_default().extend(brought);
            to.clone()
        } else if merges {
            let brought = brings(self);
            self.landed.entry(trip).or_default().extend(brought);
            let holds = self.commits[&self.mainline].holds.union(&self.commits[to].holds).cloned().collect();
            let mainline = self.mainline.clone();
            self.commit(&mainline, holds)
        } else {
            return Work::Moved;
        };
        self.set_mainline(&tip);
        Work::Landed { tip }
    }

    fn revert(&mut self, trip: u64) -> Work {
        let Some(brought) = self.landed.remove(&trip) else { return Work::Undone };
        let mainline = self.mainline.clone();
        let holds = self.commits[&mainline].holds.difference(&brought).cloned().collect();
        let tip = match self.mutation {
            Some(Mutation::OutsideMovesTheMainlineBack) => "v0".parse().unwrap(),
            _ => self.commit(&mainline, holds),
        };
        self.set_mainline(&tip);
        Work::Undone
    }

    pub fn set_mainline(&mut self, tip: &Version) {
        if !self.contains(tip, &self.mainline) {
            self.break_(format!(
                "the mainline went from `{}` to `{tip}`, which does not hold it",
                self.mainline
            ));
        }
        self.mainline = tip.clone();
    }

    /// Somebody takes a trip's rollout back by hand.
    pub fn mend_by_hand(&mut self, trip: &Trip) {
        for undo in &trip.undo {
            if let Undo::Rollout { to } = undo {
                self.take_back(to.as_ref(), trip.number);
            }
        }
    }

    /// Somebody pushes to the mainline by hand.
    pub fn push_by_hand(&mut self) {
        let mainline = self.mainline.clone();
        let holds = self.commits[&mainline].holds.clone();
        let tip = self.commit(&mainline, holds);
        self.set_mainline(&tip);
    }

    fn roll(&mut self, key: &WorkKey, to: &Version, reach: Reach) {
        if let Some(rolling) = self.rollouts.get_mut(key) {
            rolling.reach = reach;
            return;
        }
        if let Some((other, _)) = self.rollouts.iter().find(|(_, other)| is_under_way(&other.at)) {
            let how = format!("`{key}` began while `{other}` was under way");
            return self.break_(how);
        }
        let at = Moving::Starting;
        let rolling = Rolling { to: to.clone(), reach, at, met_users: false };
        self.rollouts.insert(key.clone(), rolling);
    }

    /// Moves every rollout a little, as far as it may go.
    fn move_on(&mut self) {
        let keys: Vec<WorkKey> = self.rollouts.keys().cloned().collect();
        for key in keys {
            let (moves, turn) = (self.rng.random_bool(0.3), self.rng.random_range(0..3u32));
            let rolling = self.rollouts[&key].clone();
            let does_harm = self.commits[&rolling.to].holds.iter().any(|id| self.faults[id].does_harm)
                && self.chance(0.5);
            let bad = Moving::Bad { why: "it is worse".to_owned() };
            let next = match (&rolling.at, rolling.reach) {
                _ if !moves || rolling.reach == Reach::Stay => continue,
                (Moving::Starting, _) if self.chance(0.05) => {
                    Moving::Bad { why: "it did not start".to_owned() }
                }
                (Moving::Starting, _) => Moving::Canary { standing: Standing::Unknown, there: 0 },
                (Moving::Canary { .. } | Moving::Rolling { .. }, _) if does_harm => bad,
                (Moving::Canary { .. }, Reach::Everywhere) => Moving::Rolling { there: 1 },
                (Moving::Canary { .. }, _) => match turn {
                    0 => Moving::Canary { standing: Standing::NotWorse, there: 0 },
                    _ => continue,
                },
                (Moving::Rolling { there }, _) if *there < 4 => Moving::Rolling { there: there + 1 },
                (Moving::Rolling { .. }, _) => Moving::Arrived,
                (Moving::Arrived, _) if does_harm && self.chance(0.1) => bad,
                (Moving::Arrived | Moving::Bad { .. }, _) => continue,
            };
            if next == Moving::Arrived {
                self.whole.insert(rolling.to.clone());
                self.production = rolling.to.clone();
            }
            let rolling = self.rollouts.get_mut(&key).unwrap();
            rolling.met_users |= next != Moving::Starting;
            rolling.at = next;
        }
    }

    fn take_back(&mut self, to: Option<&Version>, trip: u64) -> Work {
        let suffix = format!("/{trip}/roll");
        let Some(key) = self.rollouts.keys().find(|key| key.as_str().ends_with(&suffix)).cloned() else {
            return Work::Undone;
        };
        let rolling = self.rollouts.remove(&key).unwrap();
        if let Some(to) = to {
            if !self.whole.contains(to) {
                self.break_(format!("trip {trip} went back to `{to}`, which production never ran wholly"));
            }
            self.production = to.clone();
        }
        if rolling.met_users && !self.calm {
            self.door.gate.halted = Some(halted(trip));
        }
        Work::Undone
    }
}

pub fn is_under_way(at: &Moving) -> bool {
    !matches!(at, Moving::Arrived)
}

fn halted(trip: u64) -> Halted {
    Halted {
        rollout: trip,
        release: "c0".parse().unwrap(),
        since: Moment::default(),
        sentence: "it was worse".to_owned(),
        output: String::new(),
        is_judged: false,
        fixed_by: None,
    }
}

/// Returns a change of this number, by one of three authors.
pub fn change(number: u64, head: u64, fix: bool) -> Change {
    Change {
        id: number.to_string().parse().unwrap(),
        head: format!("h{number}-{head}").parse().unwrap(),
        author: ["ann", "bob", "eve"][number as usize % 3].parse().unwrap(),
        apps: BTreeSet::from([shop()]),
        fix: fix.then(Default::default),
        migrates: number.is_multiple_of(11),
    }
}
