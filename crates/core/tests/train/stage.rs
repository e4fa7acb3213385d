//! The stage of the stories: one lane, a clock, what is known of each work, and a look after every line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::gate::{Door, Fix, Halted};
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, ChangeId, Version};
use footplate_core::refusal::Refusal;
use footplate_core::train::{
    Base, Change, ChangeSeen, Command, Deed, Effect, Event, LandAt, Lane, Moving, OnSilence, Reach, Seen,
    Settings, Settlement, Span, Stage as At, Typical, Undo, Work, WorkKey, effects, eta, step, why_waiting,
};
use footplate_core::verdict::Standing;

/// Plays the lines and returns them with what was said to each, indented.
pub fn play<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut stage = Stage::new();
    let mut told = Vec::new();
    for line in lines {
        told.push(line.to_owned());
        let before = stage.said.len();
        stage.perform(line);
        stage.look();
        told.extend(stage.said[before..].iter().map(|line| format!("  {line}")));
    }
    told.join("\n")
}

struct Stage {
    lane: Lane,
    now: Moment,
    works: BTreeMap<WorkKey, Work>,
    changes: BTreeMap<ChangeId, ChangeSeen>,
    door: Door,
    said: Vec<String>,
    commands: u32,
}

pub fn shop() -> AppPath {
    AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() }
}

impl Stage {
    fn new() -> Self {
        let settings = Settings { batch_max: 1, ..Settings::default() };
        Self {
            lane: Lane::new("main".parse().unwrap(), settings, Some("v0".parse().unwrap())),
            now: Moment::default(),
            works: BTreeMap::new(),
            changes: BTreeMap::new(),
            door: Door::default(),
            said: Vec::new(),
            commands: 0,
        }
    }

