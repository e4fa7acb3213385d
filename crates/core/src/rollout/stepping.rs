//! What facts make of a rollout in steps: on to the next part, or back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::course::{At, Part, Position};
use super::observe::blame;
use super::standing::named;
use super::{Observation, OnVanished, Phase, Rollout, Why};
use crate::moment::{Moment, in_words};
use crate::name::{HostName, Target};
use crate::target::{Failure, Lapse, Verb};

/// How long a router may take to answer the roll call while its agent is away: as long as a killed one needs to come back.
const ROLL_CALL: Duration = Duration::from_secs(30);

impl Rollout {
    /// Begins the first step. All required hosts have prepared the release.
    ///
    /// Hosts that run it already, and it alone, have come as far as the rollout leads, unless it must be accepted there first.
    pub(super) fn begin_steps(&mut self, seen: &Observation) {
        let base = self.generation;
        self.course_mut().base = base;
        if self.runs_beside() && !self.accepts() {
            let done = self.hosts.iter().filter(|host| self.has_only_new(seen, host)).cloned().collect();
            self.position(done, At::Over, seen.now);
        }
        self.enter(0, Part::Holding, seen.now);
    }

    /// Takes a rollout in steps as far as one observation allows.
    pub(super) fn step_on(&mut self, seen: &Observation, step: u32, part: Part, until: Moment) {
        self.skip_cordoned(seen);
        if let Some((host, target, failure)) = self.failure_in_steps(seen) {
            return self.put_up_with(seen, step, host, &target, &failure);
        }
        if let Some(why) = self.condemned(seen) {
            return self.leave(seen.now, why);
        }
        if let Some(pause) = &self.paused {
            return self.outlast_pause(pause.clone(), seen.now);
        }
        if part == Part::Watching && self.is_judged(step) {
            return self.watch_judged(seen, step, until);
        }
        let anew = seen.now + self.time_for(step, part);
        if until < anew && waits_for_routers(part) && self.is_untold(seen) {
            self.phase = Phase::Stepping { step, part, until: anew };
            return;
        }
        let passes = passes_in_time(part) && !(part == Part::Watching && self.is_tried_again(step));
        if self.is_done(seen, step, part) || (passes && seen.now >= until) {
            return self.leave_part(seen, step, part);
        }
        if seen.now >= until {
            self.miss_deadline(seen, step, part);
        }
    }

    /// Enters a part, or the first one after it that has something to do.
    fn enter(&mut self, step: u32, part: Part, now: Moment) {
        if part < Part::Watching {
            self.course_mut().awaits_proof = false;
        }
        let rest = Part::ALL.into_iter().filter(|other| *other >= part);
        for part in rest {
            if self.begin(step, part, now) {
                let until = now + self.time_for(step, part);
                self.phase = Phase::Stepping { step, part, until };
                return;
            }
        }
        self.enter(step + 1, Part::Holding, now);
    }

    /// Goes on with a step that some of its hosts were taken out of: others have their turn once as many are ready as the step
    /// before it asked for.
    fn enter_again(&mut self, seen: &Observation, step: u32) {
        match self.is_settled_before(seen, step) {
            true => self.enter(step, Part::Withdrawing, seen.now),
            false => self.enter(step - 1, Part::Settling, seen.now),
        }
    }

    /// Tells whether as many hosts are ready as the step before this one asked for.
    fn is_settled_before(&self, seen: &Observation, step: u32) -> bool {
        step.checked_sub(1).is_none_or(|before| self.unready(seen) <= self.unready_max(before))
    }

    pub(super) fn leave_part(&mut self, seen: &Observation, step: u32, part: Part) {
        if part == Part::Calling {
            self.give_up_the_absent();
        }
        if part == Part::Starting {
            let course = self.course.get_or_insert_default();
            course.failures = 0;
        }
        if part == Part::Watching && self.try_again(step, seen.now) {
            return;
        }
        let is_last = self.is_last(step);
        match Part::ALL.into_iter().find(|next| *next > part) {
            Some(next) => self.enter(step, next, seen.now),
            // Hosts that were taken out made the steps fewer, and some may not have had their turn.
            None if is_last && !self.next_hosts(self.hosts.len()).is_empty() => {
                self.enter(step, Part::Holding, seen.now);
            }
            None if is_last => self.arrive_in_steps(seen.now),
            None => self.enter(step + 1, Part::Holding, seen.now),
        }
    }

    /// Has the acceptance hook tried on the first host once more, as users have this step; tells whether it is waited for.
    fn try_again(&mut self, step: u32, now: Moment) -> bool {
        if !self.accepts() || self.is_tried_again(step) || self.course().first().is_none() {
            return false;
        }
        self.course_mut().round = step + 2;
        let until = now + self.policy.pace.step_deadline;
        self.phase = Phase::Stepping { step, part: Part::Watching, until };
        true
    }

