//! What runs where, as people and programs are told.

use std::collections::BTreeSet;

use footplate_core::fleet::{Current, Restriction, Track};
use footplate_core::gate::Door;
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, HostName, ReleaseId, Target};
use footplate_core::rollout::{self, Rollout, TargetState};
use footplate_core::target::Report;

use super::site::{App, Site};
use super::{View, gate};
use crate::api::{
    Acting, AppStatus, GroupStatus, HostStatus, RolloutStatus, Stage, Status, TargetStatus, WaitingStatus,
};

/// Returns everything, or one app with the hosts.
pub(super) fn whole(site: &Site, view: View, store: &str, only: Option<&AppPath>, now: Moment) -> Status {
    let wanted = |path: &AppPath| only.is_none_or(|only| only == path);
    let apps = site.apps.iter().filter(|(path, _)| wanted(path));
    let attended = view.is_acting || site.lease.is_some();
    Status {
        change: view.change,
        at: now,
        store: store.to_owned(),
        controller: site.lease.as_ref().map(|lease| Acting {
            address: lease.address.clone().unwrap_or_default(),
            version: lease.holder.clone(),
            since: lease.since,
        }),
        apps: apps.filter_map(|(path, app)| of_app(site, path, app, attended, now)).collect(),
        hosts: hosts(site),
    }
}

/// Lists the known hosts.
pub(super) fn hosts(site: &Site) -> Vec<HostStatus> {
    site.known_hosts().iter().map(|name| host(site, name)).collect()
}

/// Returns one host.
pub(super) fn host(site: &Site, name: &HostName) -> HostStatus {
    let presence = site.presences.get(name);
    let set_aside = site.states.get(name).map(|state| {
        let verb = match state.restriction {
            Restriction::Cordoned => "cordoned",
            Restriction::Drained => "drained",
        };
        let reason = state.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{verb} by {}{reason}", state.actor)
    });
    let orders = site.apps.values().flat_map(|app| app.orders.keys());
    HostStatus {
        host: name.clone(),
        alive: presence.is_some(),
        labels: presence.map(|presence| presence.labels.clone()).unwrap_or_default(),
        version: presence.map(|presence| presence.version.clone()),
        set_aside,
        targets: orders.filter(|target| target.host == *name).count(),
    }
}

/// Returns a rollout with the core's own words about it.
pub(super) fn rollout(site: &Site, rollout: &Rollout, attended: bool, now: Moment) -> RolloutStatus {
    let outcome = rollout.outcome();
    let sentence = match outcome {
        Some(outcome) => rollout::describe(rollout, outcome),
        None => {
            let current = site.apps.get(&rollout.path).and_then(|app| app.current.as_ref());
            let selector = current.map(|current| current.selector(Some(rollout)).clone()).unwrap_or_default();
            let seen = site.observation(&rollout.path, &selector, now);
            format!("waiting for {}", rollout::waiting_on(rollout, &seen))
        }
    };
    RolloutStatus {
        ended: outcome.is_some(),
        sentence,
        step: rollout::whereabouts(rollout),
        until: rollout.phase.until(),
        unattended: outcome.is_none() && !attended,
        exit_code: outcome.map(|outcome| outcome.class().exit_code()),
        record: rollout.clone(),
    }
}

fn of_app(site: &Site, path: &AppPath, app: &App, attended: bool, now: Moment) -> Option<AppStatus> {
    let current = app.current.as_ref()?;
    let (own, door) = (of_group(&current.track), site.door(path, None, now));
    Some(AppStatus {
        path: path.clone(),
        current: own.current,
        previous: own.previous,
        proposal: own.proposal,
        since: own.since,
        by: own.by,
        apart: current.apart.iter().map(|(group, track)| (group.clone(), of_group(track))).collect(),
        rollout: app.rollout.as_ref().map(|record| rollout(site, record, attended, now)),
        gate: gate::in_a_line(&door, now),
        waiting: waiting(app, current, &door, now),
        targets: targets(site, app, current, now),
    })
}

fn of_group(track: &Track) -> GroupStatus {
    GroupStatus {
        current: track.release.as_ref().map(Into::into),
        previous: track.past.first().map(|past| (&past.release).into()),
        proposal: track.proposal().map(Into::into),
        since: track.since,
        by: track.by.clone(),
    }
}

