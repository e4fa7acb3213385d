//! Judging rollouts: once a second what both versions did becomes a reading, and what readings prove a fact of the next turn.
//!
//! Invariants: the judge writes nothing to the store, and only judges while this controller acts; what it heard is in the ledger, so that
//! whoever acts next goes on from there; a router that is silent, or a source, is never heard as healthy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, GroupName, HostName, ReleaseId, TargetName};
use footplate_core::rollout::{Judged, Part, Phase, Rollout};
use footplate_core::traffic::Share;
use footplate_core::verdict::source::Names;
use footplate_core::verdict::{Judging, KpiName, OnUnknown, Source, power};
use footplate_drivers::kpi;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::site::{App, Site};
use super::traffic::Told;
use crate::api::{Problem, ProblemKind};
use crate::clock;
use trial::Trial;

mod asked;
mod counted;
mod kept;
pub(super) mod shown;
mod trial;
mod used;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The while before a rollout that says how the release answers that it is held against, and what can be seen with that traffic.
const PAST: Duration = Duration::from_secs(30);
/// How far an outlook looks.
const WITHIN: Duration = Duration::from_secs(3600);
/// How often the words are brought up to date for readers; what a rollout acts on is told at once.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What a judge says, and when readers were told last.
struct Spoken {
    judged: Judged,
    told_at: Moment,
}

/// What the judges of all apps say.
#[derive(Default)]
pub(crate) struct Bench {
    judged: Mutex<BTreeMap<AppPath, Spoken>>,
    news: Notify,
}

impl Bench {
    /// Brings what judges say to where the worker and readers see it.
    pub(super) fn tell(&self, site: &mut Site) {
        let all = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, app) in &mut site.apps {
            app.judged = all.get(path).map(|spoken| spoken.judged.clone());
        }
    }

    /// Waits until a judge says something on which a rollout may act, or that is worth reading.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    fn say(&self, path: &AppPath, judged: Judged) {
        let decisive = |judged: &Judged| (judged.rollout, judged.standing, judged.is_doubtful);
        let mut all = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let same = all.get(path).filter(|before| decisive(&before.judged) == decisive(&judged));
        let untold = same.filter(|before| judged.at.since(before.told_at) < TELL_EVERY);
        let told_at = untold.map_or(judged.at, |before| before.told_at);
        if told_at == judged.at {
            self.news.notify_one();
        }
        all.insert(path.clone(), Spoken { judged, told_at });
    }

    /// Forgets what was said before this controller acted.
    fn clear(&self) {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn forget(&self, path: &AppPath) {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

/// A rollout that is judged.
pub(super) struct Subject {
    pub(super) path: AppPath,
    pub(super) number: u64,
    pub(super) to: ReleaseId,
    /// What each process group of it ran before.
    pub(super) from: BTreeMap<GroupName, ReleaseId>,
    /// Those of them whose requests are counted.
    pub(super) targets: BTreeMap<TargetName, ReleaseId>,
    pub(super) judging: Judging,
    pub(super) stage: Stage,
    /// The routers that follow the app.
    pub(super) routers: BTreeSet<HostName>,
}

/// How far a judged rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Users have nothing of the new release yet.
    Before,
    /// Both answer; the new one has this share of the requests by a random draw, where every router is known to follow that.
    Beside(Option<Share>),
    /// The new one has all requests.
    After,
}

/// Looks once a second at every rollout that is judged.
pub(super) async fn watch(shared: Arc<Shared>) {
    shared.bench.clear();
    end_what_was_left(&shared).await;
    let mut trials: BTreeMap<AppPath, Trial> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let subjects = subjects(&shared.site());
        let is_over = |path: &AppPath, trial: &Trial| {
            subjects.get(path).is_none_or(|subject| subject.number != trial.number())
        };
        let over: Vec<AppPath> = trials
            .iter()
            .filter(|(path, trial)| is_over(path, trial))
            .map(|(path, _)| path.clone())
            .collect();
        for path in over {
            if let Some(trial) = trials.remove(&path) {
                trial.end(&shared);
            }
            shared.bench.forget(&path);
        }
        for (path, subject) in subjects {
            if !trials.contains_key(&path) {
                trials.insert(path.clone(), Trial::open(&shared, &subject).await);
            }
            let trial = trials.get_mut(&path).expect("it was just opened");
            if let Some(judged) = trial.look(&shared, &subject, clock::now()) {
                shared.bench.say(&path, judged);
            }
        }
    }
}

/// Ends the trials of rollouts that ended, or turned back, while no controller looked.
async fn end_what_was_left(shared: &Shared) {
    let left: Vec<(AppPath, u64)> = {
        let site = shared.site();
        let going = subjects(&site);
        let judged = |app: &App| app.rollout.as_ref().filter(|it| it.judging().is_some()).map(|it| it.number);
        let all = site.apps.iter().filter_map(|(path, app)| Some((path.clone(), judged(app)?)));
        all.filter(|(path, number)| going.get(path).is_none_or(|subject| subject.number != *number)).collect()
    };
    for (path, number) in left {
        let trials = match shared.journal.ledger().trials(&path, Some(number)).await {
            Ok(trials) => trials,
            Err(error) => {
                tracing::warn!(%error, %path, next = error.next(), "what was heard cannot be read");
                continue;
            }
        };
        for trial in trials.iter().filter(|trial| trial.verdict.is_none()) {
            let Some((head, _)) = kept::recording(trial) else { continue };
            if let Ok(verdict) = head.recording.verdict() {
                shared.journal.end_trial(trial.name.clone(), &verdict);
            }
        }
    }
}