    /// Its last orders take a higher generation: a host that it passed over gets another one than it had.
    fn arrive_in_steps(&mut self, now: Moment) {
        self.generation = self.generation.after(now);
        let course = self.course.clone().unwrap_or_default();
        let failed = course.positions.iter().filter(|(_, position)| position.at == At::Failed);
        let failed = failed.flat_map(|(host, _)| {
            super::targets_of(host, &self.groups)
                .map(|target| (target, "the new release failed there".to_owned()))
        });
        let failed = failed.collect();
        self.arrive(now, failed);
    }

    /// Puts hosts where the part wants them, and tells whether there is anything to wait for.
    fn begin(&mut self, step: u32, part: Part, now: Moment) -> bool {
        let (goal, both) = (self.goal(step), self.runs_beside());
        match part {
            Part::Holding => {
                self.policy.pace.hold_steps && !self.is_first() && self.course().promoted <= step
            }
            Part::Calling => {
                let is_first = step == 0 && self.is_routed();
                if is_first {
                    self.mark(now);
                }
                // Nothing that serves could be cut off yet.
                if is_first && !self.leaves_services() {
                    self.give_up_the_absent();
                }
                is_first && self.leaves_services()
            }
            Part::Withdrawing => {
                let batch = if both { Vec::new() } else { self.next_hosts(goal.up) };
                let empties = self.leaves_services() && !batch.is_empty();
                if empties {
                    self.position(batch, At::Emptied, now);
                    self.mark(now);
                }
                empties
            }
            Part::Emptying => self.are_any(At::Emptied),
            // What is about to take all requests of its host must be well now, however long it has been up.
            Part::Starting => {
                let batch = if both { self.next_hosts(goal.up) } else { self.pending(goal.up) };
                self.position(batch, if both { At::Beside } else { At::Renewed }, now);
                let is_due = self.are_any(At::Beside) || self.are_any(At::Renewed);
                is_due || (goal.over > 0 && self.are_any(At::Admitted))
            }
            Part::Accepting => {
                self.course_mut().round = step + 1;
                self.accepts()
            }
            // What leaves goes in the same change in which what follows comes: no share falls back in between.
            Part::Shifting => {
                self.replace(At::Beside, At::Admitted, usize::MAX, now);
                self.replace(At::Renewed, At::Over, usize::MAX, now);
                self.replace(At::Admitted, At::Leaving, goal.over, now);
                self.mark(now);
                self.is_routed()
            }
            Part::Draining => self.are_any(At::Leaving),
            Part::Stopping => both && self.replace(At::Leaving, At::Over, usize::MAX, now),
            Part::Watching | Part::Settling => true,
        }
    }

    fn are_any(&self, at: At) -> bool {
        self.course().positions.values().any(|position| position.at == at)
    }

    pub(super) fn time_for(&self, step: u32, part: Part) -> std::time::Duration {
        let pace = &self.policy.pace;
        let goals = self.goals();
        let last = self.is_last(step);
        let keeps_old =
            goals.get(step as usize).is_some_and(|goal| goal.up == self.hosts.len() && goal.over == 0);
        match part {
            Part::Holding => self.policy.hold_deadline,
            Part::Emptying | Part::Draining => pace.drain,
            Part::Watching if last => {
                self.judging().map_or(pace.soak, |judging| pace.soak.max(judging.after))
            }
            Part::Watching if keeps_old => pace.soak,
            Part::Watching => pace.watch,
            Part::Calling => ROLL_CALL,
            Part::Withdrawing
            | Part::Starting
            | Part::Accepting
            | Part::Shifting
            | Part::Stopping
            | Part::Settling => pace.step_deadline,
        }
    }

    fn is_done(&self, seen: &Observation, step: u32, part: Part) -> bool {
        let course = self.course();
        let at = |at: At| {
            let positions = course.positions.iter().filter(move |(_, position)| position.at == at);
            positions.map(|(host, _)| host).filter(|host| self.hosts.contains(*host))
        };
        match part {
            // What has the new release may have fallen ill while it was held.
            Part::Holding => course.promoted > step && self.is_settled_before(seen, step),
            Part::Calling | Part::Withdrawing => self.is_followed(seen),
            Part::Emptying => self.is_let_go(seen, at(At::Emptied)),
            // Before a canary gets its first share, every router knows that it has none yet.
            Part::Starting => self.late(seen, part).is_empty() && self.is_followed(seen),
            Part::Accepting => self.late(seen, part).is_empty(),
            Part::Settling => self.unready(seen) <= self.unready_max(step),
            Part::Shifting => self.is_followed(seen),
            Part::Draining => self.is_let_go(seen, at(At::Leaving)),
            Part::Stopping => at(At::Over).all(|host| self.is_alone(seen, host)),
            Part::Watching => self.is_tried_again(step) && self.late(seen, part).is_empty(),
        }
    }

