//! Promise 7: every wait has a deadline and says what it waits for; every rollout ends.

use std::time::Duration;

use footplate_core::fleet::observe;
use footplate_core::rollout::{Missing, Phase, WaitingOn, describe, missing, waiting_on};

use super::{Fact, Promise, Scene, hold};
use crate::controller::{look, rollout};
use crate::store::Value;

pub struct Deadlines;

impl Promise for Deadlines {
    fn name(&self) -> &'static str {
        "every wait has a deadline"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Wrote { write, .. } => match &write.value {
                Some(Value::Rollout(rollout)) if rollout.is_active() => {
                    let (policy, pace) = (&rollout.policy, &rollout.policy.pace);
                    let longest = policy.hold_deadline.max(policy.prepare_deadline)
                        + policy
                            .activate_deadline
                            .max(pace.step_deadline + pace.drain + pace.watch + pace.soak)
                        + policy.hold_deadline;
                    let deadline = rollout.deadline().ok_or("a rollout waits without a deadline")?;
                    hold(deadline.since(scene.now) <= longest, || format!("it waits until {deadline:?}"))?;
                    let Some(seen) = look(&scene.store, scene.now) else { return Ok(()) };
                    let seen =
                        observe(seen.current.selector(Some(rollout)), Some(rollout), &seen.hosts, scene.now);
                    let waiting = waiting_on(rollout, &seen);
                    if let WaitingOn::Targets { there, of, .. } = waiting {
                        let counted = missing(rollout, &seen);
                        let nobody = rollout.course.is_some().then_some(Missing { targets: 0, of });
                        hold(counted.or(nobody) == Some(Missing { targets: of - there, of }), || {
                            format!("{waiting:?} is not {counted:?}")
                        })?;
                    }
                    let waiting = waiting.to_string();
                    hold(waiting.contains("for another"), || format!("it does not say how long: {waiting}"))
                }
                Some(Value::Rollout(rollout)) => {
                    let told = rollout.outcome().map(|outcome| describe(rollout, outcome));
                    hold(told.is_some_and(|told| told.contains("production.shop")), || {
                        "an end says nothing".to_owned()
                    })
                }
                _ => Ok(()),
            },
            Fact::Decided { seen, turn } if turn.is_settled() => {
                hold(turn.look_again_at.is_none_or(|at| at > seen.now), || {
                    format!("it looks again at once, at {:?}, although nothing changes", turn.look_again_at)
                })
            }
            Fact::Ended => match rollout(&scene.store) {
                Some(rollout) if rollout.is_active() => {
                    let late = rollout.deadline().map_or(Duration::ZERO, |until| scene.now.since(until));
                    Err(format!(
                        "rollout {} is still {}, {late:?} after its deadline",
                        rollout.number,
                        rollout.phase.word()
                    ))
                }
                Some(rollout) => {
                    hold(matches!(rollout.phase, Phase::Ended { .. }), || "it did not end".to_owned())
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
