//! What people and programs order through the API, carried out by the worker one at a time.
//!
//! Invariants: the core decides and may refuse; a refusal changes nothing; what is answered as done is written durably.

use std::collections::BTreeSet;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use footplate_core::fleet::{self, Current, Pushed, Records};
use footplate_core::name::{Actor, AppPath, EnvironmentName, GroupName, HostName, ReleaseId};
use footplate_core::record::Key;
use footplate_core::refusal::Refusal;
use footplate_core::release::{Release, Workload};
use footplate_core::rollout::Command;
use footplate_drivers::artifact::ArtifactStore;

use super::act::Worker;
use super::commit::put;
use super::find::{find, find_kept, known, refuse_unreadable};
use super::fit::fit;
use super::site::{Site, encode};
use super::{clean, gate, hosts, judging, plan, status};
use crate::api::{self, OrderVerb, Problem, ProblemKind};
use crate::clock;
use crate::config::app::FILES;

/// An order for the worker.
pub(crate) enum Ask {
    /// Read the store, which a controller without the lease does only for somebody who looks.
    Look,
    Push(Box<api::Push>),
    Plan(api::Deploy),
    Deploy(api::Deploy),
    RollBack(api::RollBack),
    Order(api::Order),
    Host(HostName, api::HostOrder),
    Clean(api::Clean),
    Gate(Box<api::GateOrder>),
}

/// What the worker answers.
pub(crate) enum Answer {
    Looked,
    Pushed(Box<Pushed>),
    Planned(Box<api::Planned>),
    Rollout(Box<api::RolloutStatus>),
    Host(api::HostStatus),
    Cleaned(api::Cleaned),
    Gate(Box<api::GateStatus>),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Answer::Looked => StatusCode::NO_CONTENT.into_response(),
            Answer::Pushed(pushed) => Json(*pushed).into_response(),
            Answer::Planned(planned) => Json(*planned).into_response(),
            Answer::Rollout(rollout) => Json(*rollout).into_response(),
            Answer::Host(host) => Json(host).into_response(),
            Answer::Cleaned(cleaned) => Json(cleaned).into_response(),
            Answer::Gate(gate) => Json(*gate).into_response(),
        }
    }
}

/// Returns what is ordered, as it goes before the app.
fn in_words(verb: OrderVerb) -> &'static str {
    match verb {
        OrderVerb::Promote => "promote",
        OrderVerb::Pause => "pause",
        OrderVerb::Resume => "resume",
        OrderVerb::Abort => "abort",
        OrderVerb::Forgo => "take back what waits for",
    }
}

impl Ask {
    /// Says what would not be done if this were refused: "cannot deploy `shop`".
    pub(crate) fn describe(&self) -> String {
        match self {
            Ask::Look => "cannot read the store".to_owned(),
            Ask::Push(push) => format!("cannot push `{}` of `{}`", push.version, push.app),
            Ask::Plan(deploy) => format!("cannot plan a deployment of `{}`", deploy.path),
            Ask::Deploy(deploy) => format!("cannot deploy `{}`", deploy.path),
            Ask::RollBack(order) => format!("cannot roll back `{}`", order.path),
            Ask::Order(order) => {
                format!("cannot {} `{}`", in_words(order.verb), order.path)
            }
            Ask::Host(host, order) => {
                let verb = match order.verb {
                    api::HostVerb::Cordon => "cordon",
                    api::HostVerb::Uncordon => "uncordon",
                    api::HostVerb::Drain => "drain",
                    api::HostVerb::Remove => "remove",
                };
                format!("cannot {verb} host `{host}`")
            }
            Ask::Clean(clean) => format!("cannot clean `{}`", clean.path),
            Ask::Gate(order) => format!("cannot change the gate of `{}`", order.path),
        }
    }
}

