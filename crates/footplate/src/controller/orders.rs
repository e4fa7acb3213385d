//! What people and programs order through the API, carried out by the worker one at a time.
//!
//! Invariants: the core decides and may refuse; a refusal changes nothing; what is answered as done is written durably.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use footplate_core::fleet::{self, Current, HostState, Pushed, Records, Restriction};
use footplate_core::name::{Actor, AppPath, HostName, ReleaseId};
use footplate_core::record::Key;
use footplate_core::refusal::Refusal;
use footplate_core::release::Release;
use footplate_core::rollout::{Command, Rollout};
use footplate_drivers::artifact::ArtifactStore;
use footplate_drivers::store::Write;

use super::act::{Worker, put};
use super::site::{Site, encode};
use super::{plan, status};
use crate::api::{self, OrderVerb, Problem, ProblemKind, Wanted};
use crate::clock;

/// An order for the worker.
pub(crate) enum Ask {
    Push(Box<api::Push>),
    Plan(api::Deploy),
    Deploy(api::Deploy),
    RollBack(api::RollBack),
    Order(api::Order),
    Host(HostName, api::HostOrder),
    Clean(api::Clean),
}

/// What the worker answers.
pub(crate) enum Answer {
    Pushed(Box<Pushed>),
    Planned(Box<api::Planned>),
    Rollout(Box<api::RolloutStatus>),
    Host(api::HostStatus),
    Cleaned(api::Cleaned),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Answer::Pushed(pushed) => Json(*pushed).into_response(),
            Answer::Planned(planned) => Json(*planned).into_response(),
            Answer::Rollout(rollout) => Json(*rollout).into_response(),
            Answer::Host(host) => Json(host).into_response(),
            Answer::Cleaned(cleaned) => Json(cleaned).into_response(),
        }
    }
}

