//! Only what is ready, accepted and let in serves; and a canary never gets more than its share.

use std::collections::BTreeSet;

use footplate_core::fleet::{Seen, Turn};
use footplate_core::name::{ReleaseId, Target};
use footplate_core::rollout::{At, Kind, Part, Phase, Rollout};
use footplate_core::traffic::{EndpointState, Route, Share};

use super::{Fact, Promise, Scene, hold};
use crate::controller::rollout;

/// Remembers what was accepted where, by the rollout's number, and what users had there when that rollout began: no acceptance is asked
/// of what users have already.
#[derive(Default)]
pub struct Readiness {
    accepted: BTreeSet<(u64, Target, ReleaseId)>,
    had: BTreeSet<(Target, ReleaseId)>,
    number: u64,
}

impl Promise for Readiness {
    fn name(&self) -> &'static str {
        "only what is ready serves"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Decided { seen, turn } => {
                let after = turn.rollout.as_ref().or(seen.rollout.as_ref());
                if let Some(rollout) = after {
                    self.remember(rollout.number, seen);
                }
                self.judge_routes(seen, turn, after)
            }
            Fact::Passed if scene.in_order => {
                rollout(&scene.store).map_or(Ok(()), |rollout| within_share(rollout, scene))
            }
            _ => Ok(()),
        }
    }
}

impl Readiness {
    fn remember(&mut self, number: u64, seen: &Seen) {
        if number != self.number {
            self.number = number;
            self.had = seen.routes.iter().flat_map(|(target, route)| let_in(target, route)).collect();
        }
        let reports = seen.hosts.values().flat_map(|host| &host.reports);
        for (target, report) in reports {
            let accepted = report.up.iter().filter(|(_, up)| up.accepted > 0);
            self.accepted.extend(accepted.map(|(id, _)| (number, target.clone(), id.clone())));
        }
    }

    fn judge_routes(&self, seen: &Seen, turn: &Turn, rollout: Option<&Rollout>) -> Result<(), String> {
        for (target, route) in &turn.routes {
            let report = seen.hosts.get(&target.host).and_then(|host| host.reports.get(target));
            for (id, _) in route.endpoints.iter().filter(|(_, one)| one.state == EndpointState::Serving) {
                hold(report.is_some_and(|report| report.is_ready(id)), || {
                    format!("{target} serves with {id}, and its report says {report:?}")
                })?;
                let judged = rollout.filter(|rollout| {
                    let tried = rollout.policy.pace.accept && rollout.kind == Kind::Deploy;
                    let waits = tried && rollout.requires(target);
                    waits && rollout.is_active() && rollout.to.id == *id
                });
                let accepted = judged.is_none_or(|rollout| {
                    self.accepted.contains(&(rollout.number, target.clone(), id.clone()))
                        || self.had.contains(&(target.clone(), id.clone()))
                });
                hold(accepted, || format!("{target} serves with {id}, which was not accepted there"))?;
            }
        }
        Ok(())
    }
}

/// Lists what users have, or had until it began to leave.
fn let_in<'a>(target: &'a Target, route: &'a Route) -> impl Iterator<Item = (Target, ReleaseId)> + 'a {
    let let_in = route.endpoints.iter().filter(|(_, one)| one.state != EndpointState::Standby);
    let_in.map(|(id, _)| (target.clone(), id.clone()))
}

/// While a step gives a share, no router gives more. Until the roll call is answered, what goes back to a release that still runs on
/// a host that was left out has all that this host gets.
fn within_share(rollout: &Rollout, scene: &Scene) -> Result<(), String> {
    let Phase::Stepping { step, part, .. } = rollout.phase else { return Ok(()) };
    if step == 0 && part <= Part::Calling {
        return Ok(());
    }
    let goal = rollout.goals().get(step as usize).and_then(|goal| goal.share);
    let Some(most) = goal else { return Ok(()) };
    // Hosts that ran it before the first step go on answering their part.
    let positions = rollout.course.iter().flat_map(|course| course.positions.values());
    let done = positions.filter(|position| position.at == At::Over).count();
    let most = most.max(Share::of_hosts(done, rollout.hosts.len()));
    for router in &scene.routers {
        let Some(table) = &router.table else { continue };
        let serves = table.routes.keys().any(|target| router.sends_to(target, &rollout.to.id));
        let canary = table.traffic.as_ref().and_then(|traffic| traffic.canary.as_ref());
        let share = canary.map_or(Share::ALL, |canary| canary.share);
        hold(!serves || share <= most, || {
            format!("{} gives {} {share} of the traffic instead of {most}", router.name, rollout.to.id)
        })?;
    }
    Ok(())
}
