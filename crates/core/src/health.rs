//! Whether a service works: start-up, readiness and liveness told apart, from probe answers, exits and the time.
//!
//! Invariants: nothing is ready without as many good answers in a row as its probe wants, all given since its process
//! was last started; `Starting` and `Unready` are left by their deadline; a failure stays on record, whatever comes after
//! it, until a new [`Condition`] is begun.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::{Moment, in_words};
use crate::release::service::{Health, Probe, Restart};

/// What is known of one service's health. The agent keeps it across its own restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Where it stands.
    pub phase: Phase,
    /// Whether its present process has answered the start-up probe; only then it is asked for readiness and liveness.
    came_up: bool,
    startup: Streak,
    readiness: Streak,
    liveness: Streak,
    /// When it crashed, within the window; at most as many as make it fail.
    crashes: Vec<Moment>,
    /// When its present process was started.
    #[serde(default)]
    started: Moment,
    /// Whether it was ever ready for long enough.
    #[serde(default)]
    pub has_settled: bool,
    /// What it did after that, and others have yet to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crashed: Option<Crashed>,
    /// The first failure since this was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Where a service stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// It was never ready yet.
    Starting {
        /// When that becomes a failure.
        until: Moment,
        /// What the last bad answer or exit said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// It takes work.
    Ready {
        /// Since when without a break.
        since: Moment,
    },
    /// It was ready, and takes no work now.
    Unready {
        /// Since when.
        since: Moment,
        /// When that becomes a failure.
        until: Moment,
        /// What the last bad answer or exit said.
        why: String,
    },
    /// It has failed. It is watched on, and may become ready again.
    Failed {
        /// Why.
        why: String,
    },
}

/// Why a service failed, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why, in a sentence.
    pub why: String,
    /// When.
    pub at: Moment,
}

/// Crashes of a service that had settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashed {
    /// How often, since this was begun.
    pub times: u32,
    /// The last one in a sentence.
    pub why: String,
}

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Has it come up?
    Startup,
    /// Does it take work now?
    Readiness,
    /// Must it be restarted?
    Liveness,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its process was started, again or for the first time.
    Started,
    /// Its process ended by itself and should not have: how, in a few words.
    Crashed(String),
    /// A probe was good.
    Good(Question),
    /// A probe was bad: how, in a few words.
    Bad(Question, String),
    /// Nothing but time passed.
    Tick,
}

/// What a service became, and what must be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it became.
    pub next: Condition,
    /// Why it must be restarted now: liveness was bad too often.
    pub restart: Option<String>,
}

/// Good or bad answers in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Streak {
    #[default]
    None,
    Good(u32),
    Bad(u32),
}

impl Condition {
    /// Begins to watch a service that is started now.
    pub fn begin(health: &Health, now: Moment) -> Self {
        let begun = Self {
            phase: Phase::Starting { until: now + health.start_deadline, why: None },
            came_up: false,
            startup: Streak::None,
            readiness: Streak::None,
            liveness: Streak::None,
            crashes: Vec::new(),
            started: now,
            has_settled: false,
            crashed: None,
            failure: None,
        };
        begun.step(health, &Event::Started, now).next
    }

    /// Tells whether traffic may go to it.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// Tells whether it has been ready long enough, and has not failed since this was begun.
    pub fn is_settled(&self, health: &Health, now: Moment) -> bool {
        self.failure.is_none()
            && matches!(self.phase, Phase::Ready { since } if now.since(since) >= health.healthy_time_min)
    }

