//! Where requests go now: the route of every target with a service, and how the app's traffic is divided.
//!
//! Invariants: only what is ready stands in a route; what is not the rollout's business serves when it is the app's
//! current release, and else drains; the division is written once its routes stand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Current, Host, Restriction, Seen, Track};
use crate::moment::Moment;
use crate::name::{GroupName, ReleaseId, Target};
use crate::release::{Reach, Release};
use crate::rollout::{Kind, Outcome, Phase, Rollout};
use crate::target::{Assignment, Readiness, Report};
use crate::traffic::{Canary, Endpoint, EndpointState, Route, Share, Traffic};

/// How long a router gives a canary its share without hearing that somebody still judges it.
const CANARY_VALIDITY: Duration = Duration::from_secs(60);
/// How often it hears so.
const CANARY_RENEWAL: Duration = Duration::from_secs(20);
/// The weight of every endpoint: hosts count alike.
const WEIGHT: u32 = 100;

/// Returns the route of every target that has something up with an address. Nothing on targets that leave gets a request; what a target
/// leaves is what its order among `orders` says.
pub(super) fn routes(
    current: &Current,
    rollout: Option<&Rollout>,
    seen: &Seen,
    orders: &BTreeMap<Target, Assignment>,
) -> BTreeMap<Target, Route> {
    let mut routes = BTreeMap::new();
    for (name, host) in &seen.hosts {
        for (target, report) in &host.reports {
            let before = |id: &ReleaseId| Some(seen.routes.get(target)?.endpoints.get(id)?.state);
            // Where nothing may run beside it, it is stopped by the first order that says something else.
            let order = orders.get(target).or(seen.orders.get(target));
            let ends =
                |id: &ReleaseId| order.is_some_and(|order| order.alone && order.run.as_ref() != Some(id));
            let is_left = order.is_some_and(|order| order.leaves_at.is_some());
            let is_out = |id: &ReleaseId| is_left && before(id) != Some(EndpointState::Standby);
            let state = |id: &ReleaseId| match is_out(id) {
                true => EndpointState::Draining,
                false => state(current, rollout, host, (target, report), id, before(id), ends(id)),
            };
            let ready = report.up.iter().filter(|(_, up)| up.readiness == Readiness::Ready);
            let endpoints = ready.filter_map(|(id, up)| {
                let address = up.address.clone()?;
                Some((id.clone(), Endpoint { address, state: state(id), weight: WEIGHT }))
            });
            let route = Route { endpoints: endpoints.collect() };
            if !route.endpoints.is_empty() && *name == target.host {
                routes.insert(target.clone(), route);
            }
        }
    }
    routes
}

fn state(
    current: &Current,
    rollout: Option<&Rollout>,
    host: &Host,
    (target, report): (&Target, &Report),
    id: &ReleaseId,
    before: Option<EndpointState>,
    ends: bool,
) -> EndpointState {
    if host.state.as_ref().is_some_and(|state| state.restriction == Restriction::Drained) {
        return EndpointState::Draining;
    }
    let concerned =
        rollout.filter(|rollout| rollout.concerns(&target.host) && rollout.groups.contains(&target.group));
    let (track, is_ours) = (current.track_of(&target.group), current.has(&target.group));
    match concerned {
        Some(rollout) if moves(rollout) => {
            let from = rollout.from_of(&target.group).filter(|_| is_ours);
            let stands_in = stands_in(rollout, track, (target, report), id);
            let as_what = from.filter(|_| stands_in).map_or(id, |from| &from.id);
            rollout.endpoint_state(target, as_what, report)
        }
        _ if !is_ours && before == Some(EndpointState::Standby) => EndpointState::Standby,
        Some(rollout) if !is_ours && is_untried(rollout, report, id) => EndpointState::Standby,
        _ if (is_ours || track.release.is_none()) && serves(track, target, report, id) && !ends => {
            EndpointState::Serving
        }
        _ => EndpointState::Draining,
    }
}

/// Tells whether each host's position says what serves there: as long as a rollout moves, and where it left a first release as it was.
fn moves(rollout: &Rollout) -> bool {
    let left = matches!(rollout.phase, Phase::Ended { outcome: Outcome::LeftAsIs { .. }, .. });
    let moving = matches!(rollout.phase, Phase::Stepping { .. } | Phase::TurningBack { .. });
    rollout.goes_in_steps() && (moving || left)
}

