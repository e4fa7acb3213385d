//! The stage of the stories: one app, its hosts, a clock, and a controller's turn after every line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use footplate_core::fleet::{
    self, Back, Current, Deploy, Host, HostState, Order, Presence, Records, Restriction, Seen, Track,
    observe, turn,
};
use footplate_core::gate::Gate;
use footplate_core::generation::Generation;
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, GroupName, HostName, ReleaseId, Target, Version};
use footplate_core::refusal::Refusal;
use footplate_core::release::{Hooks, Release, Workload};
use footplate_core::rollout::{
    self, Announcement, Command, Delivery, During, Judged, OnFailedActivation, OnVanished, Rollout,
};
use footplate_core::target::{Action, Assignment, Failure, Lapse, Readiness, Report, Verb, plan};
use footplate_core::traffic::{Followed, Route, Traffic};
use footplate_core::verdict::{Drawn, Judging, OnUnknown, Standing};

mod gate;
mod services;

/// Plays the lines and returns them with what was said to each, indented.
pub fn play<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut stage = Stage::new();
    let mut told = Vec::new();
    for line in lines {
        told.push(line.to_owned());
        let before = stage.said.len();
        stage.perform(line);
        stage.turn();
        let said = stage.said[before..].iter().flat_map(|text| text.lines());
        told.extend(said.map(|line| format!("  {line}")));
    }
    told.join("\n")
}

struct Stage {
    now: Moment,
    current: Current,
    /// What `footplate.toml` says: how the next deployment delivers.
    delivery: Delivery,
    rollout: Option<Rollout>,
    hosts: BTreeMap<HostName, Host>,
    orders: BTreeMap<Target, Assignment>,
    barrier: Option<Generation>,
    releases: BTreeSet<ReleaseId>,
    routes: BTreeMap<Target, Route>,
    traffic: Option<Traffic>,
    judged: Option<Judged>,
    /// Whether the next release that is named has services.
    serves: bool,
    /// What `footplate.toml` said when a release was first named.
    pushed: BTreeMap<String, Release>,
    said: Vec<String>,
    gate: Gate,
    /// Whether it keeps anybody out.
    is_gated: bool,
}