    /// Takes a host out on which the new release failed before it was let in, and turns back when too many did in a row.
    ///
    /// One that users have already is not taken out of a rollout that goes on: that is a way back of its own.
    fn put_up_with(
        &mut self,
        seen: &Observation,
        step: u32,
        host: HostName,
        target: &Target,
        failure: &Failure,
    ) {
        let course = self.course_mut();
        course.failures += 1;
        let failures = course.failures;
        let at = course.positions.get(&host).map(|position| position.at);
        let is_let_in = !matches!(at, Some(At::Beside | At::Renewed));
        // Where the old one made way the host has nothing up: the next one may not be taken out beside it.
        let is_bare = self.leaves_services() && !self.runs_beside();
        if failures <= self.policy.pace.failures_max && !is_let_in && !is_bare {
            self.position(vec![host], At::Failed, seen.now);
            return self.enter_again(seen, step);
        }
        let mut why = blame(target, failure, &self.to.id);
        if failures > 1 {
            why.sentence = format!("{failures} hosts in a row failed, the last because {}", why.sentence);
        }
        self.leave(seen.now, why);
    }

    fn failure_in_steps(&self, seen: &Observation) -> Option<(HostName, Target, Failure)> {
        let course = self.course();
        let has_it = |position: &Position| !matches!(position.at, At::Emptied | At::Failed | At::Skipped);
        let posted = course.positions.iter().filter(|(_, position)| has_it(position));
        let posted = posted.filter(|(host, _)| self.hosts.contains(*host));
        posted
            .flat_map(|(host, position)| {
                super::targets_of(host, &self.groups).map(move |target| (host, position, target))
            })
            .find_map(|(host, position, target)| {
                let failure = seen.report(&target)?.failed.get(&self.to.id)?;
                let counts = failure.generation >= position.since.min(course.base)
                    && matches!(failure.verb, Verb::Activate | Verb::Start | Verb::Accept)
                    && !matches!(failure.lapse, Some(Lapse::Crashed(times)) if times <= self.policy.pace.crashes_max);
                counts.then(|| (host.clone(), target, failure.clone()))
            })
    }

    fn miss_deadline(&mut self, seen: &Observation, step: u32, part: Part) {
        let waited = match part {
            // Its own time has passed before: the hook, or a router whose agent lives, is waited for now.
            Part::Watching | Part::Calling => in_words(self.policy.pace.step_deadline),
            _ => in_words(self.time_for(step, part)),
        };
        if part == Part::Holding && self.course().promoted > step {
            let ill = named(&self.late(seen, Part::Settling), seen);
            return self.leave(seen.now, format!("{ill} had not become ready again after {waited}").into());
        }
        if part == Part::Holding {
            return self.leave(seen.now, format!("nobody promoted its next step within {waited}").into());
        }
        if part == Part::Calling && self.awaits_the_absent() {
            self.give_up_the_absent();
            let until = seen.now + self.policy.pace.step_deadline;
            self.phase = Phase::Stepping { step, part, until };
            return self.step_on(seen, step, part, until);
        }
        let late = self.late(seen, part);
        if late.is_empty() && self.may_give_up(seen) {
            self.give_up_the_absent();
            return self.leave_part(seen, step, part);
        }
        let vanished: BTreeSet<HostName> =
            late.iter().map(|target| &target.host).filter(|host| !seen.is_alive(host)).cloned().collect();
        let only_vanished = !late.is_empty() && late.iter().all(|target| vanished.contains(&target.host));
        if self.policy.on_vanished == OnVanished::GoOn && only_vanished && vanished.len() < self.hosts.len() {
            self.skip(vanished, seen.now);
            return self.enter_again(seen, step);
        }
        let sentence = match part {
            Part::Starting if late.is_empty() => {
                format!("{} did not follow within {waited}", self.laggards(seen))
            }
            Part::Calling | Part::Withdrawing | Part::Shifting => {
                format!("{} did not follow within {waited}", self.laggards(seen))
            }
            Part::Accepting | Part::Watching => {
                format!("{} had not been accepted after {waited}", named(&late, seen))
            }
            Part::Settling => {
                format!("{} had not become ready again after {waited}", named(&late, seen))
            }
            Part::Stopping => {
                format!("{} had not stopped the old release after {waited}", named(&late, seen))
            }
            _ => format!("{} had not started after {waited}", named(&late, seen)),
        };
        self.leave(seen.now, Why::from(sentence));
    }

    pub(super) fn course(&self) -> &super::Course {
        self.course.as_ref().expect("a rollout in steps has a course from its plan on")
    }

    pub(super) fn course_mut(&mut self) -> &mut super::Course {
        self.course.get_or_insert_default()
    }
}

fn waits_for_routers(part: Part) -> bool {
    matches!(part, Part::Calling | Part::Withdrawing | Part::Starting | Part::Shifting)
}

/// Tells whether a part that waited for as long as it may goes on, rather than turning back.
fn passes_in_time(part: Part) -> bool {
    matches!(part, Part::Emptying | Part::Draining | Part::Watching)
}