/// Tells whether this ran before what the rollout leaves, which is not ready there yet: it serves in its place. So does what the rollout leads
/// to, as long as it has not let it in there: no acceptance is asked of what users have already.
fn stands_in(rollout: &Rollout, track: &Track, (target, report): (&Target, &Report), id: &ReleaseId) -> bool {
    let is_other = track.release.as_ref().is_some_and(|release| release.id != *id);
    let is_unmoved = *id != rollout.to.id || rollout.has_yet_to_let_in(&target.host);
    is_other && is_unmoved && rollout.runs_beside() && serves(track, target, report, id)
}

/// Tells whether this is what a rollout is about to bring, up already, and yet to be accepted there.
fn is_untried(rollout: &Rollout, report: &Report, id: &ReleaseId) -> bool {
    let accepted = report.up.get(id).is_some_and(|up| up.accepted > 0);
    rollout.is_active() && rollout.accepts() && rollout.to.id == *id && !accepted
}

/// Tells whether what no rollout moves takes requests: the current release does, and what it followed until it is ready
/// there, if it is to be. Before an app has one, whatever is up does, unless it was never let in.
fn serves(track: &Track, target: &Target, report: &Report, id: &ReleaseId) -> bool {
    let Some(release) = &track.release else { return true };
    let followed = track.past.first().filter(|past| past.left_by == Kind::Deploy);
    let is_awaited = release.serves(&target.group) && !report.is_ready(&release.id);
    release.id == *id || (followed.is_some_and(|past| past.release.id == *id) && is_awaited)
}

/// Returns how the app's traffic is divided; nothing for an app without services.
pub(super) fn traffic(current: &Current, rollout: Option<&Rollout>, now: Moment) -> Option<Traffic> {
    let active = rollout.filter(|rollout| rollout.is_active());
    let mut running = current.tracks().flat_map(|track| &track.release);
    if !running.any(Release::has_services) && !active.is_some_and(|active| active.to.has_services()) {
        return None;
    }
    let marked = rollout.and_then(|rollout| rollout.course.as_ref()).map(|course| course.mark);
    let revision = marked.unwrap_or_default().max(current.orders);
    let canary = active.and_then(|rollout| {
        let share = rollout.share()?;
        Some(Canary {
            release: rollout.to.id.clone(),
            share,
            groups: rollout.groups.clone(),
            validity: CANARY_VALIDITY,
            renewed: renewal(now),
        })
    });
    Some(Traffic { revision, canary, groups: reaches(current, active), salt: salt(current) })
}

/// Which requests are the app's is what it runs that says so, until a rollout has arrived. What is new has requests as the
/// rollout says once that lets it in: until then they are answered as they were without it. By what clients stay with a
/// version is the business of the new one.
fn reaches(current: &Current, active: Option<&Rollout>) -> BTreeMap<GroupName, Reach> {
    let environment = &current.path.environment;
    let mut new = active.map(|active| active.to.reaches(environment)).unwrap_or_default();
    new.retain(|group, _| active.is_some_and(|active| active.groups.contains(group)));
    let mut reaches = new.clone();
    if !active.is_some_and(Rollout::lets_in) {
        reaches.values_mut().for_each(|reach| reach.entrances.clear());
    }
    for (group, reach) in current.reaches() {
        let sticky = new.get(&group).map_or(reach.sticky, |new| new.sticky.clone());
        reaches.insert(group, Reach { sticky, ..reach });
    }
    reaches
}

fn salt(current: &Current) -> String {
    format!("{}.{}", current.path, current.rollouts)
}

fn renewal(now: Moment) -> u64 {
    now.as_millis() / u64::try_from(CANARY_RENEWAL.as_millis()).expect("a short time")
}

/// Returns when the division must be renewed.
pub(super) fn renewed_at(traffic: &Traffic) -> Option<Moment> {
    let canary = traffic.canary.as_ref().filter(|canary| canary.share > Share::NONE)?;
    Some(Moment::from_millis((canary.renewed + 1) * u64::try_from(CANARY_RENEWAL.as_millis()).ok()?))
}