impl Stage {
    fn new() -> Self {
        let path = AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() };
        let delivery = Delivery::new("role=web".parse().unwrap(), BTreeSet::from(["web".parse().unwrap()]));
        Self {
            now: Moment::default(),
            current: Current::new(path, delivery.clone(), Generation::default()),
            delivery,
            rollout: None,
            hosts: BTreeMap::new(),
            orders: BTreeMap::new(),
            barrier: None,
            releases: BTreeSet::new(),
            routes: BTreeMap::new(),
            traffic: None,
            judged: None,
            serves: false,
            pushed: BTreeMap::new(),
            said: Vec::new(),
            gate: Gate::default(),
            is_gated: false,
        }
    }

    fn perform(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "hosts" | "back" => self.each(rest, |host, _| host.presence = Some(presence())),
            "gone" => self.each(rest, |host, _| host.presence = None),
            "reimaged" => self.each(rest, |host, _| host.reports.clear()),
            "relabelled" => self.each(rest, |host, _| {
                host.presence.as_mut().expect("it lives").labels.clear();
            }),
            "labels" => self.labels(rest),
            "cordon" => self.each(rest, |host, now| host.state = Some(cordoned(now))),
            "uncordon" => self.each(rest, |host, _| host.state = None),
            "runs" => self.runs(rest),
            "policy" | "keep" => {
                self.says(&format!("{verb} {rest}"));
                self.current.delivery = self.delivery.clone();
            }
            "says" => self.says(rest),
            "services" => self.serves = true,
            "files" => self.serves = false,
            "strategy" => self.strategy(rest),
            "pace" => self.pace(rest),
            "works" => self.works(rest),
            "sick" => self.is(rest, Readiness::Unready),
            "well" => self.is(rest, Readiness::Ready),
            "router" => self.each(rest, |host, _| {
                host.presence = Some(Presence { labels: BTreeMap::new(), ..presence() });
                host.router = Some(Followed::default());
            }),
            "follows" => self.follows(rest),
            "busy" => self.busy(rest),
            "judge" => self.judge(rest),
            "wait" => self.now = self.now + length(rest),
            "prepares" => self.work(rest, Verb::Prepare),
            "activates" => self.work(rest, Verb::Activate),
            "cleans" => self.work(rest, Verb::Clean),
            "fails" => self.fails(rest),
            "crashes" => self.crashes(rest),
            "restored" => self.restored(),
            "forges" => self.forges(rest),
            "waits" => self.waits(rest),
            "gated" => self.is_gated = true,
            "lock" | "halts" | "open" => self.at_the_gate(verb, rest),
            "by-hand" => self.by_hand(rest),
            "deploy" | "rollback" | "promote" | "pause" | "resume" | "abort" | "forgo" | "clean"
            | "remove" => self.order(verb, rest),
            _ => self.tell(verb),
        }
    }

    fn each(&mut self, names: &str, change: impl Fn(&mut Host, Moment)) {
        for name in names.split(' ') {
            change(self.hosts.entry(name.parse().unwrap()).or_default(), self.now);
        }
    }

    /// Puts the release on every host, as a finished deployment leaves it.
    fn runs(&mut self, id: &str) {
        self.order("deploy", id);
        self.turn();
        let hosts: Vec<String> = self.hosts.keys().map(HostName::to_string).collect();
        for verb in [Verb::Prepare, Verb::Activate, Verb::Clean] {
            match self.serves {
                true => {
                    self.works(&services::everyone(self));
                    self.now = self.now + Duration::from_secs(60);
                }
                false => self.work(&hosts.join(" "), verb),
            }
            self.turn();
        }
        while self.serves && self.rollout.as_ref().is_some_and(Rollout::is_active) {
            self.works(&services::everyone(self));
            self.turn();
        }
        self.said.clear();
    }

    /// `c role=db`: a host that lives has this label and no other.
    fn labels(&mut self, words: &str) {
        let (name, label) = words.split_once(' ').expect("labels HOST LABEL=VALUE");
        let (label, value) = label.split_once('=').expect("LABEL=VALUE");
        self.each(name, |host, _| {
            let presence = host.presence.get_or_insert_with(presence);
            presence.labels = BTreeMap::from([(label.to_owned(), value.to_owned())]);
        });
    }

    /// `footplate.toml` says something else from now on.
    fn says(&mut self, words: &str) {
        match words.split_once(' ').unwrap_or((words, "")) {
            ("policy", rest) => self.policy(rest),
            ("keep", number) => self.delivery.retention.keep = number.parse().unwrap(),
            ("hosts", selector) => self.delivery.selector = selector.parse().unwrap(),
            ("groups", names) => {
                self.delivery.groups = names.split(' ').map(|name| name.parse().unwrap()).collect()
            }
            other => panic!("footplate.toml says no such thing: {other:?}"),
        }
    }

    fn policy(&mut self, words: &str) {
        let policy = &mut self.delivery.policy;
        for word in words.split(' ') {
            match word.split_once('=').unwrap_or((word, "")) {
                ("nodes", number) => policy.nodes_min = number.parse().unwrap(),
                ("hold", _) => policy.hold = true,
                ("keep", _) => policy.on_failed_activation = OnFailedActivation::Keep,
                ("wait", _) => policy.during = During::Wait,
                ("replace", _) => policy.during = During::Replace,
                ("judged", on_unknown) => {
                    let mut judging = Judging::of_requests(Drawn::Request);
                    judging.on_unknown = match on_unknown {
                        "promote" => OnUnknown::Promote,
                        "rollback" => OnUnknown::Rollback,
                        _ => OnUnknown::Hold,
                    };
                    policy.judging = Some(judging);
                }
                ("go_on", _) => policy.on_vanished = OnVanished::GoOn,
                other => panic!("no such policy: {other:?}"),
            }
        }
    }

    /// `worse: it fails twice as often`: what the judge of the latest rollout says from now on.
    fn judge(&mut self, words: &str) {
        let (what, sentence) = words.split_once(": ").expect("judge WHAT: SENTENCE");
        let (standing, is_doubtful) = match what {
            "good" => (Standing::NotWorse, false),
            "worse" => (Standing::Worse, true),
            "doubtful" => (Standing::Unknown, true),
            _ => (Standing::Unknown, false),
        };
        let rollout = self.rollout.as_ref().map_or(0, |rollout| rollout.number);
        self.judged =
            Some(Judged { rollout, at: self.now, standing, is_doubtful, sentence: sentence.to_owned() });
    }

    /// Lets agents do all they may do of one verb, exactly as the real agent plans it.
    fn work(&mut self, names: &str, verb: Verb) {
        for (target, order) in self.orders_of(names) {
            let report = self.report(&target);
            report.generation = report.generation.max(order.generation);
            let mut report = report.clone();
            for action in self.actions(&target, &order, &report) {
                match action {
                    Action::Prepare(release) if verb == Verb::Prepare => {
                        report.failed.remove(&release);
                        report.prepared.insert(release);
                    }
                    Action::Activate(release) if verb == Verb::Activate => {
                        report.failed.remove(&release);
                        report.live = Some(release);
                    }
                    Action::Clean(release) if verb == Verb::Clean => {
                        report.prepared.remove(&release);
                    }
                    _ => {}
                }
            }
            *self.report(&target) = report;
        }
    }

    /// `a b prepare 2: reason`: the verb fails there, under the order that stands.
    fn fails(&mut self, words: &str) {
        self.fail(words, None);
    }

    /// `a 2 times=1: it crashed`: a service that had been healthy crashed so often, and runs again.
    fn crashes(&mut self, words: &str) {
        let (what, reason) = words.split_once(": ").expect("crashes HOST… RELEASE times=NUMBER: REASON");
        let (what, times) = what.split_once(" times=").expect("how often");
        let (names, release) = what.rsplit_once(' ').expect("a release");
        let times = times.parse().expect("a number");
        self.fail(&format!("{names} start {release}: {reason}"), Some(Lapse::Crashed(times)));
    }

    fn fail(&mut self, words: &str, lapse: Option<Lapse>) {
        let (what, reason) = words.split_once(": ").expect("fails HOST… VERB RELEASE: REASON");
        let (names, release) = what.rsplit_once(' ').expect("a release");
        let (names, verb) = names.rsplit_once(' ').expect("a verb");
        let verb = match verb {
            "prepare" => Verb::Prepare,
            "start" => Verb::Start,
            "accept" => Verb::Accept,
            _ => Verb::Activate,
        };
        for (target, order) in self.orders_of(names) {
            let at = self.now;
            let report = self.report(&target);
            report.generation = order.generation;
            let failure = Failure {
                verb,
                generation: order.generation,
                reason: reason.to_owned(),
                output: String::new(),
                lapse,
                attempts: 1,
                at,
            };
            report.failed.insert(release.parse().unwrap(), failure);
        }
    }

    /// Agents have obeyed an order that the store knows nothing of.
    /// `a no artifact source answers`: a host waits for that.
    fn waits(&mut self, words: &str) {
        let (name, what) = words.split_once(' ').expect("waits HOST WHAT");
        let group: GroupName = "web".parse().unwrap();
        self.each(name, |host, _| {
            let target = Target { host: name.parse().unwrap(), group: group.clone() };
            host.reports.entry(target).or_default().waiting = Some(what.to_owned());
        });
    }

    /// `evil 9.9`: a host claims to have obeyed this generation.
    fn forges(&mut self, words: &str) {
        let (name, generation) = words.split_once(' ').expect("forges HOST EPOCH.COUNTER");
        let (generation, group) = (generation.parse().unwrap(), "web".parse().unwrap());
        self.each(name, |host, _| {
            let target = Target { host: name.parse().unwrap(), group: GroupName::clone(&group) };
            host.reports.entry(target).or_default().generation = generation;
        });
    }

    fn restored(&mut self) {
        let ahead = Generation::new(self.current.generation.epoch, self.current.generation.counter + 7);
        for host in self.hosts.values_mut() {
            host.reports.values_mut().for_each(|report| report.generation = ahead);
        }
    }

    /// Somebody deletes things in the store.
    fn by_hand(&mut self, what: &str) {
        match what {
            "orders" => self.orders.clear(),
            "barrier" => self.barrier = None,
            "releases" => self.releases.clear(),
            "rollout" => self.rollout = None,
            other => panic!("no such thing to delete: {other}"),
        }
    }

    fn order(&mut self, verb: &str, rest: &str) {
        let (what, reason) = match rest.split_once("because ") {
            Some((what, reason)) => (what.trim(), Some(reason.to_owned())),
            None => (rest, None),
        };
        let (what, fix) = gate::marked(what);
        let (what, only) = chosen(what);
        let release = (!what.is_empty()).then(|| self.pushed(what));
        let actor: footplate_core::name::Actor = "ann".parse().unwrap();
        let by = Order { actor: actor.clone(), reason };
        let latest = self.rollout.as_ref();
        let own = &self.current.delivery;
        let delivery = if verb == "deploy" { &self.delivery } else { own };
        let seen = observe(&delivery.selector, latest, &self.hosts, self.now);
        let policy = delivery.policy.clone();
        let deploy =
            |to| Deploy { to, delivery: delivery.clone(), policy, only: only.clone(), fix: fix.clone() };
        let command = |command: Command| match latest {
            Some(rollout) => fleet::command(&self.current, rollout, &command, actor.clone(), self.now),
            None => panic!("nothing was ever rolled out"),
        };
        let records = match verb {
            "deploy" => {
                let what = deploy(release.unwrap());
                let passes =
                    self.door().pass(&self.current.path, &what.to.id, (&actor, fix.as_ref()), self.now);
                passes.and_then(|()| fleet::deploy(&self.current, latest, what, by, &seen))
            }
            "rollback" => fleet::rollback(&self.current, latest, Back { to: release, only }, by, &seen),
            "promote" => command(Command::Promote),
            "pause" => command(Command::Pause),
            "resume" => command(Command::Resume),
            "abort" => command(Command::Abort),
            "forgo" => fleet::forgo(&self.current, latest, &actor),
            "clean" => return self.clean(),
            _ => return self.remove(what),
        };
        match records {
            Ok(records) => self.write(records),
            Err(refusal) => self.refused(&refusal),
        }
    }

    /// Returns the release of this name; one that is new is as `footplate.toml` says now.
    fn pushed(&mut self, id: &str) -> Release {
        let groups = self.serves.then_some(&self.delivery.groups);
        let made = || groups.map_or_else(|| release(id), |groups| services::service(release(id), groups));
        self.pushed.entry(id.to_owned()).or_insert_with(made).clone()
    }

    fn clean(&mut self) {
        match fleet::clean(&self.current, self.rollout.as_ref(), self.now) {
            Err(refusal) => self.refused(&refusal),
            Ok((current, plan)) => {
                self.current = current;
                self.said.extend(plan.stays.iter().map(|(id, why)| format!("{id} stays: {why}")));
                self.said.extend(plan.goes.iter().map(|id| format!("{id} goes")));
            }
        }
    }

    fn remove(&mut self, id: &str) {
        match fleet::remove(&self.current, self.rollout.as_ref(), &id.parse().unwrap(), self.now) {
            Err(refusal) => self.refused(&refusal),
            Ok(current) => self.current = current,
        }
    }

    fn write(&mut self, records: Records) {
        self.current = records.current;
        self.rollout = Some(records.rollout);
        self.gate = records.halts.map_or_else(|| self.gate.clone(), |halted| self.gate.halt(halted));
        self.say(records.announcements);
    }

    fn turn(&mut self) {
        let seen = Seen {
            now: self.now,
            current: self.current.clone(),
            rollout: self.rollout.clone(),
            door: self.door(),
            hosts: self.hosts.clone(),
            orders: self.orders.clone(),
            barrier: self.barrier,
            releases: self.releases.clone(),
            routes: self.routes.clone(),
            traffic: self.traffic.clone(),
            judged: self.judged.clone().map(|judged| Judged { at: self.now, ..judged }),
        };
        let turn = turn(&seen, |_| Vec::new());
        self.current = turn.current.unwrap_or(seen.current);
        self.rollout = turn.rollout.or(seen.rollout);
        // A story that is not gated keeps what halts the gate all the same.
        self.gate = turn.gate.unwrap_or_else(|| self.gate.clone());
        self.barrier = turn.barrier.or(seen.barrier);
        self.orders.extend(turn.orders);
        self.orders.retain(|target, _| !turn.obsolete.contains(target));
        self.releases.extend(turn.releases.into_iter().map(|release| release.id));
        self.routes.extend(turn.routes);
        self.routes.retain(|target, _| !turn.routes_gone.contains(target));
        self.traffic = turn.traffic.or(seen.traffic);
        self.say(turn.announcements);
    }

    fn tell(&mut self, what: &str) {
        let rollout = self.rollout.as_ref();
        let seen = rollout::Observation {
            judged: self.judged.clone().map(|judged| Judged { at: self.now, ..judged }),
            ..observe(self.current.selector(rollout), rollout, &self.hosts, self.now)
        };
        let text = match (what, rollout) {
            ("waiting", Some(rollout)) => format!("waiting for {}", rollout::waiting_on(rollout, &seen)),
            ("progress", Some(rollout)) => rollout::progress(rollout, &seen).to_string(),
            ("steps", Some(rollout)) => steps(rollout),
            ("where", Some(rollout)) => {
                rollout::whereabouts(rollout).unwrap_or_else(|| "in no step".to_owned())
            }
            ("live", _) => self.live(),
            ("orders", _) => self.standing_orders(),
            ("current", _) => self.record(),
            ("routes", _) => self.standing_routes(),
            ("entrances", _) => self.entrances(),
            ("releases", _) => self.releases.iter().map(ReleaseId::as_str).collect::<Vec<_>>().join(" "),
            ("up", _) => self.up(),
            ("gate", _) => self.told_of_the_gate(),
            ("delivery", _) => self.own_delivery(),
            other => panic!("no such line: {other:?}"),
        };
        self.said.push(text);
    }

    fn live(&self) -> String {
        let line = |(name, host): (&HostName, &Host)| {
            let live = host.reports.values().filter_map(|report| report.live.as_ref()).next();
            format!("{name}: {}", live.map_or("nothing".to_owned(), ReleaseId::to_string))
        };
        self.hosts.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    fn standing_orders(&self) -> String {
        let mut text = String::new();
        for (target, order) in &self.orders {
            let nothing = if order.idle { "nothing at all" } else { "nothing" };
            let run = order.run.as_ref().map_or(nothing, ReleaseId::as_str);
            let beside = order.beside.as_ref().map_or(String::new(), |id| format!(" beside {id}"));
            let switch =
                order.switch.as_ref().map_or(String::new(), |s| format!(", then {} at {}", s.to, s.barrier));
            let keep: Vec<&str> = order.keep.iter().map(|release| release.id.as_str()).collect();
            let until = order.leaves_at.filter(|until| *until > self.now);
            let until = until
                .map_or(String::new(), |until| format!(", for {} s more", until.since(self.now).as_secs()));
            writeln!(
                text,
                "{target} {}: run {run}{beside}{switch}{until}, keep {}",
                order.generation,
                keep.join(" ")
            )
            .unwrap();
        }
        text
    }

    fn record(&self) -> String {
        let id = |release: Option<&Release>| {
            release.map_or("nothing".to_owned(), |release| release.id.to_string())
        };
        let Track { release, past, verified, .. } = &self.current.track;
        let past: Vec<&str> = past.iter().map(|past| past.release.id.as_str()).collect();
        let verified = verified.as_ref().map_or("nothing", ReleaseId::as_str);
        let apart = self.current.apart.iter().map(|(group, track)| {
            let past: Vec<&str> = track.past.iter().map(|past| past.release.id.as_str()).collect();
            format!(", {group} runs {}, past [{}]", id(track.release.as_ref()), past.join(" "))
        });
        let apart: String = apart.collect();
        format!(
            "runs {}, past [{}], verified {verified}, rollback goes to {}, generation {}{apart}",
            id(release.as_ref()),
            past.join(" "),
            id(self.current.track.proposal()),
            self.current.generation
        )
    }

    fn own_delivery(&self) -> String {
        let Delivery { selector, groups, policy, retention, .. } = &self.current.delivery;
        let groups: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
        let hold = if policy.hold { ", holds" } else { "" };
        format!("{} on hosts {selector}, keeps {}{hold}", groups.join(" "), retention.keep)
    }

    fn actions(&self, target: &Target, order: &Assignment, report: &Report) -> Vec<Action> {
        plan(&target.group, order, self.barrier, report, self.now).actions
    }

    fn orders_of(&self, names: &str) -> Vec<(Target, Assignment)> {
        let named = |target: &Target| names.split(' ').any(|name| name == target.host.as_str());
        self.orders.iter().filter(|(target, _)| named(target)).map(|(t, o)| (t.clone(), o.clone())).collect()
    }

    fn report(&mut self, target: &Target) -> &mut Report {
        self.hosts.entry(target.host.clone()).or_default().reports.entry(target.clone()).or_default()
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.said
            .push(format!("error: {}\nbecause: {}\nnext: {}", refusal.what, refusal.because, refusal.next));
    }

    fn say(&mut self, announcements: Vec<Announcement>) {
        self.said.extend(announcements.into_iter().map(|announcement| announcement.text));
    }
}