/// Refuses to deploy what is to be judged by something that this controller cannot ask.
pub(super) fn refuse_unaskable(
    settings: &kpi::Settings,
    path: &AppPath,
    release: &ReleaseId,
    judging: &Judging,
    what: &str,
) -> Result<(), Problem> {
    // Whichever is the baseline.
    let (canary, baseline) = (release.clone(), release.clone());
    let names = Names { path: path.clone(), groups: BTreeSet::new(), canary, baseline };
    for (name, source) in &judging.sources {
        let Some(kpi) = judging.plan.kpis.get(name) else { continue };
        if let Err(error) = kpi::open(source, &kpi.measure, &names, settings) {
            let because = format!("nobody could ask for its KPI `{name}`: {error}");
            let next = format!("{}; or take it out: `enabled = false` in [kpi.{name}]", error.next());
            return Err(Problem::new(ProblemKind::Refused, what, because, &next));
        }
    }
    Ok(())
}

/// Says by what a rollout will be judged, and what that can see with the traffic of this moment.
pub(super) fn outlook(told: &Told, rollout: &Rollout) -> Vec<String> {
    let Some(judging) = rollout.judging() else { return Vec::new() };
    let kpis: Vec<&str> = judging.plan.kpis.keys().map(KpiName::as_str).collect();
    let unknown = match judging.on_unknown {
        OnUnknown::Hold => "asks a person",
        OnUnknown::Promote => "goes on",
        OnUnknown::Rollback => "goes back",
    };
    let mut said = vec![format!("judged by {}; while nobody knows it {unknown}", kpis.join(", "))];
    let errors = judging.plan.kpis.iter().find(|(name, _)| name.as_str() == "errors");
    let errors = errors.filter(|(name, _)| judging.sources.get(*name) == Some(&Source::Router));
    let first = rollout.goals().first().and_then(|goal| goal.share);
    let running: BTreeMap<TargetName, ReleaseId> = targets(&rollout.path, rollout).collect();
    if let (Some((_, kpi)), Some(share), Some(traffic)) = (errors, first, told.traffic_of(&running, PAST)) {
        let error = judging.plan.clone().beside().budget() * judging.plan.part_of_budget(kpi);
        said.extend(power::statement(traffic, share, WITHIN, error));
    }
    said
}

/// Lists the process groups with requests that a rollout moves, with what each runs.
fn targets<'a>(
    path: &'a AppPath,
    rollout: &'a Rollout,
) -> impl Iterator<Item = (TargetName, ReleaseId)> + 'a {
    let target = |group: &GroupName| {
        let from = rollout.from_of(group).filter(|_| rollout.to.serves(group))?;
        Some((TargetName { path: path.clone(), group: group.clone() }, from.id.clone()))
    };
    rollout.groups.iter().filter_map(target)
}

fn subjects(site: &Site) -> BTreeMap<AppPath, Subject> {
    let subject = |(path, app): (&AppPath, &App)| Some((path.clone(), subject(site, path, app)?));
    site.apps.iter().filter_map(subject).collect()
}

fn subject(site: &Site, path: &AppPath, app: &App) -> Option<Subject> {
    let rollout = app.rollout.as_ref().filter(|rollout| rollout.is_active())?;
    let judging = rollout.judging()?.clone();
    let from = |group: &GroupName| Some((group.clone(), rollout.from_of(group)?.id.clone()));
    let from: BTreeMap<GroupName, ReleaseId> = rollout.groups.iter().filter_map(from).collect();
    let routers =
        site.routers.iter().filter(|(_, report)| report.apps.iter().any(|following| following.path == *path));
    Some(Subject {
        path: path.clone(),
        number: rollout.number,
        to: rollout.to.id.clone(),
        targets: targets(path, rollout).collect(),
        from,
        judging,
        stage: stage(rollout)?,
        routers: routers.map(|(host, _)| host.clone()).collect(),
    })
}

/// Returns how far it is; nothing for one that goes back.
fn stage(rollout: &Rollout) -> Option<Stage> {
    match &rollout.phase {
        Phase::Preparing { .. } | Phase::Holding { .. } => Some(Stage::Before),
        Phase::Stepping { .. } if rollout.is_watched_afterwards() => Some(Stage::After),
        Phase::Stepping { .. } if !rollout.lets_in() => Some(Stage::Before),
        // The old release is there still, for the way back, and answers nobody.
        Phase::Stepping { .. } if rollout.share() == Some(Share::ALL) => Some(Stage::After),
        Phase::Stepping { part, .. } => {
            // Every router has said by then that it follows this share, and the next one is not given yet.
            let is_known = matches!(part, Part::Watching | Part::Settling);
            let share = rollout.share().filter(|share| *share > Share::NONE && *share < Share::ALL);
            Some(Stage::Beside(share.filter(|_| is_known)))
        }
        Phase::Switching { .. } | Phase::TurningBack { .. } | Phase::Ended { .. } => None,
    }
}
