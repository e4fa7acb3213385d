//! What people order: deploy, roll back, promote, pause, resume, abort, clean. Each returns the records to write, or a
//! refusal; the next turn does the rest.

use super::{Current, waiting};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{Actor, ReleaseId};
use crate::refusal::Refusal;
use crate::release::Release;
use crate::retention::{self, Protection, Retention};
use crate::rollout::{
    self, Announcement, Command, Delivery, Event, Kind, Observation, Outcome, Phase, Policy, Request,
    Rollout, Step, announce,
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
}

/// Plans a deployment on the hosts of `seen` that match now; these were looked at with the new delivery's selector.
///
/// While another rollout is under way its rules say whether it is refused, waits in the app's record, or takes its place.
pub fn deploy(
    current: &Current,
    latest: Option<&Rollout>,
    what: Deploy,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    if let Some(active) = latest.filter(|latest| latest.is_active()) {
        return waiting::meet(current, active, what, by, seen);
    }
    let kept_since = kept_since(current, &what.to.id);
    begin(current, kept_since, Kind::Deploy, what, by, seen)
}

/// Goes back: to `to`, or to the release that the app's record proposes.
///
/// Never waits behind a rollout under way. To what ran before that rollout, it is turned back (before its switch:
/// aborted); to any other release, it is replaced by one that goes there.
pub fn rollback(
    current: &Current,
    latest: Option<&Rollout>,
    to: Option<Release>,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let Some(active) = latest.filter(|latest| latest.is_active()) else {
        let to = to.or_else(|| current.proposal().cloned()).ok_or_else(|| nothing_before(current))?;
        let kept_since = kept_since(current, &to.id);
        return begin(current, kept_since, Kind::Rollback, as_delivered(current, to), by, seen);
    };
    let other = to.filter(|to| active.from.as_ref().is_none_or(|from| from.id != to.id));
    match other {
        None => command(current, active, &Command::Rollback { reason: by.reason }, by.actor, seen.now),
        Some(to) if to.id == active.to.id => Err(Refusal::new(
            format!("cannot roll back `{}` to `{}`", current.path, to.id),
            format!("rollout {} is moving it there", active.number),
            format!("see it with `footplate status {}`", current.path.app),
        )),
        Some(to) if active.goes_in_steps() && active.has_reached() => {
            Err(refuse_in_steps(current, active, &to))
        }
        Some(to) => {
            let why = format!("{} rolls back to `{}`", by.actor, to.id);
            let mut records = replace(current, active, as_delivered(current, to), Kind::Rollback, by, seen)?;
            let mut before = current.clone();
            records.announcements.extend(waiting::let_go(&mut before, active, &why));
            Ok(records)
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
    Ok(Records { current, rollout: step.next, replaced: None, announcements })
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
    let protected = |id: &ReleaseId| current.protection(id);
    let plan = retention::plan(&current.delivery.retention, &current.candidates(), protected, now);
    let next = if plan.goes.is_empty() { current.clone() } else { without(current, &plan.goes, now) };
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
    if !current.past.iter().any(|past| past.release.id == *id) {
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
    let moving = active.is_some_and(|active| {
        active.to.id == *id || active.from.iter().chain(&active.keep).any(|release| release.id == *id)
    });
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

fn nothing_before(current: &Current) -> Refusal {
    Refusal::new(
        format!("cannot roll back `{}`", current.path),
        "no earlier release is kept that was not rolled back itself",
        format!(
            "name one: `footplate rollback {} --to RELEASE`, or deploy a better version",
            current.path.app
        ),
    )
}

/// Lets releases go: they leave the record, and the steady orders get a new generation.
fn without(current: &Current, goes: &[ReleaseId], now: Moment) -> Current {
    let mut next = current.clone();
    next.past.retain(|past| !goes.contains(&past.release.id));
    next.generation = current.generation.after(now);
    next.orders = next.generation;
    next
}

pub(super) fn begin(
    current: &Current,
    kept_since: Option<Generation>,
    kind: Kind,
    what: Deploy,
    by: Order,
    seen: &Observation,
) -> Result<Records, Refusal> {
    let (generation, number) = (current.generation.after(seen.now), current.rollouts + 1);
    let rollout = rollout::plan(
        Request {
            path: current.path.clone(),
            number,
            kind,
            from: current.release.clone(),
            keep: keep(current, &what, kind, &by.actor, seen.now),
            to: what.to,
            generation,
            kept_since,
            roll_call: current.roll_call,
            groups: what.delivery.groups.clone(),
            policy: what.policy,
            delivery: (what.delivery != current.delivery).then_some(what.delivery),
            actor: by.actor,
            reason: by.reason,
        },
        seen,
    )?;
    let current = Current { generation, rollouts: number, waiting: None, ..current.clone() };
    let announcements = vec![announce(&rollout)];
    Ok(Records { current, rollout, replaced: None, announcements })
}

/// Returns what takes the app to `to` and leaves its delivery as it is.
fn as_delivered(current: &Current, to: Release) -> Deploy {
    let delivery = current.delivery.clone();
    Deploy { to, policy: delivery.policy.clone(), delivery }
}

/// Returns since which order every target keeps this release, when it does.
pub(super) fn kept_since(current: &Current, to: &ReleaseId) -> Option<Generation> {
    current.kept().any(|release| release.id == *to).then_some(current.orders)
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
    let kept = active.keep.iter().any(|release| release.id == to);
    let kept_since = kept_since(current, &to).filter(|_| kept);
    // Hosts that take no part in the new rollout must leave the old one's orders as well.
    let steady = current.generation.after(seen.now);
    let current = Current { generation: steady, orders: steady, settled: active.number, ..current.clone() };
    let seen = along(active, seen);
    let mut records = begin(&current, kept_since, kind, what, by, &seen)?;
    if active.has_reached() {
        records.rollout.groups.extend(active.groups.iter().cloned());
    }
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
fn keep(current: &Current, what: &Deploy, kind: Kind, by: &Actor, now: Moment) -> Vec<Release> {
    let moved = current.moved(&what.to, kind, by, now);
    let protected = |id: &ReleaseId| moved.protection(id).or_else(|| current.protection(id));
    let plan = |rule: &Retention| retention::plan(rule, &moved.candidates(), protected, now).stays;
    let plans = [plan(&current.delivery.retention), plan(&what.delivery.retention)];
    let stays = |release: &Release| plans.iter().flatten().any(|(id, _)| *id == release.id);
    let past = current.past.iter().map(|past| &past.release);
    past.filter(|release| stays(release)).cloned().collect()
}
