//! A second deployment during a rollout: refused, kept until the rollout is over, or put in its place.
//!
//! Invariants: what waits stands in the app's record, so that it survives every controller; only the newest waits; it begins in a turn
//! after the one that ended the rollout, so that the end is written first; what waited for an arrival that did not come is dropped, and that is said.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::change::{Records, begin, replace};
use super::{Current, Deploy, Order, Seen, groups, observe};
use crate::gate::{self, Door, Fix};
use crate::moment::Moment;
use crate::name::{Actor, AppPath, GroupName};
use crate::refusal::Refusal;
use crate::release::Release;
use crate::rollout::{
    Announcement, Delivery, During, Kind, Observation, Outcome, Phase, Policy, Rollout, announce, subject,
};

/// A deployment that waits for the end of the rollout under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What shall run.
    pub to: Release,
    /// How the app is delivered from then on.
    pub delivery: Delivery,
    /// The rules of its rollout.
    pub policy: Policy,
    /// The process groups that alone are moved; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<BTreeSet<GroupName>>,
    /// Who ordered it.
    pub actor: Actor,
    /// Why, when they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it waits.
    pub since: Moment,
    /// Whether it begins however the rollout ends, because it takes its place or was ordered while that went back; else only
    /// when the rollout arrives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_any_end: bool,
    /// Whether it is marked as the fix for what halted the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// Whether what it waited for is over, and it waits for the gate to let it pass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_gate: bool,
}

impl Waiting {
    /// Says in a sentence without a full stop what it waits for: the rollout, or the gate when `door` keeps it out.
    pub fn sentence(&self, active: &Rollout, door: &Door, now: Moment) -> String {
        let (to, what, number) = (&self.to.id, subject(&active.path, self.only.as_ref()), active.number);
        let closures = door.keeps_out(&self.actor, self.fix.as_ref(), now);
        if self.at_gate || (!active.is_active() && !closures.is_empty()) {
            return format!("`{to}` of {what} waits for the gate: {}", gate::sentences(&closures, now));
        }
        match self.at_any_end {
            true => {
                format!("`{to}` of {what} begins when rollout {number} to `{}` has gone back", active.to.id)
            }
            false => format!(
                "`{to}` of {what} waits for rollout {number} to `{}`, and begins when that arrives",
                active.to.id
            ),
        }
    }

    /// Returns what it deploys.
    fn deploy(&self) -> Deploy {
        let (to, delivery) = (self.to.clone(), self.delivery.clone());
        Deploy { to, delivery, policy: self.policy.clone(), only: self.only.clone(), fix: self.fix.clone() }
    }

    /// Returns the rollout that it would be if it began now on the hosts of `seen`, which were looked at with its own selector.
    ///
    /// # Errors
    /// It could not begin as things stand.
    pub fn outlook(&self, current: &Current, seen: &Observation) -> Result<Rollout, Refusal> {
        let by = Order { actor: self.actor.clone(), reason: self.reason.clone() };
        let what = groups::chosen(current, self.deploy())?;
        Ok(begin(current, Kind::Deploy, what, by, seen)?.rollout)
    }

    fn said(&self, path: &AppPath, number: u64, stage: &str, text: String) -> Announcement {
        let phase = format!("{stage} {} of {}", self.to.id, self.since.as_millis());
        Announcement { path: path.clone(), number, phase, class: None, text }
    }

    fn dropped(&self, active: &Rollout, why: &str) -> Announcement {
        self.dropped_of(&active.path, active.number, why)
    }

    fn dropped_of(&self, path: &AppPath, number: u64, why: &str) -> Announcement {
        let text = format!("`{}` of {} waits no more: {why}", self.to.id, subject(path, self.only.as_ref()));
        self.said(path, number, "waits no more:", text)
    }
}

/// Does with a deployment during a rollout what its rules say.
pub(super) fn meet(
    current: &Current,
    active: &Rollout,
    what: Deploy,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let refused = format!("cannot deploy `{}` of `{}`", what.to.id, current.path);
    let because = format!("rollout {} to `{}` is {}", active.number, active.to.id, active.phase.word());
    if what.policy.during == During::Refuse {
        let app = &current.path.app;
        let next = format!(
            "wait for its end, stop it with `footplate abort {app}`, or deploy with `--during wait` or `--during replace`"
        );
        return Err(Refusal::new(refused, because, next));
    }
    let goes_back = matches!(active.phase, Phase::TurningBack { .. });
    let about = what.only.as_ref().unwrap_or(&what.delivery.groups);
    let is_moved = |group: &GroupName| active.groups.contains(group) || current.runs(group, &what.to.id);
    if what.to.id == active.to.id && !goes_back && about.iter().all(is_moved) {
        let next = format!("see it with `footplate status {}`", current.path.app);
        return Err(Refusal::new(refused, format!("rollout {} is moving it there", active.number), next));
    }
    if what.to.app != current.path.app || what.delivery.groups.is_empty() {
        return Err(Refusal::new(refused, "it cannot be deployed to this app", "push a version of the app"));
    }
    let replaces = what.policy.during == During::Replace;
    // What it did to process groups that are not moved now, only its own way back undoes.
    let undoes = what.only.as_ref().is_none_or(|only| only.is_superset(&active.groups));
    if replaces && (!active.has_reached() || (undoes && !active.goes_in_steps())) {
        return in_its_place(current, active, what, by, seen);
    }
    let mut records = Records {
        current: current.clone(),
        rollout: active.clone(),
        replaced: None,
        announcements: Vec::new(),
        halts: None,
    };
    if replaces && !goes_back {
        records.rollout.give_way(&by.actor, &what.to.id, seen.now);
        records.current.settle(&records.rollout);
        records.announcements.push(announce(&records.rollout));
    }
    wait(&mut records, what, by, replaces || goes_back, seen.now);
    Ok(records)
}