    fn perform(&mut self, line: &str) {
        let (line, reason) = match line.split_once(" because ") {
            Some((line, reason)) => (line, reason.to_owned()),
            None => (line, String::new()),
        };
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["settings", word] => self.set(word),
            ["batch", size] => self.lane.settings.batch_max = size.parse().unwrap(),
            ["wait", minutes] => self.now = self.now + Duration::from_secs(60 * minutes.parse::<u64>().unwrap()),
            ["halt"] => self.door.gate.halted = Some(halted()),
            ["open"] => self.door.gate.halted = None,
            ["closes", change] => self.seen(change).is_open = false,
            ["pushes", change, head] => self.seen(change).head = head.parse().unwrap(),
            ["owed"] => self.said.extend(effects(&self.lane).iter().map(owed)),
            ["why", id] => {
                let why = why_waiting(&self.lane, &id.parse().unwrap(), &self.snapshot());
                self.said.push(why.unwrap_or_else(|| "it is not on its way".to_owned()));
            }
            ["eta", id] => self.said.push(match eta(&self.lane, &id.parse().unwrap(), &typical(), self.now) {
                Ok(eta) => eta.sentence(self.now),
                Err(why) => format!("nobody knows: {why}"),
            }),
            ["line"] => self.said.push(self.line()),
            ["verified"] => self.said.push(self.lane.verified.as_ref().map_or("nothing", Version::as_str).to_owned()),["queue", ids @ ..] => ids.iter().for_each(|id| {
                self.command(Command::Queue(change(id)));
                self.look();
                let key = self.key(|effect| matches!(&effect.deed, Deed::Check(change) if change.id.as_str() == id.trim_end_matches('!')));
                self.works.insert(key, Work::Passed);
                self.look();
            }),
            _ if self.answer(&words, &reason) => {}
            _ => self.person(&words, reason),
        }
    }

    fn set(&mut self, word: &str) {
        match word {
            "after_build" => self.lane.settings.land_at = LandAt::AfterBuild,
            "first" => self.lane.settings.land_at = LandAt::First,
            "after_canary" => self.lane.settings.land_at = LandAt::AfterCanary,
            "after_roll" => self.lane.settings.land_at = LandAt::AfterRoll,
            "proved" => self.lane.settings.on_silence = OnSilence::GoWhenProved,
            other => panic!("no setting is called `{other}`"),
        }
    }

    /// Gives the answer to what is owed to a trip, when the line is one.
    fn answer(&mut self, words: &[&str], why: &str) -> bool {
        let why = why.to_owned();
        let version = |text: &str| -> Version { text.parse().unwrap() };
        let (verb, trip) = (words[0], words.get(1).and_then(|trip| trip.parse::<u64>().ok()));
        let moving = |moving| Work::Moving(BTreeMap::from([(shop(), moving)]));
        let (deed, work) = match (verb, words.get(2..).unwrap_or_default()) {
            ("made", [base, commit]) => {
                ("prepare", Work::Made { base: version(base), commit: version(commit) })
            }
            ("conflict", [id]) => ("prepare", Work::Conflict { change: id.parse().unwrap(), why }),
            ("builds", []) => ("build", Work::Passed),
            ("red", []) => ("build", Work::Red { why, is_flaky: false, has_artifact: true }),
            ("flaky", []) => ("build", Work::Red { why, is_flaky: true, has_artifact: true }),
            ("qualifies", []) => ("qualify", Work::Passed),
            ("lands", [tip]) => ("land", Work::Landed { tip: version(tip) }),
            ("moved", []) => ("land", Work::Moved),
            ("canary", ["unknown"]) => {
                ("roll", moving(Moving::Canary { standing: Standing::Unknown, there: 0 }))
            }
            ("canary", ["proved"]) => {
                ("roll", moving(Moving::Canary { standing: Standing::NotWorse, there: 0 }))
            }
            ("canary", ["worse"]) => ("roll", moving(Moving::Canary { standing: Standing::Worse, there: 0 })),
            ("rolls", [there]) => ("roll", moving(Moving::Rolling { there: there.parse().unwrap() })),
            ("arrives", []) => ("roll", moving(Moving::Arrived)),
            ("bad", []) => ("roll", moving(Moving::Bad { why })),
            ("undone", []) => ("undo", Work::Undone),
            ("unrevertable", [id]) => ("undo", Work::Conflict { change: id.parse().unwrap(), why }),
            ("fails", [deed]) => (*deed, Work::Failed { why }),
            _ => return false,
        };
        let key = match deed {
            "roll" => format!("main/{}/roll", trip.unwrap()),
            _ => self.key(|effect| effect.trip == trip && name(&effect.deed) == deed).to_string(),
        };
        self.works.insert(serde_json::from_value(key.into()).unwrap(), work);
        true
    }

    fn person(&mut self, words: &[&str], reason: String) {
        let number = |text: &str| text.parse::<u64>().unwrap();
        let command = match words {
            ["cancel", id] => Command::Cancel(id.parse().unwrap()),
            ["front", id] => Command::Front { change: id.parse().unwrap(), reason },
            ["retry", trip] => Command::Retry { trip: number(trip), only_failed: true },
            ["skip-green", trip] => Command::SkipGreen { trip: number(trip), reason, has_artifact: true },
            ["skip-canary", trip] => Command::SkipCanary { trip: number(trip), reason },
            ["well", trip] => Command::Well(number(trip)),
            ["confirm", trip] => Command::Confirm(number(trip)),
            ["hold", trip] => Command::Hold { trip: number(trip), reason },
            ["resume", trip] => Command::Resume(number(trip)),
            ["back", trip] => Command::TakeBack { trip: number(trip), reason },
            ["again", trip] => Command::Settle { trip: number(trip), settlement: Settlement::Again },
            ["settle", trip] => {
                Command::Settle { trip: number(trip), settlement: Settlement::AsItIs { note: reason } }
            }
            _ => panic!("no line begins like this: {words:?}"),
        };
        self.command(command);
    }

    fn command(&mut self, command: Command) {
        self.commands += 1;
        let (key, actor) = (self.commands.to_string(), "ann".parse().unwrap());
        match self.step(&Event::Commanded { key, command, actor, now: self.now }) {
            Ok(()) => {}
            Err(Refusal { what, because, next }) => {
                self.said.extend([
                    format!("error: {what}"),
                    format!("because: {because}"),
                    format!("next: {next}"),
                ]);
            }
        }
    }

    fn look(&mut self) {
        let seen = Event::Observed(self.snapshot());
        for _ in 0..10 {
            let before = self.lane.clone();
            self.step(&seen).unwrap();
            if before == self.lane {
                return;
            }
        }
        panic!("the lane does not come to rest: {:?}", self.lane.trips);
    }

    fn snapshot(&self) -> Seen {
        let doors = BTreeMap::from([(shop(), self.door.clone())]);
        Seen { now: self.now, doors, changes: self.changes.clone(), works: self.works.clone() }
    }

    fn step(&mut self, event: &Event) -> Result<(), Refusal> {
        let step = step(&self.lane, event)?;
        self.lane = step.next;
        self.said.extend(step.said.into_iter().map(|said| said.text));
        Ok(())
    }

    fn key(&self, is: impl Fn(&Effect) -> bool) -> WorkKey {
        let owed = effects(&self.lane);
        let found = owed.iter().find(|effect| is(effect)).map(|effect| effect.key.clone());
        found.unwrap_or_else(|| serde_json::from_value("nobody asks for this".into()).unwrap())
    }

    fn seen(&mut self, id: &str) -> &mut ChangeSeen {
        let id: ChangeId = id.parse().unwrap();
        let head = change(id.as_str()).head;
        self.changes.entry(id).or_insert(ChangeSeen { is_open: true, head })
    }

    fn line(&self) -> String {
        let ids = |trip: &footplate_core::train::Trip| {
            trip.changes.iter().map(|change| change.id.to_string()).collect::<Vec<_>>().join("+")
        };
        let trips = self
            .lane
            .trips
            .iter()
            .map(|trip| format!("{}:{} {}", trip.number, ids(trip), trip.state.stage().word()));
        let queue = self
            .lane
            .queue
            .iter()
            .map(|queued| format!("{} {}", queued.change.id, queued.place.stage().word()));
        let all: Vec<String> = trips.chain(queue).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    }
}