/// Carries out one order.
pub(super) async fn carry_out(worker: &Worker<'_>, ask: Ask) -> Result<Answer, Problem> {
    let what = ask.describe();
    match ask {
        Ask::Look => Ok(Answer::Looked),
        Ask::Push(push) => push_release(worker, *push, &what).await.map(Box::new).map(Answer::Pushed),
        Ask::Plan(deploy) => {
            let decided = decide_deploy(worker.shared, &deploy, &what)?;
            Ok(planned(worker, &decided))
        }
        Ask::Deploy(deploy) => {
            let decided = decide_deploy(worker.shared, &deploy, &what)?;
            begin(worker, decided, &what).await
        }
        Ask::RollBack(order) => {
            let decided = decide_rollback(&worker.shared.site(), &order, &what)?;
            begin(worker, decided, &what).await
        }
        Ask::Order(order) => command(worker, order, &what).await,
        Ask::Host(host, order) => hosts::set_host(worker, host, order, &what).await,
        Ask::Clean(clean) => clean::clean_up(worker, clean, &what).await,
        Ask::Gate(order) => gate::change(worker, *order, &what).await,
    }
}

/// Records that the core decided on, with what stood before.
struct Decided {
    before: Option<Current>,
    records: Records,
    actor: Actor,
}

impl Decided {
    /// Refuses a rollout whose records would not fit into the store, now or at its end.
    fn fitting(self, what: &str) -> Result<Self, Problem> {
        fit(&self.records.current, &self.records.rollout, what)?;
        Ok(self)
    }
}

fn decide_deploy(shared: &super::Shared, deploy: &api::Deploy, what: &str) -> Result<Decided, Problem> {
    let site = &shared.site();
    let path = &deploy.path;
    refuse_unreadable(site, path, what)?;
    let pushed = find(site, path, &deploy.release, what)?;
    let delivery = pushed.environments.get(&path.environment).ok_or_else(|| {
        Problem::new(
            ProblemKind::Refused,
            what,
            format!(
                "`{}` was pushed without an environment called `{}`",
                pushed.release.id, path.environment
            ),
            "add `[environments.NAME]` to footplate.toml and push it again",
        )
    })?;
    let app = site.apps.get(path);
    let before = app.and_then(|app| app.current.clone());
    let new = || Current::new(path.clone(), delivery.clone(), site.highest(path));
    let current = before.clone().unwrap_or_else(new);
    let (actor, by) = who(&deploy.by);
    let only = deploy.only();
    // What is brought to some process groups alone goes where the app runs.
    let selector = if only.is_some() { &current.delivery.selector } else { &delivery.selector };
    let seen = site.observation(path, selector, clock::now());
    let latest = app.and_then(|app| app.rollout.as_ref());
    let (claims, has_routers) = (site.claims(), !site.routers.is_empty());
    fleet::refuse_claimed(&current, latest, &pushed.release, only.as_ref(), &claims, has_routers)
        .map_err(refused)?;
    let policy = deploy.overrides.over(&delivery.policy).map_err(|error| {
        let next = "leave that out, or choose the strategy that has it with `--strategy`";
        Problem::new(ProblemKind::Invalid, what, error, next)
    })?;
    if let Some(judging) = &policy.judging {
        judging::refuse_unaskable(&shared.config.kpi, path, &pushed.release.id, judging, what)?;
    }
    let fix = deploy.fix.clone();
    let passes = site.door(path, Some(delivery), seen.now).pass(
        path,
        &pushed.release.id,
        (&actor, fix.as_ref()),
        seen.now,
    );
    passes.map_err(refused)?;
    let wanted = fleet::Deploy { to: pushed.release.clone(), delivery: delivery.clone(), policy, only, fix };
    let records = fleet::deploy(&current, latest, wanted, by, &seen).map_err(refused)?;
    // What waits is refused now rather than dropped when its turn comes.
    let waiting = records.current.waiting.as_ref();
    if let Some(rollout) = waiting.and_then(|waiting| waiting.outlook(&records.current, &seen).ok()) {
        fit(&records.current, &rollout, what)?;
    }
    Decided { before, records, actor }.fitting(what)
}

