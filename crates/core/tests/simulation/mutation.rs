//! Planted faults: each breaks one thing in the agent, in what the controller sees, or in what it writes.
//!
//! They sit at the seams of the simulation, so that no test code is compiled into the core.

use footplate_core::fleet::{Current, Seen, Turn};
use footplate_core::gate::Door;
use footplate_core::generation::Generation;
use footplate_core::rollout::Phase;
use footplate_core::target::{Readiness, Up};
use footplate_core::traffic::{EndpointState, Share};
use footplate_core::verdict::Standing;

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
    ControllerDoesNotWaitForRouters,
    ControllerForgetsRoutersWhoseAgentsAreAway,
    ControllerWritesTrafficBeforeRoutes,
    ControllerLetsInWhatIsNotReady,
    ControllerLetsInWhatWasNotAccepted,
    ControllerStopsBeforeDraining,
    ControllerTurnsBackBeforeTheOldOneIsUp,
    ControllerGivesACanaryAllItsShareAtOnce,
    ControllerEmptiesAllHostsAtOnce,
    ControllerForgetsRoutesThatAreOver,
    ControllerMovesWhatWasNotChosen,
    ControllerForgetsHostsThatLeave,
    AgentStopsBeforeItsSuccessorIsInCharge,
    ControllerForgetsTheGate,
    ControllerForgetsToHalt,
    PeopleWalkAroundTheGate,
    ControllerIgnoresTheJudge,
    ControllerTrustsTheUnknown,
}

impl Mutation {
    pub const ALL: [Mutation; 33] = [
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
        Mutation::ControllerDoesNotWaitForRouters,
        Mutation::ControllerForgetsRoutersWhoseAgentsAreAway,
        Mutation::ControllerWritesTrafficBeforeRoutes,
        Mutation::ControllerLetsInWhatIsNotReady,
        Mutation::ControllerLetsInWhatWasNotAccepted,
        Mutation::ControllerStopsBeforeDraining,
        Mutation::ControllerTurnsBackBeforeTheOldOneIsUp,
        Mutation::ControllerGivesACanaryAllItsShareAtOnce,
        Mutation::ControllerEmptiesAllHostsAtOnce,
        Mutation::ControllerForgetsRoutesThatAreOver,
        Mutation::ControllerMovesWhatWasNotChosen,
        Mutation::ControllerForgetsHostsThatLeave,
        Mutation::AgentStopsBeforeItsSuccessorIsInCharge,
        Mutation::ControllerForgetsTheGate,
        Mutation::ControllerForgetsToHalt,
        Mutation::PeopleWalkAroundTheGate,
        Mutation::ControllerIgnoresTheJudge,
        Mutation::ControllerTrustsTheUnknown,
    ];

    /// Changes what the controller sees before its turn.
    pub fn blur(self, seen: &mut Seen) {
        self.blur_services(seen);
        match (self, &mut seen.judged) {
            (Mutation::ControllerIgnoresTheJudge, judged) => *judged = None,
            (Mutation::ControllerTrustsTheUnknown, Some(judged)) if judged.standing == Standing::Unknown => {
                judged.standing = Standing::NotWorse;
            }
            _ => {}
        }
        if self == Mutation::ControllerForgetsTheGate {
            seen.door = Door::default();
        }
        if let Some(rollout) =
            seen.rollout.as_mut().filter(|_| self == Mutation::ControllerMovesWhatWasNotChosen)
        {
            rollout.groups.extend(seen.current.delivery.groups.iter().cloned());
        }
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

    fn blur_services(self, seen: &mut Seen) {
        if self == Mutation::ControllerForgetsRoutersWhoseAgentsAreAway {
            let away = seen.hosts.values_mut().filter(|host| host.presence.is_none());
            away.for_each(|host| host.router = None);
        }
        let routers = seen.hosts.values_mut().filter_map(|host| host.router.as_mut());
        match self {
            Mutation::ControllerDoesNotWaitForRouters => {
                routers.for_each(|followed| followed.revision = Generation::new(u64::MAX, 0));
            }
            Mutation::ControllerStopsBeforeDraining => routers.for_each(|followed| followed.busy.clear()),
            Mutation::ControllerLetsInWhatIsNotReady => {
                ups(seen).for_each(|up| up.readiness = Readiness::Ready);
            }
            Mutation::ControllerLetsInWhatWasNotAccepted => ups(seen).for_each(|up| up.accepted = 9),
            _ => {}
        }
    }

    /// Changes what the controller writes about requests after its turn.
    fn bend_services(self, seen: &Seen, turn: &mut Turn) {
        let rollout = turn.rollout.as_ref().or(seen.rollout.as_ref());
        let Some(rollout) = rollout.filter(|rollout| rollout.is_active()) else { return };
        let turns = matches!(rollout.phase, Phase::TurningBack { .. });
        let (from, to) = (rollout.from.as_ref().map(|from| from.id.clone()), rollout.to.id.clone());
        let empties = rollout.policy.pace.alone && rollout.leads_forward() && rollout.course.is_some();
        let all = seen.routes.iter().filter(|_| empties && self == Mutation::ControllerEmptiesAllHostsAtOnce);
        let all: Vec<_> = all.map(|(target, route)| (target.clone(), route.clone())).collect();
        all.into_iter().for_each(|(target, route)| {
            turn.routes.entry(target).or_insert(route);
        });
        let endpoints = turn.routes.values_mut().flat_map(|route| &mut route.endpoints);
        match self {
            Mutation::ControllerTurnsBackBeforeTheOldOneIsUp if turns => endpoints
                .filter(|(id, _)| **id == to)
                .for_each(|(_, endpoint)| endpoint.state = EndpointState::Draining),
            Mutation::ControllerEmptiesAllHostsAtOnce if empties => endpoints
                .filter(|(id, _)| Some(*id) == from.as_ref())
                .for_each(|(_, endpoint)| endpoint.state = EndpointState::Draining),
            Mutation::ControllerGivesACanaryAllItsShareAtOnce => {
                let canary = turn.traffic.as_mut().and_then(|traffic| traffic.canary.as_mut());
                canary.into_iter().for_each(|canary| canary.share = Share::ALL);
            }
            _ => {}
        }
    }

    /// Changes what the controller writes after its turn.
    pub fn bend(self, seen: &Seen, turn: &mut Turn) {
        self.bend_services(seen, turn);
        let known = |target: &_| seen.orders.contains_key(target);
        match self {
            // What it would write of a gate that it does not see is no gate of the store's.
            Mutation::ControllerForgetsToHalt | Mutation::ControllerForgetsTheGate => turn.gate = None,
            Mutation::ControllerForgetsRoutesThatAreOver => turn.routes_gone.clear(),
            Mutation::ControllerForgetsHostsThatLeave => {
                turn.orders.retain(|_, order| order.leaves_at.is_none());
            }
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

fn ups(seen: &mut Seen) -> impl Iterator<Item = &mut Up> {
    let reports = seen.hosts.values_mut().flat_map(|host| host.reports.values_mut());
    reports.flat_map(|report| report.up.values_mut())
}
