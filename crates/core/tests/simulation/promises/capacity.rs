//! What a rollout does takes no host out: where old and new may run side by side, a host with something ready has something
//! that serves; where they may not, at most a batch is out on the way forward. And nothing in charge is stopped.

use std::collections::BTreeSet;

use footplate_core::fleet::{Restriction, Seen, Turn};
use footplate_core::moment::Moment;
use footplate_core::name::{HostName, ReleaseId, Target};
use footplate_core::rollout::{At, Phase, Position, Rollout, WayBack, goals};
use footplate_core::target::{Action, Readiness};
use footplate_core::traffic::{EndpointState, Route};

use super::{Fact, Promise, Scene, hold};

/// Remembers when the store was last restored: what its rollout did since the backup, it does not know.
#[derive(Default)]
pub struct Capacity {
    restored_at: Moment,
}

impl Promise for Capacity {
    fn name(&self) -> &'static str {
        "capacity stays"
    }

    fn judge(&mut self, fact: &Fact, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Decided { seen, turn } => {
                let rollout = turn.rollout.as_ref().or(seen.rollout.as_ref());
                let rollout = rollout.filter(|rollout| rollout.begun_at > self.restored_at);
                let Some(rollout) = rollout else { return Ok(()) };
                judge_pace(rollout, seen)?;
                judge_routes(rollout, seen, turn, scene)
            }
            Fact::Begun { target, action: Action::Stop(release), disk } => {
                let order = disk.order.as_ref().filter(|order| !order.alone && order.run.is_some());
                hold(order.is_none() || disk.live.as_ref() != Some(release), || {
                    format!("{target} stops {release}, which is in charge")
                })
            }
            Fact::Restored => {
                self.restored_at = scene.now;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// No further host is moved while one that was is not well.
fn judge_pace(rollout: &Rollout, seen: &Seen) -> Result<(), String> {
    let before = seen.rollout.as_ref().filter(|before| before.number == rollout.number);
    let (Some(before), Some(course), Phase::Stepping { .. }) = (before, &rollout.course, &rollout.phase)
    else {
        return Ok(());
    };
    let stood =
        |host: &HostName| before.course.as_ref().is_some_and(|course| course.positions.contains_key(host));
    let enters = |(host, position): (&HostName, &Position)| {
        matches!(position.at, At::Emptied | At::Renewed | At::Beside) && !stood(host)
    };
    if !course.positions.iter().any(enters) {
        return Ok(());
    }
    let moved = course.positions.iter().filter(|(host, position)| {
        matches!(position.at, At::Admitted | At::Leaving | At::Over) && rollout.hosts.contains(*host)
    });
    let is_well = |host: &HostName| {
        rollout.groups.iter().filter(|group| rollout.to.serves(group)).all(|group| {
            let target = Target { host: host.clone(), group: group.clone() };
            let report = seen.hosts.get(host).and_then(|host| host.reports.get(&target));
            report.is_some_and(|report| report.is_ready(&rollout.to.id))
        })
    };
    let unwell: Vec<&HostName> = moved.map(|(host, _)| host).filter(|host| !is_well(host)).collect();
    let most = rollout.policy.pace.unavailable_max.filter(|_| !rollout.policy.pace.alone);
    let most = most.map_or(0, |most| most.of(rollout.hosts.len()));
    hold(unwell.len() <= most, || format!("a further host is moved while {unwell:?} are not well"))
}

fn judge_routes(rollout: &Rollout, seen: &Seen, turn: &Turn, scene: &Scene) -> Result<(), String> {
    let both = rollout.to.has_services() && rollout.all_from().any(|from| from.has_services());
    let forward = matches!(rollout.phase, Phase::Stepping { .. });
    // The old release has its time to come up; after that, what is bad is not kept for its sake.
    let back = rollout.course.as_ref().is_some_and(|course| course.way_back == Some(WayBack::Restoring));
    if !both || !(forward || back) {
        return Ok(());
    }
    // What ran before a reboot comes up first, whatever the rollout is at by then.
    let rebooted = |host: &&HostName| {
        scene.machines.get(*host).is_some_and(|machine| machine.rebooted_at >= rollout.begun_at)
    };
    let hosts = rollout.hosts.iter().filter(|host| !rebooted(host));
    let out: BTreeSet<&HostName> = hosts.filter(|host| is_out(rollout, host, seen, turn)).collect();
    if rollout.policy.pace.alone {
        let hosts = rollout.hosts.len() + rollout.excused.len() + rollout.set_aside.len();
        let goals = goals(&rollout.policy.strategy, hosts, false);
        let ups: Vec<usize> = [0].into_iter().chain(goals.iter().map(|goal| goal.up)).collect();
        let batch = ups.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        return hold(!forward || out.len() <= batch, || {
            format!("{out:?} are out at once, in batches of {batch}")
        });
    }
    hold(out.is_empty(), || {
        let course = rollout.course.as_ref().map(|course| &course.positions);
        format!("{out:?} have something ready and nothing that serves, at {course:?}, {:?}", rollout.phase)
    })
}

/// Tells whether everything that is up there is ready, and nothing of it may take requests.
///
/// Where no service ran before, nobody misses one; what an older rollout has left behind is nobody's, and what this one leaves alone
/// is not its doing.
fn is_out(rollout: &Rollout, name: &HostName, seen: &Seen, turn: &Turn) -> bool {
    let Some(host) = seen.hosts.get(name) else { return false };
    if host.state.as_ref().is_some_and(|state| state.restriction == Restriction::Drained) {
        return false;
    }
    host.reports.iter().any(|(target, report)| {
        let from = rollout.from_of(&target.group);
        let ours = |id: &ReleaseId| rollout.to.id == *id || from.is_some_and(|from| from.id == *id);
        let listening = report.up.iter().filter(|(id, up)| up.address.is_some() && ours(id));
        let mut listening = listening.map(|(_, up)| up.readiness).peekable();
        let is_up = listening.peek().is_some() && listening.all(|readiness| readiness == Readiness::Ready);
        let served = from.is_some_and(|from| from.serves(&target.group)) && rollout.to.serves(&target.group);
        let is_moved = rollout.groups.contains(&target.group);
        is_moved && is_up && served && !serves(route(target, seen, turn))
    })
}

fn route<'a>(target: &Target, seen: &'a Seen, turn: &'a Turn) -> Option<&'a Route> {
    turn.routes.get(target).or_else(|| seen.routes.get(target))
}

fn serves(route: Option<&Route>) -> bool {
    route.is_some_and(|route| {
        route.endpoints.values().any(|endpoint| endpoint.state == EndpointState::Serving)
    })
}