impl Ask {
    /// Says what would not be done if this were refused: "cannot deploy `shop`".
    pub(crate) fn describe(&self) -> String {
        match self {
            Ask::Push(push) => format!("cannot push `{}` of `{}`", push.version, push.app),
            Ask::Plan(deploy) => format!("cannot plan a deployment of `{}`", deploy.path),
            Ask::Deploy(deploy) => format!("cannot deploy `{}`", deploy.path),
            Ask::RollBack(order) => format!("cannot roll back `{}`", order.path),
            Ask::Order(order) => {
                let verb = match order.verb {
                    OrderVerb::Promote => "promote",
                    OrderVerb::Pause => "pause",
                    OrderVerb::Resume => "resume",
                    OrderVerb::Abort => "abort",
                };
                format!("cannot {verb} `{}`", order.path)
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
        }
    }
}

/// Carries out one order.
pub(super) async fn carry_out(worker: &Worker<'_>, ask: Ask) -> Result<Answer, Problem> {
    let what = ask.describe();
    match ask {
        Ask::Push(push) => push_release(worker, *push, &what).await.map(Box::new).map(Answer::Pushed),
        Ask::Plan(deploy) => {
            let decided = decide_deploy(&worker.shared.site(), &deploy, &what)?;
            Ok(planned(worker, &decided))
        }
        Ask::Deploy(deploy) => {
            let decided = decide_deploy(&worker.shared.site(), &deploy, &what)?;
            begin(worker, decided, &what).await
        }
        Ask::RollBack(order) => {
            let decided = decide_rollback(&worker.shared.site(), &order, &what)?;
            begin(worker, decided, &what).await
        }
        Ask::Order(order) => command(worker, order, &what).await,
        Ask::Host(host, order) => set_host(worker, host, order, &what).await,
        Ask::Clean(clean) => clean_up(worker, clean, &what).await,
    }
}

/// Records that the core decided on, with what stood before.
struct Decided {
    before: Option<Current>,
    records: Records,
    actor: Actor,
}

fn decide_deploy(site: &Site, deploy: &api::Deploy, what: &str) -> Result<Decided, Problem> {
    let path = &deploy.path;
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
    let mut current = before.clone().unwrap_or_else(|| {
        let (selector, groups) = (delivery.selector.clone(), delivery.groups.clone());
        Current::new(path.clone(), selector, groups, site.highest(path))
    });
    current.selector = delivery.selector.clone();
    current.groups = delivery.groups.clone();
    current.retention = delivery.retention.clone();
    current.policy = deploy.overrides.over(&delivery.policy);
    let (actor, by) = who(deploy.actor.as_ref(), deploy.reason.as_ref());
    let seen = site.observation(path, &current.selector, clock::now());
    let latest = app.and_then(|app| app.rollout.as_ref());
    let decided = fleet::deploy(&current, latest, pushed.release.clone(), by, &seen).map_err(refused)?;
    let mut records = decided;
    records.current.policy = delivery.policy.clone();
    Ok(Decided { before, records, actor })
}

fn decide_rollback(site: &Site, order: &api::RollBack, what: &str) -> Result<Decided, Problem> {
    let path = &order.path;
    let (current, latest) = known(site, path, what)?;
    let to = match &order.to {
        None => None,
        Some(wanted) => {
            let kept = current.kept().find(|release| names(wanted, release)).cloned();
            Some(
                kept.map_or_else(|| find(site, path, wanted, what).map(|pushed| pushed.release.clone()), Ok)?,
            )
        }
    };
    let (actor, by) = who(order.actor.as_ref(), order.reason.as_ref());
    let seen = site.observation(path, &current.selector, clock::now());
    let records = fleet::rollback(current, latest, to, by, &seen).map_err(refused)?;
    Ok(Decided { before: Some(current.clone()), records, actor })
}

/// Writes what was decided, takes the app's turn at once, and answers with what begins.
async fn begin(worker: &Worker<'_>, decided: Decided, what: &str) -> Result<Answer, Problem> {
    let answer = planned(worker, &decided);
    write_records(worker, &decided, what).await?;
    Ok(answer)
}

async fn write_records(worker: &Worker<'_>, decided: &Decided, what: &str) -> Result<(), Problem> {
    let path = &decided.records.current.path;
    let writes = vec![
        put(&Key::Current(path.clone()), encode(&decided.records.current)),
        put(&Key::Rollout(path.clone()), encode(&decided.records.rollout)),
    ];
    worker.write(writes).await.map_err(|trip| trip.problem(what))?;
    for announcement in &decided.records.announcements {
        worker.shared.journal.say(announcement, &decided.actor);
    }
    Ok(())
}

fn planned(worker: &Worker<'_>, decided: &Decided) -> Answer {
    let site = worker.shared.site();
    Answer::Planned(Box::new(plan::describe(&site, decided.before.as_ref(), &decided.records)))
}

async fn command(worker: &Worker<'_>, order: api::Order, what: &str) -> Result<Answer, Problem> {
    let path = order.path.clone();
    let decided = {
        let site = worker.shared.site();
        let (current, latest) = known(&site, &path, what)?;
        let active = latest.filter(|latest| latest.is_active()).ok_or_else(|| {
            Problem::new(
                ProblemKind::Refused,
                what,
                "nothing is being rolled out",
                &format!("see what runs with `footplate status {}`", path.app),
            )
        })?;
        let command = match order.verb {
            OrderVerb::Promote => Command::Promote,
            OrderVerb::Pause => Command::Pause,
            OrderVerb::Resume => Command::Resume,
            OrderVerb::Abort => Command::Abort,
        };
        let (actor, by) = who(order.actor.as_ref(), order.reason.as_ref());
        let records = fleet::command(current, active, &command, by.actor, clock::now()).map_err(refused)?;
        Decided { before: Some(current.clone()), records, actor }
    };
    write_records(worker, &decided, what).await?;
    let verb = format!("{:?}", order.verb).to_lowercase();
    let number = decided.records.rollout.number;
    let reason = order.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let text = format!("{} ordered `{verb}` for rollout {number} of `{path}`{reason}", decided.actor);
    worker.shared.journal.note(Some(&path), Some(number), &verb, &decided.actor, &text);
    worker.turn(&path).await.map_err(|trip| trip.problem(what))?;
    let site = worker.shared.site();
    let rollout = site.apps.get(&path).and_then(|app| app.rollout.as_ref());
    let rollout = rollout.expect("the rollout was just written");
    Ok(Answer::Rollout(Box::new(status::rollout(&site, rollout, true, clock::now()))))
}

async fn push_release(worker: &Worker<'_>, push: api::Push, what: &str) -> Result<Pushed, Problem> {
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
    let id = ReleaseId::from(&push.version);
    let known = worker.shared.site().releases.get(&(push.app.clone(), id.clone())).cloned();
    let pushed = Pushed {
        release: Release {
            id: id.clone(),
            app: push.app.clone(),
            version: push.version,
            commit: push.commit,
            summary: push.summary,
            artifact: push.artifact,
            workload: push.workload,
            created_at: known.as_ref().map_or_else(clock::now, |known| known.release.created_at),
            signature: None,
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
    let write = put(&Key::Release(push.app, id), encode(&pushed));
    worker.write(vec![write]).await.map_err(|trip| trip.problem(what))?;
    Ok(pushed)
}

async fn set_host(
    worker: &Worker<'_>,
    host: HostName,
    order: api::HostOrder,
    what: &str,
) -> Result<Answer, Problem> {
    let (is_known, is_alive) = {
        let site = worker.shared.site();
        (site.known_hosts().contains(&host), site.presences.contains_key(&host))
    };
    if !is_known {
        let next = "see the hosts with `footplate hosts list`";
        return Err(Problem::new(ProblemKind::Unknown, what, "no such host is known", next));
    }
    let (actor, _) = who(order.actor.as_ref(), None);
    let state = |restriction| HostState {
        restriction,
        actor: actor.clone(),
        reason: order.reason.clone(),
        since: clock::now(),
    };
    let key = Key::HostState(host.clone());
    let writes = match order.verb {
        api::HostVerb::Cordon => vec![put(&key, encode(&state(Restriction::Cordoned)))],
        api::HostVerb::Drain => vec![put(&key, encode(&state(Restriction::Drained)))],
        api::HostVerb::Uncordon => vec![Write::Delete(key.to_string())],
        api::HostVerb::Remove if is_alive => {
            let next = "stop its agent first; cordon it if it shall only rest";
            return Err(Problem::new(ProblemKind::Refused, what, "its agent is alive", next));
        }
        api::HostVerb::Remove => vec![
            Write::Delete(key.to_string()),
            Write::DeletePrefix(Key::assignments_of(&host)),
            Write::DeletePrefix(Key::agent_of(&host)),
        ],
    };
    worker.write(writes).await.map_err(|trip| trip.problem(what))?;
    let verb = format!("{:?}", order.verb).to_lowercase();
    let reason = order.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let text = format!("{actor} ordered `{verb}` for host `{host}`{reason}");
    worker.shared.journal.note(None, None, &verb, &actor, &text);
    Ok(Answer::Host(status::host(&worker.shared.site(), &host)))
}

async fn clean_up(worker: &Worker<'_>, clean: api::Clean, what: &str) -> Result<Answer, Problem> {
    let path = clean.path.clone();
    let (next, removed, kept) = {
        let site = worker.shared.site();
        let (current, latest) = known(&site, &path, what)?;
        match &clean.release {
            None => {
                let (next, plan) = fleet::clean(current, latest, clock::now()).map_err(refused)?;
                let kept = plan.stays.iter().map(|(id, why)| (id.clone(), why.to_string())).collect();
                (next, plan.goes, kept)
            }
            Some(wanted) => {
                let found =
                    current.kept().find(|release| names(wanted, release)).map(|release| release.id.clone());
                let id = found.map_or_else(
                    || find(&site, &path, wanted, what).map(|pushed| pushed.release.id.clone()),
                    Ok,
                )?;
                let next = match current.kept().any(|release| release.id == id) {
                    true => fleet::remove(current, latest, &id, clock::now()).map_err(refused)?,
                    false => {
                        fleet::release_may_go(current, latest, &id).map_err(refused)?;
                        current.clone()
                    }
                };
                (next, vec![id], BTreeMap::new())
            }
        }
    };
    if !clean.plan {
        let current = put(&Key::Current(path.clone()), encode(&next));
        worker.write(vec![current]).await.map_err(|trip| trip.problem(what))?;
        forget_releases(worker, &path, &removed, what).await?;
        let (actor, _) = who(clean.actor.as_ref(), None);
        for id in &removed {
            let text = format!("{actor} removed `{id}` of `{path}`");
            worker.shared.journal.note(Some(&path), None, "clean", &actor, &text);
        }
    }
    Ok(Answer::Cleaned(api::Cleaned { removed, kept }))
}

/// Removes the records and the bytes of releases that no environment of the app keeps any more.
async fn forget_releases(
    worker: &Worker<'_>,
    path: &AppPath,
    removed: &[ReleaseId],
    what: &str,
) -> Result<(), Problem> {
    let (gone, orphans) = {
        let site = worker.shared.site();
        let kept = |id: &ReleaseId| {
            let same_app = site.apps.iter().filter(|(other, _)| other.app == path.app);
            same_app
                .filter_map(|(_, app)| app.current.as_ref())
                .any(|current| current.kept().any(|release| release.id == *id))
        };
        let gone: Vec<ReleaseId> = removed.iter().filter(|id| !kept(id)).cloned().collect();
        let is_gone = |app: &_, id: &ReleaseId| *app == path.app && gone.contains(id);
        let digest = |pushed: &Pushed| pushed.release.artifact.as_ref().map(|artifact| artifact.digest);
        let (mut orphans, mut needed) = (Vec::new(), Vec::new());
        for ((app, id), pushed) in &site.releases {
            if is_gone(app, id) { orphans.extend(digest(pushed)) } else { needed.extend(digest(pushed)) }
        }
        orphans.retain(|digest| !needed.contains(digest));
        (gone, orphans)
    };
    let delete = |id: &ReleaseId| Write::Delete(Key::Release(path.app.clone(), id.clone()).to_string());
    worker.write(gone.iter().map(delete).collect()).await.map_err(|trip| trip.problem(what))?;
    for digest in orphans {
        if let Err(error) = worker.shared.artifacts.remove(&digest) {
            tracing::warn!(%digest, %error, "an artifact that nobody needs could not be removed");
        }
    }
    Ok(())
}

fn known<'a>(
    site: &'a Site,
    path: &AppPath,
    what: &str,
) -> Result<(&'a Current, Option<&'a Rollout>), Problem> {
    let app = site.apps.get(path);
    let current = app.and_then(|app| app.current.as_ref());
    let unknown = || {
        let apps: Vec<String> = site.apps.keys().map(|path| format!("`{path}`")).collect();
        let next = match apps.is_empty() {
            true => "deploy it first".to_owned(),
            false => format!("there are {}", apps.join(", ")),
        };
        Problem::new(ProblemKind::Unknown, what, "it was never deployed", &next)
    };
    Ok((current.ok_or_else(unknown)?, app.and_then(|app| app.rollout.as_ref())))
}

/// Finds the release that a person means.
fn find<'a>(site: &'a Site, path: &AppPath, wanted: &Wanted, what: &str) -> Result<&'a Pushed, Problem> {
    let of_app = || site.releases.iter().filter(|((app, _), _)| *app == path.app).map(|(_, pushed)| pushed);
    let newest = || of_app().max_by_key(|pushed| pushed.release.created_at);
    let found: Vec<&Pushed> = match wanted {
        Wanted::Newest => newest().into_iter().collect(),
        _ => of_app().filter(|pushed| names(wanted, &pushed.release)).collect(),
    };
    let exact = |pushed: &&Pushed| matches!(wanted, Wanted::Name(name) if pushed.release.id.as_str() == name);
    let refuse = |because: String, next: String| {
        let kind = ProblemKind::Unknown;
        Err(Problem::new(kind, what, because, &next))
    };
    match (found.iter().find(|pushed| exact(pushed)), found.as_slice()) {
        (Some(pushed), _) | (None, [pushed]) => Ok(pushed),
        (None, []) => {
            let newest =
                newest().map(|pushed| format!("; the newest of `{}` is `{}`", path.app, pushed.release.id));
            let next = format!("push it first with `footplate push`{}", newest.unwrap_or_default());
            refuse(format!("no release {} was pushed", plan::wanted(wanted)), next)
        }
        (None, several) => {
            let ids: Vec<String> = several.iter().map(|pushed| format!("`{}`", pushed.release.id)).collect();
            refuse(
                format!("{} can mean {}", plan::wanted(wanted), ids.join(", ")),
                "name one of them".to_owned(),
            )
        }
    }
}

/// Tells whether a person's words name this release.
fn names(wanted: &Wanted, release: &Release) -> bool {
    const COMMIT_DIGITS_MIN: usize = 7;
    match wanted {
        Wanted::Newest => false,
        Wanted::Digest(digest) => {
            release.artifact.as_ref().is_some_and(|artifact| artifact.digest == *digest)
        }
        Wanted::Name(name) => {
            let short = name.len() >= COMMIT_DIGITS_MIN;
            release.id.as_str() == name
                || release.commit.as_ref().is_some_and(|commit| short && commit.starts_with(name.as_str()))
        }
    }
}

fn who(actor: Option<&Actor>, reason: Option<&String>) -> (Actor, fleet::Order) {
    let actor = actor.cloned().unwrap_or_else(|| "operator".parse().expect("a plain word is a valid actor"));
    (actor.clone(), fleet::Order { actor, reason: reason.cloned() })
}

fn refused(refusal: Refusal) -> Problem {
    Problem::new(ProblemKind::Refused, refusal.what, refusal.because, &refusal.next)
}
