//! What people order: deploy, roll back, promote, pause, resume, abort, clean. Each returns the records to write, or a
//! refusal; the next turn does the rest.

use std::collections::BTreeSet;

use super::{Current, Track, groups, halting, waiting};
use crate::gate::{Fix, Halted};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{Actor, GroupName, ReleaseId};
use crate::refusal::Refusal;
use crate::release::Release;
use crate::retention::{self, Protection, Retention};
use crate::rollout::{
    self, Announcement, Command, Delivery, Event, Kind, Leaving, Observation, Outcome, Phase, Policy,
    Request, Rollout, Step, announce,
};

/// The records to write together, and what to say once they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The app's record.
    pub current: Current,
    /// Its latest rollout.
    pub rollout: Rollout,
    /// The rollout that this one replaced before its end; history keeps it.
    pub replaced: Option<Rollout>,
    /// What to say.
    pub announcements: Vec<Announcement>,
    /// What halts the app's gate by this. It is written together with the records.
    pub halts: Option<Halted>,
}

/// What is to be deployed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy {
    /// What shall run.
    pub to: Release,
    /// How the app is delivered from then on: the app's record takes it over when the rollout arrives, and not before.
    pub delivery: Delivery,
    /// The rules of this rollout.
    pub policy: Policy,
    /// The process groups that alone are moved; all of them when absent. With some, the delivery stays the app's own.
    pub only: Option<BTreeSet<GroupName>>,
    /// Whether it is marked as the fix for what halted the gate.
    pub fix: Option<Fix>,
}

/// Plans a deployment on the hosts of `seen` that match now; these were looked at with the new delivery's selector.
///
/// While another rollout is under way its rules say whether it is refused, waits in the app's record, or takes its place.
/// The gate is not asked here: [`Door::pass`](crate::gate::Door::pass) comes first.
pub fn deploy(
    current: &Current,
    latest: Option<&Rollout>,
    what: Deploy,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let what = groups::chosen(current, what)?;
    if let Some(active) = latest.filter(|latest| latest.is_active()) {
        return waiting::meet(current, active, what, by, seen);
    }
    let why = format!("{} deploys `{}`", by.actor, what.to.id);
    let mut records = begin(current, Kind::Deploy, what, by, seen)?;
    records.announcements.extend(waiting::let_go_at_gate(current, &why));
    Ok(records)
}

/// What is to be gone back to, and which process groups go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Back {
    /// Where to; to what the app's record proposes when absent.
    pub to: Option<Release>,
    /// The process groups that alone go back; all of them when absent.
    pub only: Option<BTreeSet<GroupName>>,
}

/// Goes back: to a release, or to the one that the app's record proposes.
///
/// Never waits behind a rollout under way. To what ran before that rollout, it is turned back (before its switch:
/// aborted); to any other release, it is replaced by one that goes there.
pub fn rollback(
    current: &Current,
    latest: Option<&Rollout>,
    back: Back,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let Back { to, only } = back;
    let Some(active) = latest.filter(|latest| latest.is_active()) else {
        groups::refuse_unknown(current, only.as_ref(), "roll back")?;
        let to = to.map_or_else(|| groups::proposal(current, only.as_ref()), Ok)?;
        groups::refuse_without(current, &to, only.as_ref())?;
        let halts = halting::by_rollback(current, latest, (&to, only.as_ref()), &by, seen.now);
        let why = format!("{} rolls back to `{}`", by.actor, to.id);
        let mut records = begin(current, Kind::Rollback, as_delivered(current, to, only), by, seen)?;
        records.announcements.extend(waiting::let_go_at_gate(current, &why));
        return Ok(Records { halts, ..records });
    };
    groups::refuse_others(current, active, only.as_ref())?;
    groups::refuse_joining(active, to.as_ref(), only.as_ref())?;
    // Of a rollout of some process groups the way back takes no others along.
    let is_more = |to: &Release| {
        let others = current.delivery.groups.difference(&active.groups);
        only.is_none() && others.into_iter().any(|group| !current.track_of(group).runs(&to.id))
    };
    match to.filter(|to| is_more(to) || !active.goes_back_to(&to.id)) {
        None if active.kind == Kind::Rollback && active.leads_forward() => {
            Err(waiting::refuse_second_rollback(current, active))
        }
        None => command(current, active, &Command::Rollback { reason: by.reason }, by.actor, seen.now),
        Some(to) if to.id == active.to.id && !is_more(&to) => Err(Refusal::new(
            format!("cannot roll back `{}` to `{}`", current.path, to.id),
            format!("rollout {} is moving it there", active.number),
            format!("see it with `footplate status {}`", current.path.app),
        )),
        Some(to) if active.goes_in_steps() && active.has_reached() => {
            Err(refuse_in_steps(current, active, &to))
        }
        Some(to) => {
            let why = format!("{} rolls back to `{}`", by.actor, to.id);
            let halts = halting::by_replacement(current, active, (&to, only.as_ref()), &by, seen.now);
            let what = as_delivered(current, to, only);
            let mut records = replace(current, active, what, Kind::Rollback, by, seen)?;
            let mut before = current.clone();
            records.announcements.extend(waiting::let_go(&mut before, active, &why));
            Ok(Records { halts, ..records })
        }
    }
}

