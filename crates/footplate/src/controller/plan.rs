//! What a deploy or a rollback would do, in numbers and in sentences.

use std::collections::{BTreeMap, BTreeSet};

use footplate_core::fleet::{Current, Records, Waiting};
use footplate_core::gate::Door;
use footplate_core::name::{GroupName, HostName, ReleaseId, Target};
use footplate_core::rollout::{self, Kind, Leaving, OnFailedActivation, OnVanished, Rollout, StepOutline};

use super::site::Site;
use crate::api::{Planned, Wanted};

/// Describes the records that the core decided on; `before` is the app's record as it stands.
pub(super) fn describe(site: &Site, before: Option<&Current>, records: &Records) -> Planned {
    if let Some(waiting) = records.current.waiting.as_deref() {
        return described_waiting(site, before, records, waiting);
    }
    let rollout = &records.rollout;
    let required: Vec<Target> = rollout.required().collect();
    let app = site.apps.get(&rollout.path);
    let has = |target: &&Target| {
        let report = app.and_then(|app| app.reports.get(&target.host)?.get(target));
        report.is_some_and(|report| report.prepared.contains(&rollout.to.id))
    };
    let prepared: Vec<Target> = required.iter().filter(has).cloned().collect();
    let removes = removes(before, rollout);
    let untouched = untouched(&records.current, rollout);
    Planned {
        path: rollout.path.clone(),
        number: rollout.number,
        kind: rollout.kind,
        from: rollout.from.as_ref().map(|release| release.id.clone()),
        apart: apart(rollout),
        chosen: if rollout.is_partial { rollout.groups.clone() } else { BTreeSet::new() },
        groups: if untouched.is_empty() { BTreeSet::new() } else { rollout.groups.clone() },
        untouched,
        to: rollout.to.id.clone(),
        left_out: left_out(site, &records.current, rollout),
        artifact_bytes: rollout.to.artifact.as_ref().map(|artifact| artifact.bytes),
        steps: steps(rollout, required.len(), prepared.len(), &removes),
        required,
        prepared,
        removes,
        judged: Vec::new(),
        waits: None,
    }
}

/// Describes what a deployment that waits will do, on the hosts of this moment.
fn described_waiting(site: &Site, before: Option<&Current>, records: &Records, waiting: &Waiting) -> Planned {
    let active = &records.rollout;
    let groups = waiting.only.as_ref().unwrap_or(&waiting.delivery.groups);
    // By then the rollout under way has arrived, or what it moved is back.
    let leaving = |group: &GroupName| {
        let arrives = !waiting.at_any_end && active.groups.contains(group);
        let track = records.current.track_of(group);
        let own = track.release.clone().filter(|_| records.current.has(group));
        let from = if arrives { Some(active.to.clone()) } else { own };
        (group.clone(), Leaving { from, keep: track.past.iter().map(|past| past.release.clone()).collect() })
    };
    let all: BTreeMap<GroupName, Leaving> = groups.iter().map(leaving).collect();
    let is_behind = |leaving: &Leaving| leaving.from.as_ref().is_none_or(|from| from.id != waiting.to.id);
    let mut leaving = all.clone();
    leaving.retain(|_, leaving| is_behind(leaving));
    let leaving = if leaving.is_empty() { all } else { leaving };
    let (Leaving { from, keep }, apart) = rollout::divided(leaving.clone());
    let rollout = Rollout {
        number: records.current.rollouts + 1,
        kind: Kind::Deploy,
        from,
        keep,
        apart,
        to: waiting.to.clone(),
        policy: waiting.policy.clone(),
        groups: leaving.into_keys().collect(),
        is_partial: waiting.only.is_some(),
        ..active.clone()
    };
    let sentence = waiting.sentence(active, &Door::default(), waiting.since);
    let current = Current { waiting: None, ..records.current.clone() };
    let records = Records { current, rollout, replaced: None, announcements: Vec::new(), halts: None };
    let mut planned = describe(site, before, &records);
    planned.steps.insert(0, sentence.clone());
    Planned { waits: Some(sentence), chosen: waiting.only.clone().unwrap_or_default(), ..planned }
}

/// Returns a person's words for a release as they stand in a sentence.
pub(super) fn wanted(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Newest => "at all".to_owned(),
        Wanted::Name(name) => format!("`{}`", name.escape_debug()),
        Wanted::Digest(digest) => digest.to_string(),
    }
}

