//! The judge: what was called worse goes back at once, and the old release is not left before the new one is proved good, unless a
//! person or the rules say so.

use std::collections::BTreeSet;

use footplate_core::rollout::{Phase, Rollout};
use footplate_core::traffic::Share;
use footplate_core::verdict::{OnUnknown, Standing};

use super::{Fact, Promise, Scene, hold};
use crate::store::Value;

/// Remembers which rollouts were proved good, by their numbers.
#[derive(Default)]
pub struct Obeyed {
    proved: BTreeSet<u64>,
}

impl Promise for Obeyed {
    fn name(&self) -> &'static str {
        "the judge is obeyed"
    }

    fn judge(&mut self, fact: &Fact, _: &Scene) -> Result<(), String> {
        match fact {
            Fact::Decided { seen, turn } => {
                let Some(judged) = &seen.judged else { return Ok(()) };
                if judged.standing == Standing::NotWorse {
                    self.proved.insert(judged.rollout);
                }
                let after = turn.rollout.as_ref().or(seen.rollout.as_ref());
                let goes_on = after.filter(|after| {
                    after.number == judged.rollout && matches!(after.phase, Phase::Stepping { .. })
                });
                hold(goes_on.is_none() || judged.standing != Standing::Worse, || {
                    format!("rollout {} goes on although its judge called it worse", judged.rollout)
                })
            }
            Fact::Wrote { write, before: Some(Value::Rollout(old)), .. } => match &write.value {
                Some(Value::Rollout(new)) => self.left(old, new),
                _ => Ok(()),
            },
            // A store that was replaced by an older one may judge anew.
            Fact::Restored => {
                self.proved.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Obeyed {
    /// Judges that a rollout left the last step of its ramp.
    fn left(&self, old: &Rollout, new: &Rollout) -> Result<(), String> {
        let (Phase::Stepping { step: before, .. }, Phase::Stepping { step: after, .. }) =
            (&old.phase, &new.phase)
        else {
            return Ok(());
        };
        let asks = old.judging().is_some_and(|judging| judging.on_unknown != OnUnknown::Promote);
        if old.number != new.number || after <= before || !asks || !is_end_of_ramp(old, *before) {
            return Ok(());
        }
        let is_trusted = old.course.iter().chain(&new.course).any(|course| course.trusted > *before);
        hold(is_trusted || self.proved.contains(&old.number), || {
            format!("rollout {} leaves step {} without a proof", old.number, before + 1)
        })
    }
}

/// Tells whether this is the last step in which the new release has a part of the requests by a share.
fn is_end_of_ramp(rollout: &Rollout, step: u32) -> bool {
    let is_part = |share: Option<Share>| share.is_some_and(|share| share > Share::NONE && share < Share::ALL);
    let ramp: Vec<bool> = rollout.goals().iter().map(|goal| is_part(goal.share)).collect();
    ramp.iter().rposition(|is_part| *is_part) == Some(step as usize)
}
