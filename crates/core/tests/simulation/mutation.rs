//! Planted faults: each breaks one thing in the agent, in what the controller sees, or in what it writes.
//!
//! They sit at the seams of the simulation, so that no test code is compiled into the core.

use footplate_core::fleet::{Current, Seen, Turn};
use footplate_core::generation::Generation;
use footplate_core::rollout::Phase;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    AgentActivatesWhatIsNotPrepared,
    AgentActivatesInTwoSteps,
    AgentObeysOlderOrders,
    AgentTakesLaterBarriers,
    AgentCleansWhatIsKept,
    ControllerBelievesPreparedWithoutReports,
    ControllerBelievesLiveWithoutReports,
    ControllerWritesWithoutLease,
    ControllerNeverLooksAtTheClock,
    ControllerForgetsHostsThatJoin,
    ControllerRepairsNothing,
    ControllerTurnsBackAtTheSameGeneration,
    ControllerKeepsOnlyWhatRuns,
    ControllerMissesThatTheStoreWasRestored,
    ControllerTakesADeliveryOverTooEarly,
}

impl Mutation {
    pub const ALL: [Mutation; 15] = [
        Mutation::AgentActivatesWhatIsNotPrepared,
        Mutation::AgentActivatesInTwoSteps,
        Mutation::AgentObeysOlderOrders,
        Mutation::AgentTakesLaterBarriers,
        Mutation::AgentCleansWhatIsKept,
        Mutation::ControllerBelievesPreparedWithoutReports,
        Mutation::ControllerBelievesLiveWithoutReports,
        Mutation::ControllerWritesWithoutLease,
        Mutation::ControllerNeverLooksAtTheClock,
        Mutation::ControllerForgetsHostsThatJoin,
        Mutation::ControllerRepairsNothing,
        Mutation::ControllerTurnsBackAtTheSameGeneration,
        Mutation::ControllerKeepsOnlyWhatRuns,
        Mutation::ControllerMissesThatTheStoreWasRestored,
        Mutation::ControllerTakesADeliveryOverTooEarly,
    ];

    /// Changes what the controller sees before its turn.
    pub fn blur(self, seen: &mut Seen) {
        let Some(rollout) = &seen.rollout else { return };
        let (to, generation) = (rollout.to.id.clone(), rollout.generation);
        let reports = seen.hosts.values_mut().flat_map(|host| host.reports.values_mut());
        match self {
            Mutation::ControllerBelievesPreparedWithoutReports => reports.for_each(|report| {
                report.generation = report.generation.max(generation);
                report.prepared.insert(to.clone());
            }),
            Mutation::ControllerBelievesLiveWithoutReports if rollout.has_switched() => {
                reports.for_each(|report| {
                    report.generation = report.generation.max(generation);
                    report.live = Some(to.clone());
                    report.failed.clear();
                });
            }
            Mutation::ControllerNeverLooksAtTheClock => seen.now = rollout.begun_at,
            Mutation::ControllerMissesThatTheStoreWasRestored => {
                let orders = &seen.orders;
                for (target, report) in seen.hosts.values_mut().flat_map(|host| &mut host.reports) {
                    let ordered = orders.get(target).map_or(Generation::default(), |order| order.generation);
                    report.generation = report.generation.min(ordered);
                }
            }
            _ => {}
        }
    }

    /// Changes what the controller writes after its turn.
    pub fn bend(self, seen: &Seen, turn: &mut Turn) {
        let known = |target: &_| seen.orders.contains_key(target);
        match self {
            Mutation::ControllerForgetsHostsThatJoin => {
                turn.orders.retain(|target, order| known(target) || order.switch.is_some());
            }
            Mutation::ControllerRepairsNothing => {
                turn.releases.clear();
                if turn.rollout.is_none() && turn.current.is_none() {
                    turn.orders.retain(|target, _| known(target));
                }
            }
            Mutation::ControllerTurnsBackAtTheSameGeneration => {
                let rollout = turn.rollout.as_ref().or(seen.rollout.as_ref());
                let turns = rollout.is_some_and(|rollout| matches!(rollout.phase, Phase::TurningBack { .. }));
                for (target, order) in turn.orders.iter_mut().filter(|_| turns) {
                    order.generation = seen.orders.get(target).map_or(order.generation, |old| old.generation);
                }
            }
            Mutation::ControllerTakesADeliveryOverTooEarly => {
                let rollout = turn.rollout.as_ref().or(seen.rollout.as_ref());
                if let Some(delivery) = rollout.and_then(|rollout| rollout.delivery.clone()) {
                    let current = turn.current.as_ref().unwrap_or(&seen.current);
                    turn.current = Some(Current { delivery, ..current.clone() });
                }
            }
            Mutation::ControllerKeepsOnlyWhatRuns => {
                for order in turn.orders.values_mut() {
                    let named = |id: &_| {
                        order.switch.as_ref().map_or(order.run.as_ref(), |switch| Some(&switch.to))
                            == Some(id)
                    };
                    let keep = order.keep.iter().filter(|release| named(&release.id)).cloned().collect();
                    order.keep = keep;
                }
            }
            _ => {}
        }
    }
}