/// Lists what else than `from` process groups leave that move.
fn apart(rollout: &Rollout) -> BTreeMap<GroupName, ReleaseId> {
    let from = |group: &GroupName| Some((group.clone(), rollout.from_of(group)?.id.clone()));
    let differs = |(_, id): &(GroupName, ReleaseId)| rollout.from.as_ref().is_none_or(|from| from.id != *id);
    rollout.groups.iter().filter_map(from).filter(differs).collect()
}

/// Lists the app's process groups that do not move.
fn untouched(current: &Current, rollout: &Rollout) -> BTreeMap<GroupName, ReleaseId> {
    let others = current.delivery.groups.difference(&rollout.groups);
    let runs = |group: &GroupName| {
        let release = current.track_of(group).release.as_ref()?;
        Some((group.clone(), release.id.clone()))
    };
    others.filter_map(runs).collect()
}

fn removes(before: Option<&Current>, rollout: &Rollout) -> Vec<ReleaseId> {
    let stays = |id: &ReleaseId| rollout.releases().any(|release| release.id == *id);
    let moved = |current: &Current| {
        let tracks = rollout.groups.iter().map(|group| current.track_of(group));
        tracks.flat_map(|track| track.kept().map(|release| release.id.clone())).collect::<Vec<_>>()
    };
    let mut gone: Vec<ReleaseId> = Vec::new();
    for id in before.map(moved).unwrap_or_default() {
        if !stays(&id) && !gone.contains(&id) {
            gone.push(id);
        }
    }
    gone
}

fn left_out(site: &Site, current: &Current, rollout: &Rollout) -> BTreeMap<HostName, String> {
    let selector = current.selector(Some(rollout));
    let mut left_out = BTreeMap::new();
    for host in site.known_hosts().into_iter().filter(|host| !rollout.hosts.contains(host)) {
        let reason = match (site.presences.get(&host), site.states.get(&host)) {
            (_, Some(state)) => format!("{} set it aside", state.actor),
            (None, None) => "its agent is not alive; it follows when it comes back".to_owned(),
            (Some(presence), None) if selector.matches(&host, &presence.labels) => continue,
            (Some(_), None) => format!("its labels do not match `{selector}`"),
        };
        left_out.insert(host, reason);
    }
    left_out
}

fn steps(rollout: &Rollout, targets: usize, prepared: usize, removes: &[ReleaseId]) -> Vec<String> {
    let (to, policy) = (&rollout.to.id, &rollout.policy);
    let mut steps = Vec::new();
    if (targets as u64) < u64::from(policy.nodes_min) {
        steps.push(format!("wait for {} hosts; {targets} are there", policy.nodes_min));
    }
    match targets - prepared {
        0 => steps.push(format!("all {targets} targets have `{to}` prepared")),
        missing => steps.push(format!("prepare `{to}` on {missing} of {targets} targets")),
    }
    if policy.hold {
        steps.push(format!("wait for `footplate promote {}`", rollout.path.app));
    }
    steps.extend(switch(rollout, targets));
    if policy.on_vanished == OnVanished::GoOn {
        steps.push("a host that vanishes is left behind".to_owned());
    }
    if !removes.is_empty() {
        let ids: Vec<String> = removes.iter().map(|id| format!("`{id}`")).collect();
        steps.push(format!("remove {} from the hosts", ids.join(", ")));
    }
    steps
}

/// Says how the targets get the release, and how each step is undone.
fn switch(rollout: &Rollout, targets: usize) -> Vec<String> {
    if rollout.goes_in_steps() {
        let steps = rollout::outline(rollout);
        let (all, counted) = (steps.len(), (1..).zip(steps));
        let told = counted
            .map(|(step, StepOutline { does, undo })| format!("step {step} of {all}: {does}\nundo: {undo}"));
        return told.collect();
    }
    let undo = match (rollout.former(), rollout.policy.on_failed_activation) {
        (Some(former), OnFailedActivation::Rollback) => {
            format!("if one cannot activate it, all go back to {former}")
        }
        (None, OnFailedActivation::Rollback) if rollout.joins => {
            "if one cannot activate it, nothing uses it".to_owned()
        }
        (None, OnFailedActivation::Rollback) => "there is nothing to go back to yet".to_owned(),
        (_, OnFailedActivation::Keep) => "if one cannot activate it, the others stay".to_owned(),
    };
    vec![format!("switch all {targets} targets with one write"), undo]
}