fn decide_rollback(site: &Site, order: &api::RollBack, what: &str) -> Result<Decided, Problem> {
    let path = &order.path;
    let (current, latest) = known(site, path, what)?;
    let to = match &order.to {
        None => None,
        Some(wanted) => {
            let pushed = || find(site, path, wanted, what).map(|pushed| pushed.release.clone());
            Some(find_kept(current, wanted).cloned().map_or_else(pushed, Ok)?)
        }
    };
    let (actor, by) = who(&order.by);
    let seen = site.observation(path, &current.delivery.selector, clock::now());
    let back = fleet::Back { to, only: order.only() };
    let records = fleet::rollback(current, latest, back, by, &seen).map_err(refused)?;
    Decided { before: Some(current.clone()), records, actor }.fitting(what)
}

/// Writes what was decided and answers with what begins. Not taken here: the app's turn, which the worker takes for every
/// app after each order.
async fn begin(worker: &Worker<'_>, decided: Decided, what: &str) -> Result<Answer, Problem> {
    let answer = planned(worker, &decided);
    write_records(worker, &decided, what).await?;
    Ok(answer)
}

async fn write_records(worker: &Worker<'_>, decided: &Decided, what: &str) -> Result<(), Problem> {
    let path = &decided.records.current.path;
    let mut writes = vec![
        put(&Key::Current(path.clone()), encode(&decided.records.current)),
        put(&Key::Rollout(path.clone()), encode(&decided.records.rollout)),
    ];
    // In the same transaction: nothing begins between a way back and the halt.
    writes.extend(gate::halt(worker, &decided.records));
    worker.write_together(writes).await.map_err(|trip| trip.problem(what))?;
    for announcement in &decided.records.announcements {
        worker.shared.journal.say(announcement, &decided.actor);
    }
    if let Some(halted) = &decided.records.halts {
        gate::note_halt(&worker.shared.journal, path, halted, &decided.actor);
    }
    Ok(())
}

fn planned(worker: &Worker<'_>, decided: &Decided) -> Answer {
    let site = worker.shared.site();
    let planned = plan::describe(&site, decided.before.as_ref(), &decided.records);
    let judged = match planned.waits {
        Some(_) => Vec::new(),
        None => judging::outlook(&worker.shared.told, &decided.records.rollout),
    };
    Answer::Planned(Box::new(api::Planned { judged, ..planned }))
}

async fn command(worker: &Worker<'_>, order: api::Order, what: &str) -> Result<Answer, Problem> {
    let path = order.path.clone();
    let decided = {
        let site = worker.shared.site();
        let (current, latest) = known(&site, &path, what)?;
        // What waits at a closed gate can be taken back with nothing under way.
        let forgoes = order.verb == OrderVerb::Forgo;
        let active = latest.filter(|latest| latest.is_active() || forgoes).ok_or_else(|| {
            Problem::new(
                ProblemKind::Refused,
                what,
                "nothing is being rolled out",
                &format!("see what runs with `footplate status {}`", path.app),
            )
        })?;
        let (actor, by) = who(&order.by);
        let command = |command| fleet::command(current, active, &command, by.actor.clone(), clock::now());
        let records = match order.verb {
            OrderVerb::Promote => command(Command::Promote),
            OrderVerb::Pause => command(Command::Pause),
            OrderVerb::Resume => command(Command::Resume),
            OrderVerb::Abort => command(Command::Abort),
            OrderVerb::Forgo => fleet::forgo(current, latest, &by.actor),
        };
        let records = records.map_err(refused)?;
        Decided { before: Some(current.clone()), records, actor }
    };
    write_records(worker, &decided, what).await?;
    let verb = in_words(order.verb);
    let number = decided.records.rollout.number;
    let because = order.by.because();
    let text = format!("{} ordered to {verb} rollout {number} of `{path}`{because}", decided.actor);
    worker.shared.journal.note(Some(&path), Some(number), verb, &decided.actor, &text);
    worker.turn(&path).await.map_err(|trip| trip.problem(what))?;
    let site = worker.shared.site();
    let rollout = site.apps.get(&path).and_then(|app| app.rollout.as_ref());
    let rollout = rollout.expect("the rollout was just written");
    Ok(Answer::Rollout(Box::new(status::rollout(&site, rollout, true, clock::now()))))
}

