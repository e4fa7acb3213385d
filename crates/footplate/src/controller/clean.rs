//! Orders to remove releases: by the retention rule, or one by name.
//!
//! Invariants: what runs, what ran before and what a rollout needs stays; the core says so. Nothing is let go while some
//! record cannot be read, of whatever app: it may need the same release or bytes.

use std::collections::BTreeMap;

use footplate_core::fleet::{self, Pushed};
use footplate_core::name::{AppPath, ReleaseId};
use footplate_core::record::Key;
use footplate_drivers::store::Write;

use super::act::Worker;
use super::commit::put;
use super::find::{find, find_kept, known};
use super::forget::{is_needed, unreadable};
use super::orders::{Answer, named, refused};
use super::site::{Site, encode};
use crate::api::{self, Problem, ProblemKind};
use crate::clock;

/// Lets releases go, or only says which.
pub(super) async fn clean_up(worker: &Worker<'_>, clean: api::Clean, what: &str) -> Result<Answer, Problem> {
    let path = clean.path.clone();
    let (next, removed, kept) = {
        let site = worker.shared.site();
        refuse_partial(&site, what)?;
        let (current, latest) = known(&site, &path, what)?;
        match &clean.release {
            None => {
                let (next, plan) = fleet::clean(current, latest, clock::now()).map_err(refused)?;
                let kept = plan.stays.iter().map(|(id, why)| (id.clone(), why.to_string())).collect();
                (next, plan.goes, kept)
            }
            Some(wanted) => {
                let found = find_kept(current, wanted).map(|release| release.id.clone());
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
    // A clean of one release by name lets nothing else go.
    let by_rule = clean.release.is_none();
    let mut forgotten = if by_rule { worker.forgettable(&path.app) } else { Vec::new() };
    if !clean.plan {
        let current = put(&Key::Current(path.clone()), encode(&next));
        worker.write_together(vec![current]).await.map_err(|trip| trip.problem(what))?;
        forget_releases(worker, &path, &removed, what).await?;
        let actor = named(clean.actor.as_ref());
        for id in &removed {
            let text = format!("{actor} removed `{id}` of `{path}`");
            worker.shared.journal.note(Some(&path), None, "clean", &actor, &text);
        }
        if by_rule {
            forgotten = worker.forget_pushed(&path.app).await.map_err(|trip| trip.problem(what))?;
            worker.forget_artifacts().await;
        }
    }
    forgotten.retain(|id| !removed.contains(id));
    Ok(Answer::Cleaned(api::Cleaned { removed, kept, forgotten }))
}

/// Refuses while some record cannot be read that may name what would be let go.
fn refuse_partial(site: &Site, what: &str) -> Result<(), Problem> {
    match unreadable(site) {
        None => Ok(()),
        Some((key, why)) => Err(Problem::new(
            ProblemKind::Refused,
            what,
            format!("`{key}` cannot be read and may need the same releases: {why}"),
            "upgrade this footplate, or remove that record if it is nobody's; nothing was changed",
        )),
    }
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
        let is_needed = |id: &&ReleaseId| is_needed(&site, &path.app, id);
        let gone: Vec<ReleaseId> = removed.iter().filter(|id| !is_needed(id)).cloned().collect();
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
    worker.write_each(gone.iter().map(delete).collect()).await.map_err(|trip| trip.problem(what))?;
    for digest in orphans {
        if let Err(error) = worker.shared.artifacts.remove(&digest) {
            tracing::warn!(%digest, %error, "an artifact that nobody needs could not be removed");
        }
    }
    Ok(())
}