    /// Lists what to ask now. Before it came up only the start-up probe is asked, afterwards the other two.
    pub fn questions<'a>(&self, health: &'a Health) -> Vec<(Question, &'a Probe)> {
        let of = |question, probe: &'a Option<Probe>| probe.as_ref().map(|probe| (question, probe));
        let asked = match self.came_up {
            false => [of(Question::Startup, &health.startup), None],
            true => [of(Question::Readiness, &health.readiness), of(Question::Liveness, &health.liveness)],
        };
        asked.into_iter().flatten().collect()
    }

    /// Returns when a [`Event::Tick`] changes something: a deadline, or the end of the time until it is settled.
    pub fn wakes_at(&self, health: &Health) -> Option<Moment> {
        match self.phase {
            Phase::Starting { until, .. } | Phase::Unready { until, .. } => Some(until),
            Phase::Ready { since } => Some(since + health.healthy_time_min),
            Phase::Failed { .. } => None,
        }
    }

    /// Returns what it becomes after `event` at `now`.
    pub fn step(&self, health: &Health, event: &Event, now: Moment) -> Step {
        let mut next = self.clone();
        next.has_settled |= self.is_settled(health, now);
        next.forget_old_crashes(health, now);
        let restart = match event {
            Event::Started => next.started(health, now),
            Event::Crashed(how) => next.crash(health, "crashed", how, now),
            Event::Good(question) => next.good(health, *question, now),
            Event::Bad(question, how) => next.bad(health, *question, how, now),
            Event::Tick => None,
        };
        next.pass_deadline(health, now);
        next.has_settled |= next.is_settled(health, now);
        Step { next, restart }
    }

    fn started(&mut self, health: &Health, now: Moment) -> Option<String> {
        self.forget_answers();
        self.started = now;
        self.came_up = health.startup.is_none();
        if self.came_up && health.readiness.is_none() {
            self.become_ready(now);
        } else if self.is_ready() {
            self.become_unready(health, "it was started again", now);
        }
        None
    }

    fn crash(&mut self, health: &Health, what: &str, how: &str, now: Moment) -> Option<String> {
        let after = in_words(now.since(self.started));
        if self.has_settled {
            let times = self.crashed.as_ref().map_or(0, |crashed| crashed.times).saturating_add(1);
            let why = match times {
                1 => format!("it {what} {after} after its start: {how}"),
                _ => format!("it {what} {}, the last time {after} after its start: {how}", often(times)),
            };
            self.crashed = Some(Crashed { times, why });
        }
        self.forget_answers();
        self.came_up = false;
        self.crashes.push(now);
        self.become_unready(health, how, now);
        if self.crashes.len() >= usize::try_from(health.crashes_max.max(1)).unwrap_or(usize::MAX) {
            self.crashes.remove(0);
            let often = often(self.crashes.len() + 1);
            let window = in_words(health.crash_window);
            self.fail(
                format!("it {what} {often} within {window}, the last time {after} after its start: {how}"),
                now,
            );
        }
        None
    }

    fn good(&mut self, health: &Health, question: Question, now: Moment) -> Option<String> {
        let probe = self.probe(health, question)?;
        let is_enough = self.streak(question).good() >= probe.healthy_after.max(1);
        match question {
            Question::Startup if is_enough => {
                self.came_up = true;
                if health.readiness.is_none() {
                    self.become_ready(now);
                }
            }
            Question::Readiness if is_enough => self.become_ready(now),
            _ => {}
        }
        None
    }

    fn bad(&mut self, health: &Health, question: Question, how: &str, now: Moment) -> Option<String> {
        let probe = self.probe(health, question)?;
        let is_enough = self.streak(question).bad() >= probe.unhealthy_after.max(1);
        if let Phase::Starting { why, .. } = &mut self.phase {
            *why = Some(how.to_owned());
        }
        match question {
            Question::Readiness if is_enough => self.become_unready(health, how, now),
            Question::Liveness if is_enough => {
                let why = format!("its liveness check failed {}: {how}", often(probe.unhealthy_after.max(1)));
                // It is about to be started again, and that counts like an end of its own.
                self.crash(health, "hung", &why, now);
                return Some(why);
            }
            _ => {}
        }
        None
    }

    /// Returns the probe of a question that is asked now; an answer to another one came too late and says nothing.
    fn probe<'a>(&self, health: &'a Health, question: Question) -> Option<&'a Probe> {
        self.questions(health).into_iter().find(|(asked, _)| *asked == question).map(|(_, probe)| probe)
    }

    fn streak(&mut self, question: Question) -> &mut Streak {
        match question {
            Question::Startup => &mut self.startup,
            Question::Readiness => &mut self.readiness,
            Question::Liveness => &mut self.liveness,
        }
    }

    fn become_ready(&mut self, now: Moment) {
        if !self.is_ready() {
            self.phase = Phase::Ready { since: now };
        }
    }

    fn become_unready(&mut self, health: &Health, how: &str, now: Moment) {
        match &mut self.phase {
            Phase::Starting { why, .. } => *why = Some(how.to_owned()),
            Phase::Ready { .. } => {
                let until = now + health.unready_deadline;
                self.phase = Phase::Unready { since: now, until, why: how.to_owned() };
            }
            Phase::Unready { why, .. } => how.clone_into(why),
            Phase::Failed { .. } => {}
        }
    }

    fn pass_deadline(&mut self, health: &Health, now: Moment) {
        let over = match &self.phase {
            Phase::Starting { until, why } if now >= *until => {
                let why = why.as_deref().unwrap_or("it never answered");
                format!("it did not become ready within {}: {why}", in_words(health.start_deadline))
            }
            Phase::Unready { until, why, .. } if now >= *until => {
                format!("it was not ready for {}: {why}", in_words(health.unready_deadline))
            }
            _ => return,
        };
        self.fail(over, now);
    }

    fn fail(&mut self, why: String, now: Moment) {
        self.failure.get_or_insert_with(|| Failure { why: why.clone(), at: now });
        self.phase = Phase::Failed { why };
    }

    fn forget_answers(&mut self) {
        (self.startup, self.readiness, self.liveness) = Default::default();
    }

    fn forget_old_crashes(&mut self, health: &Health, now: Moment) {
        self.crashes.retain(|crash| now.since(*crash) < health.crash_window);
    }
}

impl Streak {
    /// Counts a good answer and returns how many there were in a row.
    fn good(&mut self) -> u32 {
        let count = if let Streak::Good(count) = *self { count.saturating_add(1) } else { 1 };
        *self = Streak::Good(count);
        count
    }

    /// Counts a bad answer and returns how many there were in a row.
    fn bad(&mut self) -> u32 {
        let count = if let Streak::Bad(count) = *self { count.saturating_add(1) } else { 1 };
        *self = Streak::Bad(count);
        count
    }
}

/// Returns how long after its end a service is started again, after so many short runs one after the other.
pub fn restart_delay(restart: &Restart, short_runs: u32) -> Duration {
    let factor = 1u32 << short_runs.saturating_sub(1).min(16);
    restart.delay_min.saturating_mul(factor).min(restart.delay_max.max(restart.delay_min))
}

fn often(count: impl TryInto<u64>) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        many => format!("{many} times"),
    }
}

#[cfg(test)]
mod tests;