/// An environment runs some of the version's process groups, and no others.
fn check_groups(push: &api::Push, what: &str) -> Result<(), Problem> {
    let own: BTreeSet<GroupName> = match &push.workload {
        Workload::Service { services, .. } => services.keys().cloned().collect(),
        Workload::Command(_) | Workload::ReleaseDir(_) => {
            BTreeSet::from([FILES.parse().expect("it is a valid name")])
        }
    };
    let is_wrong = |groups: &BTreeSet<GroupName>| groups.is_empty() || !groups.is_subset(&own);
    match push.environments.iter().find(|(_, delivery)| is_wrong(&delivery.groups)) {
        None => Ok(()),
        Some((environment, delivery)) => {
            let because = format!(
                "environment `{environment}` has {}, and the version has {}",
                listed(&delivery.groups),
                listed(&own)
            );
            let next = "give each environment process groups that the version has";
            Err(Problem::new(ProblemKind::Refused, what, because, next))
        }
    }
}

fn listed(groups: &BTreeSet<GroupName>) -> String {
    let names: Vec<String> = groups.iter().map(|group| format!("`{group}`")).collect();
    if names.is_empty() { "no process group".to_owned() } else { names.join(", ") }
}

async fn push_release(worker: &Worker<'_>, push: api::Push, what: &str) -> Result<Pushed, Problem> {
    check_groups(&push, what)?;
    if let Some(artifact) = &push.artifact {
        let there = worker.shared.artifacts.has(artifact).await;
        if !there.map_err(|error| Problem::internal(what, &error))? {
            return Err(Problem::new(
                ProblemKind::Refused,
                what,
                format!("the controller has no artifact {} of {} bytes", artifact.digest, artifact.bytes),
                "upload it first; `footplate push` does both",
            ));
        }
    }
    let (id, actor) = (ReleaseId::from(&push.version), push.actor.clone());
    let key = Key::Release(push.app.clone(), id.clone());
    if let Some(why) = worker.shared.site().unreadable.get(&key.to_string()) {
        let next = "upgrade this footplate; nothing was changed";
        return Err(Problem::new(ProblemKind::Refused, what, format!("`{key}` cannot be read: {why}"), next));
    }
    let known = worker.shared.site().releases.get(&(push.app.clone(), id.clone())).cloned();
    let created_at = known.as_ref().map_or_else(clock::now, |known| known.release.created_at);
    let pushed = Pushed {
        release: Release {
            commit: push.commit,
            summary: push.summary,
            artifact: push.artifact,
            variables: push.variables,
            routes: push.routes,
            ..Release::new(push.app, push.version, push.workload, created_at)
        },
        environments: push.environments,
    };
    if let Some(known) = known {
        if known.release != pushed.release {
            return Err(Problem::new(
                ProblemKind::Refused,
                what,
                format!("`{id}` was pushed before with other content, and a release never changes"),
                "push it under another version",
            ));
        }
        if known.environments == pushed.environments {
            return Ok(known);
        }
    }
    let write = put(&key, encode(&pushed));
    worker.write_together(vec![write]).await.map_err(|trip| trip.problem(what))?;
    note_push(worker, &pushed, &named(actor.as_ref()));
    Ok(pushed)
}

/// Leaves a line in the history of every environment that the release can go to.
fn note_push(worker: &Worker<'_>, pushed: &Pushed, actor: &Actor) {
    let Release { app, id, .. } = &pushed.release;
    let text = format!("{actor} pushed `{id}` of `{app}`");
    let path = |environment: &EnvironmentName| AppPath { environment: environment.clone(), app: app.clone() };
    for path in pushed.environments.keys().map(path) {
        worker.shared.journal.note(Some(&path), None, "push", actor, &text);
    }
}

/// Returns who orders, in the two forms that are needed.
fn who(by: &api::By) -> (Actor, fleet::Order) {
    let actor = named(by.actor.as_ref());
    (actor.clone(), fleet::Order { actor, reason: by.reason.clone() })
}

/// Returns who is named, or else the token's owner.
pub(super) fn named(actor: Option<&Actor>) -> Actor {
    actor.cloned().unwrap_or_else(|| "operator".parse().expect("a plain word is a valid actor"))
}

pub(super) fn refused(refusal: Refusal) -> Problem {
    Problem::new(ProblemKind::Refused, refusal.what, refusal.because, &refusal.next)
}