/// Lists what each step does, and how it is undone.
fn steps(rollout: &Rollout) -> String {
    let step = |step: rollout::StepOutline| format!("{}\nundo: {}", step.does, step.undo);
    rollout::outline(rollout).into_iter().map(step).collect::<Vec<_>>().join("\n")
}

fn presence() -> Presence {
    Presence {
        instance: "one".to_owned(),
        address: "127.0.0.1".to_owned(),
        labels: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        version: "0.1.0".to_owned(),
        vitals: None,
    }
}

/// `2 only worker`: a release, and the process groups that alone are meant.
fn chosen(what: &str) -> (&str, Option<BTreeSet<GroupName>>) {
    let (what, only) = match what.split_once("only ") {
        Some((what, only)) => (what.trim(), Some(only)),
        None => (what, None),
    };
    (what, only.map(|only| only.split(' ').map(|name| name.parse().unwrap()).collect()))
}

fn cordoned(since: Moment) -> HostState {
    HostState { restriction: Restriction::Cordoned, actor: "bob".parse().unwrap(), reason: None, since }
}

fn release(id: &str) -> Release {
    let version: Version = id.parse().unwrap();
    Release::new("shop".parse().unwrap(), version, Workload::ReleaseDir(Hooks::default()), Moment::default())
}

fn length(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => 3600,
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * seconds)
}