/// A third release beside two would take requests from both at once: what a rollout in steps did is undone in steps, too.
fn refuse_in_steps(current: &Current, active: &Rollout, to: &Release) -> Refusal {
    Refusal::new(
        format!("cannot roll back `{}` to `{}`", current.path, to.id),
        format!(
            "rollout {} to `{}` is {}, and two releases are up",
            active.number,
            active.to.id,
            active.phase.word()
        ),
        format!("take it back with `footplate rollback {}`, and go on from there", current.path.app),
    )
}

/// Who orders a rollout, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The person or program.
    pub actor: Actor,
    /// Why, when they say so.
    pub reason: Option<String>,
}

/// Carries out a person's order on the rollout under way.
pub fn command(
    current: &Current,
    rollout: &Rollout,
    command: &Command,
    actor: Actor,
    now: Moment,
) -> Result<Records, Refusal> {
    let event = Event::Commanded { command: command.clone(), actor: actor.clone(), now };
    let mut current = current.clone();
    let dropped = match command {
        Command::Abort => waiting::let_go(&mut current, rollout, &format!("{actor} aborted it")),
        Command::Promote | Command::Pause | Command::Resume | Command::Rollback { .. } => None,
    };
    let step = match rollout::step(rollout, &event) {
        // What cannot be stopped any more is not what was meant: what waits is.
        Err(_) if dropped.is_some() => Step { next: rollout.clone(), effects: Vec::new() },
        step => step?,
    };
    current.settle(&step.next);
    let announcements = step.effects.into_iter().chain(dropped).collect();
    let halts = halting::by_step(rollout, &step.next, now);
    Ok(Records { current, rollout: step.next, replaced: None, announcements, halts })
}

/// Returns the app's record without the releases that its retention rule lets go, and what stays and goes.
///
/// The record is unchanged when nothing goes.
pub fn clean(
    current: &Current,
    latest: Option<&Rollout>,
    now: Moment,
) -> Result<(Current, retention::Plan), Refusal> {
    refuse_active(current, latest, "clean up")?;
    let rule = &current.delivery.retention;
    let mut plan = current.track.cleaned(rule, now);
    let mut next = without(current, &plan.goes, now);
    for (group, track) in &current.apart {
        let own = track.cleaned(rule, now);
        next.apart.insert(group.clone(), track.without(&own.goes));
        plan.join(own);
    }
    next.rejoin();
    if next.tracks().eq(current.tracks()) {
        next = current.clone();
    }
    Ok((next, plan))
}

/// Returns the app's record without one release that its hosts keep, or why it must stay.
pub fn remove(
    current: &Current,
    latest: Option<&Rollout>,
    id: &ReleaseId,
    now: Moment,
) -> Result<Current, Refusal> {
    release_may_go(current, latest, id)?;
    refuse_active(current, latest, &format!("remove `{id}` from"))?;
    if !current.kept().any(|release| release.id == *id) {
        return Err(Refusal::new(
            format!("cannot remove `{id}` from `{}`", current.path),
            "its hosts do not keep it",
            format!("see what they keep with `footplate status {}`", current.path.app),
        ));
    }
    Ok(without(current, std::slice::from_ref(id), now))
}

/// Refuses when a release may not be removed, from the hosts or from the store.
pub fn release_may_go(current: &Current, latest: Option<&Rollout>, id: &ReleaseId) -> Result<(), Refusal> {
    let active = latest.filter(|latest| latest.is_active());
    let waits = current.waiting.as_ref().is_some_and(|waiting| waiting.to.id == *id);
    let moving = active.is_some_and(|active| active.releases().any(|release| release.id == *id));
    let protection = current.protection(id).or((moving || waits).then_some(Protection::InRollout));
    match protection {
        None => Ok(()),
        Some(protection) => Err(Refusal::new(
            format!("cannot remove `{id}` from `{}`", current.path),
            protection.to_string(),
            match protection {
                Protection::InRollout => "wait for the rollout's end".to_owned(),
                _ => "deploy another version first".to_owned(),
            },
        )),
    }
}

fn refuse_active(current: &Current, latest: Option<&Rollout>, verb: &str) -> Result<(), Refusal> {
    match latest.filter(|latest| latest.is_active()) {
        None => Ok(()),
        Some(active) => Err(Refusal::new(
            format!("cannot {verb} `{}`", current.path),
            format!("rollout {} is {}", active.number, active.phase.word()),
            "wait for its end",
        )),
    }
}

/// Lets releases go: they leave the record, and the steady orders get a new generation.
fn without(current: &Current, goes: &[ReleaseId], now: Moment) -> Current {
    let mut next = current.clone();
    next.track = next.track.without(goes);
    next.apart.values_mut().for_each(|track| *track = track.without(goes));
    next.rejoin();
    next.generation = current.generation.after(now);
    next.orders = next.generation;
    next
}

