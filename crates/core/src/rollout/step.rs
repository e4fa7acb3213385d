//! What a rollout becomes after one event. Facts are taken as they are; a person's order may be refused.
//!
//! A fact counts only when it belongs to the present orders: a report's `live` and failures when the report has obeyed
//! them, its `prepared` since [`Rollout::kept_since`] (before that an older order may be cleaning the release away), and
//! only from a living agent, because a dead host may come back re-imaged. An agent therefore writes its reports before
//! its presence.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::{Class, Few, NAMED_MAX, Outcome, Why, count, describe};
use super::{HostSeen, Kind, Observation, OnFailedActivation, OnVanished, Phase, Rollout, Signature};
use crate::generation::Generation;
use crate::moment::{Moment, in_words};
use crate::name::{Actor, AppPath, HostName, ReleaseId, Target};
use crate::refusal::Refusal;
use crate::target::{Failure, Report, Verb};

/// What can happen to a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The controller looked at the store; a whole snapshot, so a lost or repeated wake-up does no harm.
    Observed(Observation),
    /// A person gave an order.
    Commanded {
        /// Which.
        command: Command,
        /// Who.
        actor: Actor,
        /// When.
        now: Moment,
    },
    /// The store was restored from a backup: agents have obeyed orders that it no longer holds.
    Restored {
        /// Above every generation seen anywhere.
        generation: Generation,
        /// When it was noticed.
        now: Moment,
    },
}

/// What a person can do to a rollout under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Go on, after a hold.
    Promote,
    /// Stay before the switch until `resume`.
    Pause,
    /// Go on, after a pause.
    Resume,
    /// Stop it: before the switch nothing is switched, after it all go back.
    Abort,
    /// Take back what was switched.
    Rollback {
        /// Why, when the person says so.
        reason: Option<String>,
    },
}

/// What an event made of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rollout afterwards; equal to the one before when nothing happened.
    pub next: Rollout,
    /// What must be said once.
    pub effects: Vec<Announcement>,
}

/// Something to say, once. The key lets a notifier drop what it said already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The app and its environment.
    pub path: AppPath,
    /// The rollout's number.
    pub number: u64,
    /// The phase in one word, or `promoted`; with path and number this names the announcement for ever.
    pub phase: &'static str,
    /// How it ended, when it did.
    pub class: Option<Class>,
    /// The sentence.
    pub text: String,
}

/// Decides what a rollout becomes after one event.
pub fn step(rollout: &Rollout, event: &Event) -> Result<Step, Refusal> {
    let mut next = rollout.clone();
    match event {
        Event::Observed(seen) => next.observe(seen),
        Event::Commanded { command, actor, now } => next.obey(command, actor, *now)?,
        Event::Restored { generation, now } => next.restore(*generation, *now),
    }
    let changed = next.stage() != rollout.stage();
    let effects = if changed { vec![announce(&next)] } else { Vec::new() };
    Ok(Step { next, effects })
}

/// Returns what there is to say about the phase that a rollout is in.
///
/// A function of the record: a controller that takes over says it again, so a crash between writing and saying loses
/// nothing.
pub fn announce(rollout: &Rollout) -> Announcement {
    let (path, to) = (&rollout.path, &rollout.to.id);
    let hosts = count(rollout.hosts.len(), "host");
    let text = match &rollout.phase {
        Phase::Preparing { .. } => begun(rollout),
        Phase::Holding { .. } => {
            format!(
                "`{to}` of `{path}` is prepared on {hosts} and waits for `footplate promote {}`",
                path.app
            )
        }
        Phase::Switching { .. } => format!("`{path}` switches to `{to}` on {hosts}"),
        Phase::TurningBack { why, .. } => format!("`{path}` turns back from `{to}`: {why}"),
        Phase::Ended { outcome, .. } => describe(rollout, outcome),
    };
    Announcement {
        path: path.clone(),
        number: rollout.number,
        phase: rollout.stage(),
        class: rollout.outcome().map(Outcome::class),
        text,
    }
}

