//! What the controller forgets by itself: pushed releases that no environment keeps, and artifacts that no record names.
//!
//! Invariants: never what runs, ran, is proposed or verified, what a rollout moves or an order names; nothing at all while
//! some record cannot be read, because it may name anything.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use footplate_core::artifact::Digest;
use footplate_core::name::{Actor, AppName, ReleaseId};
use footplate_core::record::Key;
use footplate_core::release::Release;
use footplate_core::retention::{self, Candidate, Retention};
use footplate_drivers::store::Write;

use super::act::Worker;
use super::commit::Trip;
use super::site::{App, Site};
use crate::clock;

/// Younger releases stay, however many there are.
const RELEASE_AGE_MIN: Duration = Duration::from_secs(24 * 3600);
/// Younger artifacts stay: the release that names one is pushed after it.
const ARTIFACT_AGE_MIN: Duration = Duration::from_secs(3600);

impl Worker<'_> {
    /// Forgets what may go, of every app.
    pub(super) async fn forget(&self) -> Result<(), Trip> {
        let apps: BTreeSet<AppName> =
            self.shared.site().releases.keys().map(|(app, _)| app.clone()).collect();
        for app in apps {
            self.forget_pushed(&app).await?;
        }
        self.forget_artifacts().await;
        Ok(())
    }

    /// Lists the pushed releases of an app that may go: no environment keeps them, and enough newer ones are there.
    pub(super) fn forgettable(&self, app: &AppName) -> Vec<ReleaseId> {
        let keep = self.shared.config.keep_pushed;
        forgettable(&self.shared.site(), app, &Retention { keep, newer_than: Some(RELEASE_AGE_MIN) })
    }

    /// Forgets the pushed releases of an app that may go, and returns them.
    pub(super) async fn forget_pushed(&self, app: &AppName) -> Result<Vec<ReleaseId>, Trip> {
        let gone = self.forgettable(app);
        let delete = |id: &ReleaseId| Write::Delete(Key::Release(app.clone(), id.clone()).to_string());
        self.write_each(gone.iter().map(delete).collect()).await?;
        let actor: Actor = "controller".parse().expect("a plain word is a valid actor");
        for id in &gone {
            let text = format!("the controller forgot `{id}` of `{app}`: no environment keeps it");
            self.shared.journal.note(None, None, "forget", &actor, &text);
        }
        Ok(gone)
    }

    /// Removes the artifacts that no record names. A file that cannot be removed is tried again at the next look.
    pub(super) async fn forget_artifacts(&self) {
        let Some(named) = named(&self.shared.site()) else { return };
        let artifacts = self.shared.artifacts.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let old = |digest: &Digest| {
                let written = std::fs::metadata(artifacts.path(digest)).and_then(|file| file.modified());
                let age = written.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
                age.is_ok_and(|age| age >= ARTIFACT_AGE_MIN)
            };
            let digests = artifacts.list()?.into_iter().map(|artifact| artifact.digest);
            for digest in digests.filter(|digest| !named.contains(digest) && old(digest)) {
                artifacts.remove(&digest)?;
                tracing::info!(%digest, "forgot an artifact that no record names");
            }
            Ok::<_, footplate_drivers::disk::DiskError>(())
        });
        match swept.await.expect("the sweep does not panic") {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "artifacts that nobody needs could not be removed"),
        }
    }
}

fn forgettable(site: &Site, app: &AppName, rule: &Retention) -> Vec<ReleaseId> {
    if !is_whole(site) {
        return Vec::new();
    }
    let ordered: BTreeSet<&ReleaseId> =
        site.apps.values().flat_map(ordered).map(|release| &release.id).collect();
    let of_app = site.releases.iter().filter(|((of, _), _)| of == app).map(|(_, pushed)| &pushed.release);
    let mut unneeded: Vec<&Release> = of_app
        .filter(|release| !is_needed(site, app, &release.id) && !ordered.contains(&release.id))
        .collect();
    unneeded.sort_by_key(|release| std::cmp::Reverse(release.created_at));
    let candidate =
        |release: &&Release| Candidate { release: release.id.clone(), until: Some(release.created_at) };
    let candidates: Vec<Candidate> = unneeded.iter().map(candidate).collect();
    retention::plan(rule, &candidates, |_| None, clock::now()).goes
}

/// Returns a record that cannot be read and may name a release, with why.
pub(super) fn unreadable(site: &Site) -> Option<(&String, &String)> {
    let naming = [Key::APPS, Key::ASSIGNMENTS, Key::RELEASES];
    site.unreadable.iter().find(|(key, _)| naming.iter().any(|prefix| key.starts_with(prefix)))
}

/// Tells whether every record that may name a release could be read.
fn is_whole(site: &Site) -> bool {
    unreadable(site).is_none()
}

/// Tells whether an environment of the app keeps a release, verified it last, or moves to or from it.
pub(super) fn is_needed(site: &Site, app: &AppName, id: &ReleaseId) -> bool {
    let mut same_app = site.apps.iter().filter(|(path, _)| path.app == *app).map(|(_, app)| app);
    same_app.any(|app| {
        let mut verified =
            app.current.iter().flat_map(|current| current.tracks()).flat_map(|track| &track.verified);
        verified.any(|verified| verified == id) || kept(app).any(|release| release.id == *id)
    })
}

/// Lists what an environment keeps, what its rollout moves and what waits for it.
fn kept(app: &App) -> impl Iterator<Item = &Release> {
    let kept = app.current.iter().flat_map(|current| current.kept());
    let active = app.rollout.iter().filter(|rollout| rollout.is_active());
    let moving = active.flat_map(|rollout| rollout.releases());
    let waiting = app.current.iter().filter_map(|current| current.waiting.as_ref());
    kept.chain(moving).chain(waiting.map(|waiting| &waiting.to))
}

/// Lists what the orders of an environment's hosts name.
fn ordered(app: &App) -> impl Iterator<Item = &Release> {
    app.orders.values().flat_map(|order| &order.keep)
}

/// Lists the artifacts that some record names; nothing when a record cannot be read.
fn named(site: &Site) -> Option<BTreeSet<Digest>> {
    let pushed = site.releases.values().map(|pushed| &pushed.release);
    let all = pushed.chain(site.apps.values().flat_map(|app| kept(app).chain(ordered(app))));
    is_whole(site).then(|| all.filter_map(|release| Some(release.artifact.as_ref()?.digest)).collect())
}
