//! What a person's order makes of a rollout, or why it is refused.

use super::outcome::{Outcome, describe};
use super::{Command, Part, Phase, Rollout, Signature};
use crate::moment::Moment;
use crate::name::{Actor, ReleaseId};
use crate::refusal::Refusal;

impl Rollout {
    pub(super) fn obey(&mut self, command: &Command, actor: &Actor, now: Moment) -> Result<(), Refusal> {
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
        if let Phase::Stepping { step, part: Part::Holding, .. } = self.phase {
            self.course_mut().promoted = step + 1;
            return Ok(());
        }
        if let Phase::Stepping { step, part: Part::Watching, .. } = self.phase
            && self.is_judged(step)
        {
            self.course_mut().trusted = step + 1;
            return Ok(());
        }
        if !matches!(self.phase, Phase::Holding { .. }) {
            return Err(self.refuse("promote", "wait until it holds"));
        }
        self.phase = Phase::Preparing { until: by.at + self.policy.prepare_deadline };
        self.promoted = Some(by);
        Ok(())
    }

    fn pause(&mut self, by: Signature) -> Result<(), Refusal> {
        self.refuse_paused("pause")?;
        if !matches!(self.phase, Phase::Preparing { .. } | Phase::Holding { .. } | Phase::Stepping { .. }) {
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
        if let Phase::Preparing { until } | Phase::Holding { until } | Phase::Stepping { until, .. } =
            &mut self.phase
        {
            *until = *until + length;
        }
        Ok(())
    }

    fn abort(&mut self, by: Signature) -> Result<(), Refusal> {
        match self.phase {
            Phase::Preparing { .. } | Phase::Holding { .. } => {
                self.end_unswitched(by.at, Outcome::Aborted { by: by.actor });
            }
            Phase::Switching { .. } | Phase::Stepping { .. } => {
                self.leave(by.at, format!("{} aborted it", by.actor).into());
            }
            Phase::TurningBack { .. } | Phase::Ended { .. } => {
                return Err(self.refuse("abort", "wait for its end, then deploy or roll back"));
            }
        }
        Ok(())
    }

    fn roll_back(&mut self, by: Signature, reason: Option<&str>) -> Result<(), Refusal> {
        if !matches!(self.phase, Phase::Switching { .. } | Phase::Stepping { .. }) {
            return self.abort(by);
        }
        if self.is_first() {
            return Err(Refusal::new(
                format!("cannot roll back `{}`", self.path),
                "nothing ran before it, so there is nothing to go back to",
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

    /// Goes back from where it is, because another release is to follow.
    pub(crate) fn give_way(&mut self, actor: &Actor, to: &ReleaseId, now: Moment) {
        self.paused = None;
        self.leave(now, format!("{actor} replaces it with `{to}`").into());
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
            Phase::Stepping { step, part, .. } => {
                format!("it is {} at step {} of {}", part.word(), step + 1, self.goals().len())
            }
            Phase::TurningBack { .. } => "it is turning back already".to_owned(),
            Phase::Ended { outcome, .. } => {
                format!("rollout {} is over: {}", self.number, describe(self, outcome))
            }
        };
        Refusal::new(format!("cannot {verb} `{}`", self.path), because, next)
    }
}