/// Returns the deployment that waits, with what for.
pub(super) fn waiting(app: &App, current: &Current, door: &Door, now: Moment) -> Option<WaitingStatus> {
    let (waiting, rollout) = (current.waiting.as_ref()?, app.rollout.as_ref()?);
    Some(WaitingStatus {
        to: waiting.to.id.clone(),
        groups: waiting.only.clone().unwrap_or_default(),
        actor: waiting.actor.clone(),
        since: waiting.since,
        sentence: waiting.sentence(rollout, door, now),
    })
}

fn targets(site: &Site, app: &App, current: &Current, now: Moment) -> Vec<TargetStatus> {
    let active = app.rollout.as_ref().filter(|rollout| rollout.is_active());
    let progress = active.map(|active| {
        let selector = current.selector(Some(active));
        rollout::progress(active, &site.observation(&active.path, selector, now)).targets
    });
    let reported = app.reports.values().flat_map(|of_host| of_host.keys());
    let all: BTreeSet<&Target> = app.orders.keys().chain(reported).collect();
    let status = |target: &Target| {
        let report = app.reports.get(&target.host).and_then(|of_host| of_host.get(target));
        let wanted = app.orders.get(target).and_then(|order| order.wanted(app.barrier)).cloned();
        let alive = site.presences.contains_key(&target.host);
        let state = progress.as_ref().and_then(|progress| progress.get(target));
        let stage =
            state.map_or_else(|| settled(alive, report, wanted.as_ref()), |state| moving(state, active));
        let report = report.cloned().unwrap_or_default();
        TargetStatus {
            target: target.clone(),
            alive,
            service: report.live.as_ref().and_then(|live| report.up.get(live)).cloned(),
            beside: report
                .up
                .into_iter()
                .filter(|(release, _)| report.live.as_ref() != Some(release))
                .collect(),
            live: report.live,
            live_since: report.live_since,
            wanted,
            prepared: report.prepared.into_iter().collect(),
            generation: Some(report.generation),
            drift: report.drift,
            failed: report.failed,
            stage,
        }
    };
    all.into_iter().map(status).collect()
}

fn settled(alive: bool, report: Option<&Report>, wanted: Option<&ReleaseId>) -> Stage {
    let runs = |report: &Report| match wanted {
        Some(wanted) => report.runs(wanted),
        None => report.live.is_none(),
    };
    match report {
        _ if !alive => Stage::Gone,
        Some(report) if runs(report) && report.drift.is_none() => Stage::Steady,
        Some(report) if !report.failed.is_empty() => Stage::Failed,
        _ => Stage::Converging,
    }
}

fn moving(state: &TargetState, active: Option<&Rollout>) -> Stage {
    let switching = active.is_some_and(Rollout::has_switched);
    match state {
        TargetState::Gone => Stage::Gone,
        TargetState::Preparing => Stage::Preparing,
        TargetState::Prepared if switching => Stage::Activating,
        TargetState::Prepared => Stage::Prepared,
        TargetState::Live => Stage::Live,
        TargetState::Failed { .. } => Stage::Failed,
        TargetState::GoingBack => Stage::Converging,
        TargetState::Back => Stage::Steady,
    }
}

#[cfg(test)]
mod tests {
    use footplate_core::target::{Failure, Verb};

    use super::*;

    #[test]
    fn a_release_whose_activation_failed_is_not_steady() {
        let id: ReleaseId = "2".parse().unwrap();
        let mut report = Report { live: Some(id.clone()), ..Report::default() };
        assert_eq!(settled(true, Some(&report), Some(&id)), Stage::Steady);
        let failure = |verb| Failure {
            verb,
            generation: Default::default(),
            reason: "exit 1".to_owned(),
            output: String::new(),
            lapse: None,
            attempts: 1,
            at: Moment::default(),
        };
        report.failed.insert(id.clone(), failure(Verb::Activate));
        assert_eq!(settled(true, Some(&report), Some(&id)), Stage::Failed);
        let other: ReleaseId = "3".parse().unwrap();
        report.failed = [(other, failure(Verb::Prepare))].into();
        assert_eq!(settled(true, Some(&report), Some(&id)), Stage::Steady, "of another release");
    }
}