fn begun(rollout: &Rollout) -> String {
    let (path, to) = (&rollout.path, &rollout.to.id);
    let hosts = count(rollout.hosts.len(), "host");
    match (&rollout.promoted, rollout.kind) {
        (Some(promoted), _) => format!("{} promotes `{to}` of `{path}` on {hosts}", promoted.actor),
        (None, Kind::Deploy) => format!("{} prepares `{to}` of `{path}` on {hosts}", rollout.actor),
        (None, Kind::Rollback) => format!("{} rolls `{path}` back to `{to}` on {hosts}", rollout.actor),
    }
}

/// How far one required target is, judged by what it reported under the present orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// Nothing that counts yet.
    Missing,
    /// It has what it needs.
    There,
    /// It could not.
    Failed(&'a Failure),
}

impl Rollout {
    /// Names what has been announced last.
    fn stage(&self) -> &'static str {
        match (&self.phase, &self.promoted) {
            (Phase::Preparing { .. }, Some(_)) => "promoted",
            (phase, _) => phase.word(),
        }
    }

    fn observe(&mut self, seen: &Observation) {
        match self.phase.clone() {
            Phase::Preparing { until } => self.prepare(seen, until),
            Phase::Holding { until } => self.hold(seen.now, until),
            Phase::Switching { until } => self.switch(seen, until),
            Phase::TurningBack { why, until } => self.turn_back(seen, why, until),
            Phase::Ended { .. } => {}
        }
    }

    fn prepare(&mut self, seen: &Observation, until: Moment) {
        self.excuse(self.hosts.iter().filter(|host| seen.is_cordoned(host)).cloned().collect());
        if self.hosts_missing() > 0 {
            let excused = &self.excused;
            self.hosts.extend(seen.eligible().filter(|host| !excused.contains(*host)).cloned());
        }
        if let Some((target, failure)) = self.first_failure(seen, Verb::Prepare) {
            let why = blame(&target, failure, &self.to.id);
            return self.fail(seen.now, why, false);
        }
        if let Some(pause) = &self.paused {
            return self.outlast_pause(pause.clone(), seen.now);
        }
        let missing = self.missing(|target| self.prepared(seen, target));
        if self.hosts_missing() == 0 && missing.is_empty() {
            return self.go_on(seen.now);
        }
        if seen.now >= until {
            self.prepare_deadline(seen, &missing);
        }
    }

    /// Goes on without the vanished hosts if the policy says so and enough others remain, and fails otherwise.
    fn prepare_deadline(&mut self, seen: &Observation, missing: &BTreeSet<Target>) {
        let vanished: BTreeSet<HostName> =
            missing.iter().map(|target| &target.host).filter(|host| !seen.is_alive(host)).cloned().collect();
        let enough = self.hosts.len() - vanished.len() >= self.nodes_min();
        let only_vanished = missing.iter().all(|target| vanished.contains(&target.host));
        if self.policy.on_vanished == OnVanished::GoOn && enough && only_vanished {
            self.excuse(vanished);
            return self.go_on(seen.now);
        }
        let waited = in_words(self.policy.prepare_deadline);
        let why = match self.hosts_missing() {
            0 => format!("{} had not prepared after {waited}", named(missing, seen)),
            more => format!(
                "{} matched after {waited} and {} must take part, {more} more",
                count(self.hosts.len(), "host"),
                self.nodes_min()
            ),
        };
        self.fail(seen.now, why.into(), true);
    }

    fn go_on(&mut self, now: Moment) {
        let holds = self.policy.hold && self.kind == Kind::Deploy && self.promoted.is_none();
        self.phase = match holds {
            true => Phase::Holding { until: now + self.policy.hold_deadline },
            false => Phase::Switching { until: now + self.policy.activate_deadline },
        };
    }

    fn hold(&mut self, now: Moment, until: Moment) {
        if let Some(pause) = &self.paused {
            return self.outlast_pause(pause.clone(), now);
        }
        if now >= until {
            self.fail(
                now,
                format!("nobody promoted it within {}", in_words(self.policy.hold_deadline)).into(),
                true,
            );
        }
    }

    fn switch(&mut self, seen: &Observation, until: Moment) {
        let keep = self.policy.on_failed_activation == OnFailedActivation::Keep;
        if let Some((target, failure)) = self.first_failure(seen, Verb::Activate).filter(|_| !keep) {
            let why = blame(&target, failure, &self.to.id);
            return self.leave(seen.now, why);
        }
        let missing = self.missing(|target| self.activated(seen, target));
        let failed = self.failures(seen, Verb::Activate);
        let open: BTreeSet<Target> = missing.into_iter().filter(|t| !failed.contains_key(t)).collect();
        if open.is_empty() {
            return self.arrive(seen.now, failed);
        }
        if seen.now >= until {
            self.activate_deadline(seen, open, failed);
        }
    }

    fn activate_deadline(
        &mut self,
        seen: &Observation,
        open: BTreeSet<Target>,
        mut failed: BTreeMap<Target, String>,
    ) {
        let waited = in_words(self.policy.activate_deadline);
        let vanished: BTreeSet<HostName> =
            open.iter().map(|target| &target.host).filter(|host| !seen.is_alive(host)).cloned().collect();
        let only_vanished = open.iter().all(|target| vanished.contains(&target.host));
        if self.policy.on_vanished == OnVanished::GoOn && only_vanished && vanished.len() < self.hosts.len() {
            self.excuse(vanished);
            return self.arrive(seen.now, failed);
        }
        if self.policy.on_failed_activation == OnFailedActivation::Keep {
            let late = |target: Target| (target, format!("not activated after {waited}"));
            failed.extend(open.into_iter().map(late));
            return self.arrive(seen.now, failed);
        }
        self.leave(seen.now, format!("{} had not activated after {waited}", named(&open, seen)).into());
    }

    fn arrive(&mut self, now: Moment, failed: BTreeMap<Target, String>) {
        let more = u32::try_from(failed.len().saturating_sub(NAMED_MAX)).unwrap_or(u32::MAX);
        let named = failed.into_iter().take(NAMED_MAX).map(|(target, why)| (target.to_string(), why));
        let failed: BTreeMap<String, String> = named.collect();
        let outcome = if failed.is_empty() { Outcome::Done } else { Outcome::DoneExcept { failed, more } };
        self.phase = Phase::Ended { at: now, outcome };
    }

    fn turn_back(&mut self, seen: &Observation, why: Why, until: Moment) {
        let missing = self.missing(|target| self.came_back(seen, target));
        if missing.is_empty() || seen.now >= until {
            let more = u32::try_from(missing.len().saturating_sub(NAMED_MAX)).unwrap_or(u32::MAX);
            let missing = missing.into_iter().take(NAMED_MAX).collect();
            self.phase = Phase::Ended { at: seen.now, outcome: Outcome::TurnedBack { why, missing, more } };
        }
    }

    /// Ends it before the switch. The orders take a higher generation, so that nobody waits for the barrier.
    fn fail(&mut self, now: Moment, why: Why, deadline: bool) {
        self.end_unswitched(now, Outcome::Failed { why, deadline });
    }

    fn end_unswitched(&mut self, now: Moment, outcome: Outcome) {
        self.generation = self.generation.next();
        self.paused = None;
        self.phase = Phase::Ended { at: now, outcome };
    }

    /// Leaves `to` after the switch: back to what ran before, or, when nothing did, ends with everything as it is.
    fn leave(&mut self, now: Moment, why: Why) {
        if self.from.is_none() {
            self.phase = Phase::Ended { at: now, outcome: Outcome::LeftAsIs { why } };
            return;
        }
        self.generation = self.generation.next();
        self.phase = Phase::TurningBack { why, until: now + self.policy.activate_deadline };
    }

    fn restore(&mut self, generation: Generation, now: Moment) {
        let why = Why::from("the store was restored from a backup meanwhile".to_owned());
        match &self.phase {
            Phase::Preparing { .. } | Phase::Holding { .. } => self.fail(now, why, false),
            Phase::Switching { .. } => self.leave(now, why),
            Phase::TurningBack { .. } => {}
            Phase::Ended { .. } => return,
        }
        self.generation = generation;
    }

    fn obey(&mut self, command: &Command, actor: &Actor, now: Moment) -> Result<(), Refusal> {
        let by = Signature { actor: actor.clone(), at: now };
        match command {
            Command::Promote => self.promote(by),
            Command::Pause => self.pause(by),
            Command::Resume => self.resume(now),
            Command::Abort => self.abort(by),
            Command::Rollback { reason } => self.roll_back(by, reason.as_deref()),
        }
    }

    /// Goes back to preparing, without a hold this time: the next observation checks that all are still prepared.
    fn promote(&mut self, by: Signature) -> Result<(), Refusal> {
        self.refuse_paused("promote")?;
        if !matches!(self.phase, Phase::Holding { .. }) {
            return Err(self.refuse("promote", "wait until it holds"));
        }
        self.phase = Phase::Preparing { until: by.at + self.policy.prepare_deadline };
        self.promoted = Some(by);
        Ok(())
    }

    fn pause(&mut self, by: Signature) -> Result<(), Refusal> {
        self.refuse_paused("pause")?;
        if !matches!(self.phase, Phase::Preparing { .. } | Phase::Holding { .. }) {
            return Err(self.refuse("pause", "take it back with `footplate rollback`"));
        }
        self.paused = Some(by);
        Ok(())
    }

    fn resume(&mut self, now: Moment) -> Result<(), Refusal> {
        let Some(pause) = self.paused.take() else {
            return Err(Refusal::new(
                format!("cannot resume `{}`", self.path),
                "it is not paused",
                format!("see it with `footplate status {}`", self.path.app),
            ));
        };
        let length = now.since(pause.at);
        if let Phase::Preparing { until } | Phase::Holding { until } = &mut self.phase {
            *until = *until + length;
        }
        Ok(())
    }

    fn abort(&mut self, by: Signature) -> Result<(), Refusal> {
        match self.phase {
            Phase::Preparing { .. } | Phase::Holding { .. } => {
                self.end_unswitched(by.at, Outcome::Aborted { by: by.actor });
            }
            Phase::Switching { .. } => self.leave(by.at, format!("{} aborted it", by.actor).into()),
            Phase::TurningBack { .. } | Phase::Ended { .. } => {
                return Err(self.refuse("abort", "wait for its end, then deploy or roll back"));
            }
        }
        Ok(())
    }

    fn roll_back(&mut self, by: Signature, reason: Option<&str>) -> Result<(), Refusal> {
        if !matches!(self.phase, Phase::Switching { .. }) {
            return self.abort(by);
        }
        if self.from.is_none() {
            return Err(Refusal::new(
                format!("cannot roll back `{}`", self.path),
                "it is the first deployment, so there is nothing to go back to",
                format!(
                    "stop it with `footplate abort {}`, or wait for its end and deploy a better version",
                    self.path.app
                ),
            ));
        }
        let why = match reason {
            Some(reason) => format!("{} rolled it back, because {reason}", by.actor),
            None => format!("{} rolled it back", by.actor),
        };
        self.leave(by.at, why.into());
        Ok(())
    }

    /// Fails a rollout that stayed paused for as long as it may wait for a person.
    fn outlast_pause(&mut self, pause: Signature, now: Moment) {
        if now >= pause.at + self.policy.hold_deadline {
            let waited = in_words(self.policy.hold_deadline);
            let why = format!("{} paused it and nobody resumed it within {waited}", pause.actor);
            self.fail(now, why.into(), true);
        }
    }

    fn refuse_paused(&self, verb: &str) -> Result<(), Refusal> {
        match &self.paused {
            None => Ok(()),
            Some(pause) => Err(Refusal::new(
                format!("cannot {verb} `{}`", self.path),
                format!("{} paused it", pause.actor),
                format!("resume it first with `footplate resume {}`", self.path.app),
            )),
        }
    }

    fn refuse(&self, verb: &str, next: &str) -> Refusal {
        let because = match &self.phase {
            Phase::Preparing { .. } => "it is still preparing and nothing is switched".to_owned(),
            Phase::Holding { .. } => "it holds and nothing is switched".to_owned(),
            Phase::Switching { .. } => "its targets are switching already".to_owned(),
            Phase::TurningBack { .. } => "it is turning back already".to_owned(),
            Phase::Ended { outcome, .. } => {
                format!("rollout {} is over: {}", self.number, describe(self, outcome))
            }
        };
        Refusal::new(format!("cannot {verb} `{}`", self.path), because, next)
    }

    /// Returns how many hosts must still show up before the rollout can go on.
    pub(super) fn hosts_missing(&self) -> usize {
        self.nodes_min().saturating_sub(self.hosts.len())
    }

    pub(super) fn nodes_min(&self) -> usize {
        self.policy.nodes_min.max(1) as usize
    }

    fn excuse(&mut self, hosts: BTreeSet<HostName>) {
        self.hosts.retain(|host| !hosts.contains(host));
        self.excused.extend(hosts);
    }

    pub(super) fn prepared<'a>(&self, seen: &'a Observation, target: &Target) -> Standing<'a> {
        let Some(HostSeen { alive: true, reports, .. }) = seen.hosts.get(&target.host) else {
            return Standing::Missing;
        };
        let since_kept = |report: &&Report| report.generation >= self.kept_since;
        let report = reports.get(target).filter(since_kept);
        match report {
            Some(report) if report.prepared.contains(&self.to.id) => Standing::There,
            _ => self.failed(seen, target, Verb::Prepare).map_or(Standing::Missing, Standing::Failed),
        }
    }

    pub(super) fn activated<'a>(&self, seen: &'a Observation, target: &Target) -> Standing<'a> {
        match seen.report(target).filter(|report| report.generation >= self.generation) {
            Some(report) if report.runs(&self.to.id) => Standing::There,
            _ => self.failed(seen, target, Verb::Activate).map_or(Standing::Missing, Standing::Failed),
        }
    }

    pub(super) fn came_back<'a>(&self, seen: &'a Observation, target: &Target) -> Standing<'a> {
        let from = self.from.as_ref().map(|from| &from.id);
        match seen.report(target).filter(|report| report.generation >= self.generation) {
            Some(report) if from.is_none_or(|from| report.runs(from)) => Standing::There,
            _ => Standing::Missing,
        }
    }

    fn failed<'a>(&self, seen: &'a Observation, target: &Target, verb: Verb) -> Option<&'a Failure> {
        let failure = seen.report(target)?.failure(&self.to.id, verb)?;
        (failure.generation >= self.generation).then_some(failure)
    }

    fn first_failure<'a>(&self, seen: &'a Observation, verb: Verb) -> Option<(Target, &'a Failure)> {
        self.required().find_map(|target| {
            let failure = self.failed(seen, &target, verb)?;
            Some((target, failure))
        })
    }

    fn failures(&self, seen: &Observation, verb: Verb) -> BTreeMap<Target, String> {
        let failed = |target: Target| {
            let failure = self.failed(seen, &target, verb)?;
            Some((target, failure.reason.clone()))
        };
        self.required().filter_map(failed).collect()
    }

    fn missing<'a>(&self, standing: impl Fn(&Target) -> Standing<'a>) -> BTreeSet<Target> {
        self.required().filter(|target| standing(target) != Standing::There).collect()
    }
}

/// Names hosts, and says which of them are gone: `web-1, web-4 (gone) and 3 more`.
pub(super) fn named(targets: &BTreeSet<Target>, seen: &Observation) -> Few {
    let hosts: BTreeSet<&HostName> = targets.iter().map(|target| &target.host).collect();
    let name = |host: &&HostName| match seen.is_alive(host) {
        true => host.to_string(),
        false => format!("{host} (gone)"),
    };
    Few::new(hosts.iter().map(name).collect::<Vec<_>>(), 0)
}

fn blame(target: &Target, failure: &Failure, release: &ReleaseId) -> Why {
    let sentence = format!("{target} could not {} `{release}`: {}", failure.verb, failure.reason);
    Why { sentence, output: failure.output.clone() }
}
