//! How a rollout begins: which hosts must take part, and whether anything is left to prepare.

use std::collections::{BTreeMap, BTreeSet};

use super::leaving::subject;
use super::{Delivery, Kind, Leaving, Observation, Phase, Policy, Rollout};
use crate::gate::Fix;
use crate::generation::Generation;
use crate::name::{Actor, AppPath, GroupName};
use crate::refusal::Refusal;
use crate::release::Release;

/// What a rollout is planned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The app and its environment.
    pub path: AppPath,
    /// One more than the app's last rollout.
    pub number: u64,
    /// On or back.
    pub kind: Kind,
    /// What runs now; nothing where it takes nobody's place.
    pub from: Option<Release>,
    /// What shall run.
    pub to: Release,
    /// Further releases that stay prepared.
    pub keep: Vec<Release>,
    /// The process groups that leave something else than `from` and `keep`.
    pub apart: BTreeMap<GroupName, Leaving>,
    /// Higher than every order given so far.
    pub generation: Generation,
    /// Since which order every target keeps `to`, when it does already; see [`Rollout::kept_since`].
    pub kept_since: Option<Generation>,
    /// What the rollouts before have left; see [`Rollout::roll_call`].
    pub roll_call: Generation,
    /// The process groups to move on each host.
    pub groups: BTreeSet<GroupName>,
    /// Whether these were chosen, and the app's others stay as they are.
    pub is_partial: bool,
    /// Whether none of these was there before, beside others of the app that run; see [`Rollout::joins`].
    pub joins: bool,
    /// The rules.
    pub policy: Policy,
    /// How the app is delivered once it arrives; as before when absent.
    pub delivery: Option<Delivery>,
    /// Who asks.
    pub actor: Actor,
    /// Why, when they say so.
    pub reason: Option<String>,
    /// Whether it is marked as the fix for what halted the gate.
    pub fix: Option<Fix>,
}

/// Plans a rollout on the hosts that match now.
///
/// With fewer hosts than the policy asks for it begins all the same and waits for them until its prepare deadline.
/// Refuses what can not be meant: nothing to move, another app's release, or the release that runs already.
pub fn plan(request: Request, seen: &Observation) -> Result<Rollout, Refusal> {
    if let Some((because, next)) = nonsense(&request) {
        return Err(Refusal::new(
            format!("cannot move {} to `{}`", request.subject(), request.to.id),
            because,
            next,
        ));
    }
    Ok(Rollout {
        number: request.number,
        path: request.path,
        kind: request.kind,
        from: request.from,
        to: request.to,
        keep: request.keep,
        apart: request.apart,
        generation: request.generation,
        kept_since: request.kept_since.unwrap_or(request.generation),
        groups: request.groups,
        is_partial: request.is_partial,
        joins: request.joins,
        hosts: seen.eligible().cloned().collect(),
        excused: BTreeSet::new(),
        set_aside: BTreeMap::new(),
        phase: Phase::Preparing { until: seen.now + request.policy.prepare_deadline },
        policy: request.policy,
        delivery: request.delivery,
        actor: request.actor,
        reason: request.reason,
        fix: request.fix,
        begun_at: seen.now,
        promoted: None,
        paused: None,
        course: None,
        roll_call: request.roll_call,
    })
}

impl Request {
    fn subject(&self) -> String {
        subject(&self.path, self.is_partial.then_some(&self.groups))
    }
}

fn nonsense(request: &Request) -> Option<(String, String)> {
    let (path, to) = (&request.path, &request.to);
    if request.groups.is_empty() {
        let because = "the app has no process group".to_owned();
        return Some((because, "give it a service, or `files` for an app without services".to_owned()));
    }
    if to.app != path.app {
        return Some((
            format!("the release belongs to `{}`", to.app),
            format!("push a version of `{}`", path.app),
        ));
    }
    let from = |group| request.apart.get(group).map_or(&request.from, |leaving| &leaving.from);
    let runs_it = |group| from(group).as_ref().is_some_and(|from| from.id == to.id);
    if request.groups.iter().all(runs_it) {
        let because = "it runs that release already".to_owned();
        return Some((because, format!("see it with `footplate status {}`", path.app)));
    }
    None
}
