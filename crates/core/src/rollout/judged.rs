//! What a rollout in steps makes of its judge: back when the new release is worse, on when it is proved not to be, and on by the clock
//! only where nothing speaks against it.
//!
//! Invariants: a release that was called worse goes back at once, whatever it does and whoever paused it; the old release leaves no host
//! for good before the new one is proved not to be worse, unless a person or the rules say otherwise; waiting for a proof has a deadline.

use std::time::Duration;

use super::course::Part;
use super::{Goal, Kind, Observation, Phase, Rollout, Why};
use crate::moment::{Moment, in_words};
use crate::traffic::Share;
use crate::verdict::{Judging, OnUnknown, Standing};

/// For how long what a judge said counts, but that a release is worse, which stays. It says something every five seconds.
const FRESH: Duration = Duration::from_secs(20);

/// What the judge of a rollout says at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The number of the rollout that it is about.
    pub rollout: u64,
    /// Up to when it has heard.
    pub at: Moment,
    /// What is proved.
    pub standing: Standing,
    /// Whether something speaks against going on although nothing is proved: a KPI of which nothing is heard, or evidence that grows.
    pub is_doubtful: bool,
    /// In a sentence without a full stop.
    pub sentence: String,
}

impl Rollout {
    /// Returns how it is judged, if anybody does: a deployment of something that takes another's place.
    pub fn judging(&self) -> Option<&Judging> {
        let judging = self.policy.judging.as_ref();
        judging.filter(|_| self.kind == Kind::Deploy && !self.is_first() && self.runs_in_steps())
    }

    /// Tells whether both releases answer in this step, each its part.
    pub fn is_side_by_side(&self) -> bool {
        matches!(self.phase, Phase::Stepping { step, .. } if is_shared(&self.goal(step), self.hosts.len()))
    }

    /// Tells whether the new release has all requests, and is watched against what was before.
    pub fn is_watched_afterwards(&self) -> bool {
        let Phase::Stepping { step, part, .. } = self.phase else { return false };
        self.judging().is_some() && part >= Part::Watching && self.is_last(step)
    }

    /// Tells whether a judge has heard of it: users have something of it, or had.
    pub(crate) fn is_heard(&self) -> bool {
        self.judging().is_some() && self.lets_in()
    }

    /// Tells whether it waits for a proof beyond the time of its step.
    pub fn awaits_proof(&self) -> bool {
        self.course.as_ref().is_some_and(|course| course.awaits_proof)
    }

    /// Returns why it goes back by what its judge says now.
    pub(super) fn condemned(&self, seen: &Observation) -> Option<Why> {
        let judged = self.judged(seen).filter(|judged| judged.standing == Standing::Worse)?;
        Some(Why::from(judged.sentence.clone()))
    }

    /// Tells whether the end of this step is the judge's business.
    pub(super) fn is_judged(&self, step: u32) -> bool {
        self.judging().is_some()
            && is_shared(&self.goal(step), self.hosts.len())
            && !self.is_tried_again(step)
    }

    /// Watches a step that is judged: on when the new release is proved good, or when its time is over and nothing speaks against it.
    pub(super) fn watch_judged(&mut self, seen: &Observation, step: u32, until: Moment) {
        let judged = self.judged(seen).filter(|judged| judged.at + FRESH >= seen.now);
        let is_proved = judged.is_some_and(|judged| judged.standing == Standing::NotWorse);
        let is_doubtful = judged.is_none_or(|judged| judged.is_doubtful);
        let may_pass = !is_doubtful && !self.asks_for_proof(step);
        let (is_over, awaits) = (seen.now >= until, self.awaits_proof());
        if is_proved || self.course().trusted > step || (may_pass && (is_over || awaits)) {
            return self.leave_part(seen, step, Part::Watching);
        }
        let Some(judging) = self.judging().filter(|_| is_over) else { return };
        let (on_unknown, unknown_max) = (judging.on_unknown, judging.unknown_max);
        // Before the end of the ramp there is time, whatever is to become of an unknown one.
        let waits = !awaits && (on_unknown == OnUnknown::Hold || !self.asks_for_proof(step));
        match on_unknown {
            _ if waits => {
                self.course_mut().awaits_proof = true;
                self.phase = Phase::Stepping { step, part: Part::Watching, until: seen.now + unknown_max };
            }
            OnUnknown::Promote => self.leave_part(seen, step, Part::Watching),
            OnUnknown::Hold | OnUnknown::Rollback => {
                let known = judged.map_or("nobody judged it", |judged| judged.sentence.as_str());
                let waited =
                    if awaits { format!(" after {} more", in_words(unknown_max)) } else { String::new() };
                let why = format!("`{}` was not proved good{waited}: {known}", self.to.id);
                self.leave(seen.now, why.into());
            }
        }
    }

    fn judged<'a>(&self, seen: &'a Observation) -> Option<&'a Judged> {
        let judged = seen.judged.as_ref().filter(|judged| judged.rollout == self.number);
        judged.filter(|_| self.judging().is_some())
    }

    /// Tells whether this is the step after which the old release leaves: the last one of a ramp, and without one the last in which both
    /// answer.
    pub(super) fn asks_for_proof(&self, step: u32) -> bool {
        let (goals, hosts) = (self.goals(), self.hosts.len());
        let shared = || goals.iter().enumerate().filter(|(_, goal)| is_shared(goal, hosts));
        let ramp = shared().rfind(|(_, goal)| goal.over == 0);
        ramp.or_else(|| shared().next_back()).is_some_and(|(last, _)| last == step as usize)
    }

    fn runs_in_steps(&self) -> bool {
        self.goes_in_steps() && self.to.has_services()
    }

    pub(super) fn is_last(&self, step: u32) -> bool {
        step as usize + 1 >= self.goals().len()
    }
}

/// Tells whether both releases answer once a step got where it leads.
fn is_shared(goal: &Goal, hosts: usize) -> bool {
    match goal.share {
        Some(share) => share > Share::NONE && share < Share::ALL,
        None => goal.over > 0 && goal.over < hosts,
    }
}