/// Ends a rollout that has reached nobody, or that is one of files, and begins the other in one write.
fn in_its_place(
    current: &Current,
    active: &Rollout,
    what: Deploy,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let actor = by.actor.clone();
    let mut records = replace(current, active, what, Kind::Deploy, by, seen)?;
    let why = format!("{actor} deploys `{}`", records.rollout.to.id);
    let dropped = current.waiting.iter().map(|waiting| waiting.dropped(active, &why));
    records.announcements.extend(dropped);
    Ok(records)
}

fn wait(records: &mut Records, what: Deploy, by: Order, at_any_end: bool, now: Moment) {
    let Deploy { to, delivery, policy, only, fix } = what;
    let Order { actor, reason } = by;
    let waiting =
        Waiting { to, delivery, policy, only, actor, reason, since: now, at_any_end, fix, at_gate: false };
    let active = &records.rollout;
    let text = waiting.sentence(active, &Door::default(), now);
    records.announcements.push(waiting.said(&active.path, active.number, "waits:", text));
    let why = format!("{}'s `{}` waits in its place", waiting.actor, waiting.to.id);
    let before = records.current.waiting.replace(Box::new(waiting));
    records.announcements.extend(before.map(|before| before.dropped(active, &why)));
}

/// Lets go what waits, because somebody orders so; says it. Nothing when nothing waits.
pub(super) fn let_go(current: &mut Current, rollout: &Rollout, why: &str) -> Option<Announcement> {
    let waiting = current.waiting.take()?;
    Some(waiting.dropped(rollout, why))
}

/// Says that what waits at the gate does so no more, because something else begins; nothing when nothing waits.
pub(super) fn let_go_at_gate(current: &Current, why: &str) -> Option<Announcement> {
    let waiting = current.waiting.as_ref()?;
    Some(waiting.dropped_of(&current.path, current.rollouts, why))
}

/// Lets go what waits for a rollout whose record somebody deleted by hand: nobody can tell how it ended.
fn let_go_alone(current: &mut Current) -> Vec<Announcement> {
    let Some(waiting) = current.waiting.take() else { return Vec::new() };
    let why = "the record of the rollout that it waited for is gone; deploy it again if it is well";
    vec![waiting.dropped_of(&current.path, current.rollouts, why)]
}

/// Takes back what waits, and nothing else.
pub fn forgo(current: &Current, latest: Option<&Rollout>, by: &Actor) -> Result<Records, Refusal> {
    let mut current = current.clone();
    let (Some(rollout), Some(waiting)) = (latest, current.waiting.take()) else {
        let next = format!("see what runs with `footplate status {}`", current.path.app);
        let what = format!("cannot take back what waits for `{}`", current.path);
        return Err(Refusal::new(what, "no deployment waits", next));
    };
    let announcements = vec![waiting.dropped(rollout, &format!("{by} took it back"))];
    Ok(Records { current, rollout: rollout.clone(), replaced: None, announcements, halts: None })
}

/// Begins what waited for a rollout that is over, lets it go, or leaves it waiting at a gate that keeps it out. `seen` is what the store held: the end stands there.
pub(super) fn take_up(
    current: &mut Current,
    rollout: &mut Option<Rollout>,
    seen: &Seen,
) -> Vec<Announcement> {
    let Some(latest) = &seen.rollout else { return let_go_alone(current) };
    let Some(outcome) = latest.outcome() else { return Vec::new() };
    let Some(mut waiting) = current.waiting.take() else { return Vec::new() };
    if !outcome.arrived() && !waiting.at_any_end {
        let why = match outcome {
            Outcome::Aborted { by } => format!("{by} aborted rollout {}", latest.number),
            _ => format!("rollout {} to `{}` did not arrive", latest.number, latest.to.id),
        };
        return vec![waiting.dropped(latest, &format!("{why}; deploy it again if it is well"))];
    }
    if !seen.door.keeps_out(&waiting.actor, waiting.fix.as_ref(), seen.now).is_empty() {
        let is_new = !std::mem::replace(&mut waiting.at_gate, true);
        let text = is_new.then(|| waiting.sentence(latest, &seen.door, seen.now));
        let said = text.map(|text| waiting.said(&latest.path, latest.number, "waits at the gate:", text));
        current.waiting = Some(waiting);
        return said.into_iter().collect();
    }
    let dropped = |why: &str| vec![waiting.dropped(latest, why)];
    let by = Order { actor: waiting.actor.clone(), reason: waiting.reason.clone() };
    let begun = groups::chosen(current, waiting.deploy()).and_then(|what| {
        let hosts = observe(&what.delivery.selector, None, &seen.hosts, seen.now);
        begin(current, Kind::Deploy, what, by, &hosts)
    });
    match begun {
        Ok(records) => {
            *current = records.current;
            *rollout = Some(records.rollout);
            records.announcements
        }
        Err(refusal) => dropped(&refusal.because),
    }
}

/// Turning a rollback round would lead to what somebody flees from.
pub(super) fn refuse_second_rollback(current: &Current, active: &Rollout) -> Refusal {
    Refusal::new(
        format!("cannot roll back `{}`", current.path),
        format!("rollout {} rolls it back to `{}` already", active.number, active.to.id),
        format!(
            "see it with `footplate status {0}`; `footplate abort {0}` ends it and returns to what ran before",
            current.path.app
        ),
    )
}