/// Returns a change of this name; `!` behind it marks it as a fix.
fn change(id: &str) -> Change {
    let (id, is_fix) = (id.trim_end_matches('!'), id.ends_with('!'));
    Change {
        id: id.parse().unwrap(),
        head: format!("h{id}").parse().unwrap(),
        author: "ann".parse().unwrap(),
        apps: BTreeSet::from([shop()]),
        fix: is_fix.then(Fix::default),
        migrates: false,
    }
}

/// Returns how long stages take: half of them as many minutes, nine of ten twice as many; six of a hundred changes are at fault.
fn typical() -> Typical {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let stages = [
        (At::Preparing, 1),
        (At::Building, 15),
        (At::CanaryStarting, 1),
        (At::CanaryWatching, 7),
        (At::Rolling, 8),
    ];
    let span = |count| Span { median: minutes(count), nine_of_ten: minutes(2 * count) };
    let stages = stages.into_iter().map(|(stage, count)| (stage, span(count))).collect();
    Typical { stages, faults_permille: 60 }
}

fn halted() -> Halted {
    Halted {
        rollout: 1,
        release: "c0".parse().unwrap(),
        since: Moment::default(),
        sentence: "it was worse".to_owned(),
        output: String::new(),
        is_judged: false,
        fixed_by: None,
    }
}

fn name(deed: &Deed) -> &'static str {
    match deed {
        Deed::Check(_) => "check",
        Deed::Prepare { .. } => "prepare",
        Deed::Build { .. } => "build",
        Deed::Qualify(_) => "qualify",
        Deed::Land { .. } => "land",
        Deed::Roll { .. } => "roll",
        Deed::Undo(_) => "undo",
    }
}

fn owed(effect: &Effect) -> String {
    let what = match &effect.deed {
        Deed::Land { from, to, merges: false } => format!("from {from} to {to}"),
        Deed::Land { from, to, merges: true } => format!("from {from} or elsewhere to {to}"),
        Deed::Roll { to, reach, .. } => {
            let reach = match reach {
                Reach::Canary => "to the canary",
                Reach::Everywhere => "everywhere",
                Reach::Stay => "nowhere",
            };
            format!("{to}, {reach}")
        }
        Deed::Undo(Undo::Rollout { to }) => {
            format!("the rollout, to {}", to.as_ref().map_or("nothing", Version::as_str))
        }
        Deed::Undo(Undo::Landed) => "what landed".to_owned(),
        Deed::Undo(Undo::Build { round }) => format!("build {round}"),
        Deed::Undo(Undo::Candidate { round }) => format!("candidate {round}"),
        Deed::Build { commit, only_failed } => {
            format!("{commit}{}", if *only_failed { ", what failed" } else { "" })
        }
        Deed::Qualify(commit) => commit.to_string(),
        Deed::Prepare { base, changes } => {
            let changes: Vec<&str> = changes.iter().map(|(id, _)| id.as_str()).collect();
            let base = match base {
                Base::Mainline => "the mainline",
                Base::Candidate(commit) => commit.as_str(),
            };
            format!("{} upon {base}", changes.join("+"))
        }
        Deed::Check(change) => change.id.to_string(),
    };
    format!("fence {}: {} {what} ({})", effect.fence, name(&effect.deed), effect.key)
}