/// Begins a rollout of the process groups that are not there yet.
pub(super) fn begin(
    current: &Current,
    kind: Kind,
    what: Deploy,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let moved = groups::moved(current, &what);
    let kept_since = kept_since(current, &moved, &what.to.id);
    begin_with(current, moved, kept_since, (kind, what), by, seen)
}

fn begin_with(
    current: &Current,
    groups: BTreeSet<GroupName>,
    kept_since: Option<Generation>,
    (kind, what): (Kind, Deploy),
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let (generation, number) = (current.generation.after(seen.now), current.rollouts + 1);
    let leaving = groups.iter().map(|group| {
        let track = current.track_of(group);
        let keep = keep(track, &current.delivery.retention, &what, (kind, &by.actor), seen.now);
        let leaving = match current.has(group) {
            true => Leaving { from: track.release.clone(), keep },
            // It ran nothing, and has what the app may go back to.
            false => Leaving { from: None, keep: track.release.iter().cloned().chain(keep).collect() },
        };
        (group.clone(), leaving)
    });
    let (Leaving { from, keep }, apart) = rollout::divided(leaving.collect());
    let joins = !groups.iter().any(|group| current.has(group)) && current.track.release.is_some();
    let rollout = rollout::plan(
        Request {
            path: current.path.clone(),
            number,
            kind,
            from,
            keep,
            apart,
            to: what.to,
            generation,
            kept_since,
            roll_call: current.roll_call,
            groups,
            is_partial: what.only.is_some(),
            joins,
            policy: what.policy,
            delivery: (what.delivery != current.delivery).then_some(what.delivery),
            actor: by.actor,
            reason: by.reason,
            fix: what.fix,
        },
        seen,
    )?;
    let current = Current { generation, rollouts: number, waiting: None, ..current.clone() };
    let announcements = vec![announce(&rollout)];
    Ok(Records { current, rollout, replaced: None, announcements, halts: None })
}

/// Returns what takes these process groups back to `to`, by the shortest way that keeps enough up, and leaves the app's delivery as it is.
fn as_delivered(current: &Current, to: Release, only: Option<BTreeSet<GroupName>>) -> Deploy {
    let delivery = current.delivery.clone();
    Deploy { to, policy: delivery.policy.of_rollback(), delivery, only, fix: None }
}

/// Returns since which order every target of these process groups keeps this release, when it does.
fn kept_since(current: &Current, groups: &BTreeSet<GroupName>, to: &ReleaseId) -> Option<Generation> {
    let keeps = |group| current.has(group) && current.track_of(group).kept().any(|release| release.id == *to);
    groups.iter().all(keeps).then_some(current.orders)
}

/// Ends a rollout under way and begins one to another release, in one write.
pub(super) fn replace(
    current: &Current,
    active: &Rollout,
    what: Deploy,
    kind: Kind,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let to = what.to.id.clone();
    let outcome = Outcome::Replaced { by: by.actor.clone(), to: to.clone() };
    let mut ended = active.clone();
    ended.paused = None;
    ended.phase = Phase::Ended { at: seen.now, outcome };
    let mut groups = groups::moved(current, &what);
    if active.has_reached() {
        groups.extend(active.groups.iter().cloned());
    }
    let kept = |group: &&GroupName| active.keep_of(group).iter().any(|release| release.id == to);
    let all_kept = groups.intersection(&active.groups).all(|group| kept(&group));
    let kept_since = kept_since(current, &groups, &to).filter(|_| all_kept);
    // Targets that take no part in the new rollout must leave the old one's orders as well.
    let steady = current.generation.after(seen.now);
    let current = Current { generation: steady, orders: steady, settled: active.number, ..current.clone() };
    let seen = along(active, seen);
    let mut records = begin_with(&current, groups, kept_since, (kind, what), by, &seen)?;
    records.announcements.insert(0, announce(&ended));
    records.replaced = Some(ended);
    Ok(records)
}

/// Returns what was seen, with the hosts that the rollout has reached among the matching ones: what it did there must be
/// undone, also where the app's own delivery does not reach.
fn along(active: &Rollout, seen: &Observation) -> Observation {
    let mut seen = seen.clone();
    let reached =
        seen.hosts.iter_mut().filter(|(host, _)| active.has_reached() && active.hosts.contains(*host));
    reached.for_each(|(_, host)| host.matches = true);
    seen
}

/// Lists what stays prepared besides `from` and `to`: what is protected now, and what the rules keep once `to` runs, the
/// one that holds and the one that holds then.
fn keep(
    track: &Track,
    rule: &Retention,
    what: &Deploy,
    (kind, by): (Kind, &Actor),
    now: Moment,
) -> Vec<Release> {
    let moved = track.moved(&what.to, kind, by, now);
    let protected = |id: &ReleaseId| moved.protection(id).or_else(|| track.protection(id));
    let plan = |rule: &Retention| retention::plan(rule, &moved.candidates(), protected, now).stays;
    let plans = [plan(rule), plan(&what.delivery.retention)];
    let stays = |release: &Release| plans.iter().flatten().any(|(id, _)| *id == release.id);
    let past = track.past.iter().map(|past| &past.release);
    past.filter(|release| stays(release)).cloned().collect()
}
