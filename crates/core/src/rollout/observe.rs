//! What facts make of a rollout. They are taken as they are, and never refused.

use std::collections::{BTreeMap, BTreeSet};

use super::outcome::{NAMED_MAX, Outcome, Why, count, short};
use super::standing::named;
use super::{Kind, Observation, OnFailedActivation, OnVanished, Phase, Rollout, Signature};
use crate::generation::Generation;
use crate::moment::{Moment, in_words};
use crate::name::{HostName, ReleaseId, Target};
use crate::target::{Failure, Verb};

impl Rollout {
    pub(super) fn observe(&mut self, seen: &Observation) {
        self.take_along(seen);
        match self.phase.clone() {
            Phase::Preparing { until } => self.prepare(seen, until),
            Phase::Holding { until } => self.hold(seen.now, until),
            Phase::Switching { until } => self.switch(seen, until),
            Phase::Stepping { step, part, until } => self.step_on(seen, step, part, until),
            Phase::TurningBack { why, until } if self.goes_in_steps() => self.return_on(seen, why, until),
            Phase::TurningBack { why, until } => self.turn_back(seen, why, until),
            Phase::Ended { .. } => {}
        }
    }

    fn prepare(&mut self, seen: &Observation, until: Moment) {
        self.leave_out(seen);
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
            return self.go_on(seen);
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
            return self.go_on(seen);
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

    fn go_on(&mut self, seen: &Observation) {
        let holds = self.policy.hold && self.kind == Kind::Deploy && self.promoted.is_none();
        match holds {
            true => self.phase = Phase::Holding { until: seen.now + self.policy.hold_deadline },
            false if self.goes_in_steps() => self.begin_steps(seen),
            false => self.phase = Phase::Switching { until: seen.now + self.policy.activate_deadline },
        }
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

    pub(super) fn arrive(&mut self, now: Moment, failed: BTreeMap<Target, String>) {
        let more = u32::try_from(failed.len().saturating_sub(NAMED_MAX)).unwrap_or(u32::MAX);
        let named = failed.into_iter().take(NAMED_MAX).map(|(target, why)| (target.to_string(), short(&why)));
        let failed: BTreeMap<String, String> = named.collect();
        let outcome = if failed.is_empty() { Outcome::Done } else { Outcome::DoneExcept { failed, more } };
        self.phase = Phase::Ended { at: now, outcome };
    }

    fn turn_back(&mut self, seen: &Observation, why: Why, until: Moment) {
        let missing = self.missing(|target| self.came_back(seen, target));
        if missing.is_empty() || seen.now >= until {
            self.phase = Phase::Ended { at: seen.now, outcome: Outcome::turned_back(why, missing) };
        }
    }

    /// Ends it before the switch. The orders take a higher generation, so that nobody waits for the barrier.
    fn fail(&mut self, now: Moment, why: Why, deadline: bool) {
        self.end_unswitched(now, Outcome::Failed { why, deadline });
    }

    pub(super) fn end_unswitched(&mut self, now: Moment, outcome: Outcome) {
        self.generation = self.generation.after(now);
        self.paused = None;
        self.phase = Phase::Ended { at: now, outcome };
    }

    /// Leaves `to` after the switch: back to what ran before, or, when nothing did, ends with everything as it is.
    pub(super) fn leave(&mut self, now: Moment, why: Why) {
        self.paused = None;
        if self.is_first() {
            if self.goes_in_steps() {
                self.generation = self.generation.after(now);
            }
            self.phase = Phase::Ended { at: now, outcome: Outcome::LeftAsIs { why } };
            return;
        }
        if self.goes_in_steps() {
            return self.begin_return(now, why);
        }
        self.generation = self.generation.after(now);
        self.phase = Phase::TurningBack { why, until: now + self.policy.activate_deadline };
    }

    pub(super) fn restore(&mut self, generation: Generation, now: Moment) {
        let why = Why::from("the store was restored from a backup meanwhile".to_owned());
        match &self.phase {
            Phase::Preparing { .. } | Phase::Holding { .. } => self.fail(now, why, false),
            Phase::Switching { .. } | Phase::Stepping { .. } => self.leave(now, why),
            Phase::TurningBack { .. } => {}
            Phase::Ended { .. } => return,
        }
        self.generation = generation;
        self.renew(generation);
        // Their orders are older than what they may have obeyed.
        self.excused.extend(std::mem::take(&mut self.set_aside).into_keys());
    }

    /// Fails a rollout that stayed paused for as long as it may wait for a person.
    pub(super) fn outlast_pause(&mut self, pause: Signature, now: Moment) {
        if now >= pause.at + self.policy.hold_deadline {
            let waited = in_words(self.policy.hold_deadline);
            let why = Why::from(format!("{} paused it and nobody resumed it within {waited}", pause.actor));
            match self.phase {
                Phase::Stepping { .. } => self.leave(now, why),
                _ => self.fail(now, why, true),
            }
        }
    }

    /// Returns how many hosts must still show up before the rollout can go on.
    pub(super) fn hosts_missing(&self) -> usize {
        self.nodes_min().saturating_sub(self.hosts.len())
    }

    pub(super) fn nodes_min(&self) -> usize {
        self.policy.nodes_min.max(1) as usize
    }

    /// Sets aside the hosts that were cordoned since the last look. All others get newer orders with a barrier of their
    /// own, so that a host that has yet to hear of it cannot switch by the order that it holds.
    fn leave_out(&mut self, seen: &Observation) {
        let (cordoned, free): (BTreeSet<_>, _) =
            std::mem::take(&mut self.hosts).into_iter().partition(|host| seen.is_cordoned(host));
        self.hosts = free;
        if !cordoned.is_empty() {
            let age = self.generation.after(seen.now);
            self.set_aside.extend(cordoned.into_iter().map(|host| (host, age)));
            self.generation = age.after(seen.now);
        }
    }

    /// Takes along, without waiting for them, the hosts that were set aside and are cordoned no more.
    fn take_along(&mut self, seen: &Observation) {
        let free = |host: &&HostName| !seen.is_cordoned(host);
        let freed: Vec<HostName> = self.set_aside.keys().filter(free).cloned().collect();
        self.set_aside.retain(|host, _| !free(&host));
        self.excused.extend(freed.iter().cloned());
        self.skip_freed(freed, seen.now);
    }

    pub(super) fn excuse(&mut self, hosts: BTreeSet<HostName>) {
        self.hosts.retain(|host| !hosts.contains(host));
        self.excused.extend(hosts);
    }
}

pub(super) fn blame(target: &Target, failure: &Failure, release: &ReleaseId) -> Why {
    let sentence = failure.blame(target, release, &short(&failure.reason));
    Why { sentence, output: failure.output.clone() }
}
