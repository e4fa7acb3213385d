//! One rollout before its judge: first the times are frozen that answers are held against, then both versions are judged, then the new one
//! alone against what was.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::rollout::Judged;
use footplate_core::traffic::Share;
use footplate_core::traffic::counts::{FailedRequest, Histogram};
use footplate_core::verdict::afterwards::{LOOK, afterwards};
use footplate_core::verdict::finding::KpiStanding;
use footplate_core::verdict::{
    Basis, Cuts, Judge, KpiName, KpiVerdict, Number, Plan, Reading, Said, Side, Source, Split, Standing,
    Verdict,
};
use footplate_drivers::ledger::TrialName;

use super::asked::Asked;
use super::counted::{Change, Counted};
use super::kept::{Head, Samples, head, recording};
use super::used::Used;
use super::{PAST, Stage, Subject};
use crate::controller::Shared;

/// How long a share has been in force at the least before all that is told of was drawn by it: other systems tell every five seconds.
const SETTLED: Duration = Duration::from_secs(8);
/// A release of which the evidence grew so much is not given more requests by the clock alone.
const DOUBT: f64 = 0.1;
/// From so many events on the counts alone say something.
const LEANS_FROM: u64 = 3;
/// How many failed requests are kept of one look, and of all.
const SAMPLES_A_LOOK_MAX: usize = 10;
const SAMPLES_MAX: usize = 200;
/// For how long what was heard before is waited for.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// The stages that are kept, in one word each.
const BESIDE: &str = "beside";
const AFTER: &str = "after";

/// One rollout before its judge.
pub(super) struct Trial {
    name: TrialName,
    cuts: Cuts,
    /// What the baseline answered so far, as long as a time is to be frozen.
    past: Histogram,
    /// What was heard of the old release before users had anything of the new one.
    before: BTreeMap<KpiName, Said>,
    counted: Counted,
    latest: Option<Moment>,
    /// The share in force, and since when.
    share: Option<(Share, Moment)>,
    beside: Option<Judge>,
    after: Option<Afterwards>,
    asked: Asked,
    used: Used,
    /// How many failed requests are kept.
    samples: usize,
    /// The stages that the ledger knows.
    begun: BTreeSet<&'static str>,
}

/// The watch over a release that has all requests.
struct Afterwards {
    judge: Judge,
    /// What was counted since its last look.
    change: Change,
    since: Moment,
}

impl Trial {
    /// Begins, or goes on with what the ledger remembers.
    pub(super) async fn open(shared: &Shared, subject: &Subject) -> Self {
        let name =
            TrialName { path: subject.path.clone(), rollout: subject.number, stage: BESIDE.to_owned() };
        let lately = Change::of_baseline(shared.told.lately(&subject.targets, PAST));
        let past = lately.times_of_the_baseline();
        let mut trial = Self {
            name,
            cuts: Cuts::freeze(&past),
            past,
            before: BTreeMap::new(),
            counted: Counted::default(),
            latest: None,
            share: None,
            beside: None,
            after: None,
            asked: Asked::begin(subject, &shared.config.kpi),
            used: Used::default(),
            samples: 0,
            begun: BTreeSet::new(),
        };
        trial.remember(said(subject, Ok(&lately), &trial.cuts));
        let read = async {
            shared.journal.flush().await;
            shared.journal.ledger().trials(&subject.path, Some(subject.number)).await
        };
        let app = &subject.path;
        match tokio::time::timeout(READ_WITHIN, read).await {
            Ok(Ok(trials)) => trial.resume(&trials),
            Ok(Err(error)) => {
                tracing::warn!(%error, %app, "what was heard of this rollout before cannot be read");
            }
            Err(_) => tracing::warn!(%app, "what was heard of this rollout before is not read in time"),
        }
        trial
    }

    fn resume(&mut self, trials: &[footplate_drivers::ledger::Trial]) {
        for heard in trials {
            let replayed =
                recording(heard).map(|(Head { recording, .. }, _)| (recording.replay(), recording));
            let Some((Ok(judge), recording)) = replayed else {
                let TrialName { path, rollout, stage } = &heard.name;
                tracing::warn!(%path, rollout, stage, "what was heard cannot be judged again; it is judged from here on");
                continue;
            };
            self.cuts = recording.cuts;
            self.latest = Some(judge.latest());
            match heard.name.stage.as_str() {
                AFTER => {
                    let since = judge.latest();
                    self.after = Some(Afterwards { judge, change: Change::default(), since });
                }
                _ => self.beside = Some(judge),
            }
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.name.rollout
    }

    /// Looks once, and returns what the judge says then; nothing before there is anything to judge. What was heard goes to the ledger,
    /// which nobody waits for.
    ///
    /// A clock that is set back stands until it is where it was.
    pub(super) fn look(&mut self, shared: &Shared, subject: &Subject, now: Moment) -> Option<Judged> {
        let now = self.latest.map_or(now, |latest| now.max(latest + Duration::from_millis(1)));
        let looked = self.counted.look(&shared.told, subject);
        let over = now.since(self.latest.unwrap_or(now));
        let latest = self.latest.replace(now);
        match subject.stage {
            Stage::Before => {
                self.freeze(looked.as_ref().ok());
                self.remember(said(subject, looked.as_ref(), &self.cuts));
                let others = self.asked.take().into_iter().chain(self.used.of_baseline(shared, subject, now));
                self.remember(others.collect());
                None
            }
            // The first look is where counting begins.
            _ if latest.is_none() || over.is_zero() => None,
            Stage::Beside(share) => {
                // What was counted in silence came at nobody knows which shares.
                let share = self.share(share.filter(|_| looked.is_ok()), now);
                let used = self.used.look(shared, subject, now);
                let judge = Self::begun(&mut self.beside, &subject.judging.plan, now - over)?;
                let mut kpis = said(subject, looked.as_ref(), &self.cuts);
                kpis.extend(self.asked.take());
                kpis.extend(used);
                let reading = Reading { at: now, over, share, kpis };
                let judged = hear(judge, &reading, self.name.rollout)?;
                let head = head(judge, self.cuts, subject);
                let failed = looked.as_ref().map(|change| change.failed.clone()).unwrap_or_default();
                self.keep(shared, BESIDE, now - over, &head, &reading, failed);
                self.freeze(looked.as_ref().ok());
                Some(judged)
            }
            Stage::After => self.look_after(shared, subject, looked, now),
        }
    }

    fn look_after(
        &mut self,
        shared: &Shared,
        subject: &Subject,
        looked: Result<Change, String>,
        now: Moment,
    ) -> Option<Judged> {
        let (cuts, rollout) = (self.cuts, self.name.rollout);
        if self.after.is_none() {
            // One that came at once had nothing beside it.
            let nothing = Judge::new(subject.judging.plan.clone().beside(), now);
            let past = self.beside.as_ref().or(nothing.as_ref().ok());
            let plan = past.and_then(|past| afterwards(past, &self.before));
            let Some(judge) = plan.and_then(|plan| Judge::new(plan, now).ok()) else {
                let sentence = "nothing is known of how it was before, so nobody watches it".to_owned();
                return Some(Judged {
                    rollout,
                    at: now,
                    standing: Standing::Unknown,
                    is_doubtful: false,
                    sentence,
                });
            };
            self.after = Some(Afterwards { judge, change: Change::default(), since: now });
        }
        let after = self.after.as_mut()?;
        if let Ok(change) = &looked {
            after.change.extend(change);
        }
        if now.since(after.since) < LOOK {
            return None;
        }
        // What was counted before a silence is heard after it.
        let change = match &looked {
            Ok(_) => std::mem::take(&mut after.change),
            Err(_) => Change::default(),
        };
        let over = now.since(after.since);
        let began = after.since;
        after.since = now;
        let parts = change.parts(&cuts, &subject.to);
        let number = |(name, part)| {
            let canary = Number::new(part)?;
            Some((name, Said::Numbers { canary, baseline: None }))
        };
        let mut kpis: BTreeMap<KpiName, Said> = parts.into_iter().filter_map(number).collect();
        let others = self.asked.take().into_iter().chain(self.used.look(shared, subject, now));
        kpis.extend(others.filter_map(alone));
        let after = self.after.as_mut()?;
        let reading = Reading { at: now, over, share: None, kpis };
        let judged = hear(&mut after.judge, &reading, rollout)?;
        let head = head(&after.judge, cuts, subject);
        self.keep(shared, AFTER, began, &head, &reading, change.failed);
        Some(judged)
    }

    /// Keeps what the old release did, for when it answers no more.
    fn remember(&mut self, heard: BTreeMap<KpiName, Said>) {
        for (name, said) in heard.into_iter().filter_map(of_baseline) {
            match self.before.entry(name) {
                Entry::Vacant(first) => drop(first.insert(said)),
                Entry::Occupied(mut before) => before.get_mut().add(said),
            }
        }
    }

    /// Freezes the times that are not frozen yet, for the looks to come.
    fn freeze(&mut self, change: Option<&Change>) {
        if self.cuts.are_complete() {
            return;
        }
        if let Some(change) = change {
            self.past.add(&change.times_of_the_baseline());
        }
        self.cuts = self.cuts.completed(Cuts::freeze(&self.past));
    }

    /// Returns the share by which all requests of this look were drawn, if there was one.
    fn share(&mut self, share: Option<Share>, now: Moment) -> Option<Share> {
        self.share = match (share, self.share) {
            (None, _) => None,
            (Some(share), Some((before, since))) if share == before => Some((before, since)),
            (Some(share), _) => Some((share, now)),
        };
        self.share.filter(|(_, since)| now.since(*since) > SETTLED).map(|(share, _)| share)
    }

    fn begun<'a>(judge: &'a mut Option<Judge>, plan: &Plan, began: Moment) -> Option<&'a mut Judge> {
        if judge.is_none() {
            match Judge::new(plan.clone().beside(), began) {
                Ok(begun) => *judge = Some(begun),
                Err(impossible) => tracing::warn!(%impossible, "nobody can judge by these rules"),
            }
        }
        judge.as_mut()
    }

    fn keep(
        &mut self,
        shared: &Shared,
        stage: &'static str,
        began: Moment,
        head: &Head,
        reading: &Reading,
        failed: Vec<FailedRequest>,
    ) {
        let name = TrialName { stage: stage.to_owned(), ..self.name.clone() };
        if self.begun.insert(stage) {
            let head = serde_json::to_string(head).expect("a recording can always be written");
            shared.journal.begin_trial(name.clone(), began, head);
        }
        let room = SAMPLES_MAX.saturating_sub(self.samples);
        let failed: Vec<FailedRequest> = failed.into_iter().take(room.min(SAMPLES_A_LOOK_MAX)).collect();
        self.samples += failed.len();
        let mut lines = vec![serde_json::to_string(reading).expect("a reading can always be written")];
        if !failed.is_empty() {
            lines.push(serde_json::to_string(&Samples { failed }).expect("requests can always be written"));
        }
        shared.journal.hear(name, lines);
    }

    /// Keeps the verdicts, once the rollout is judged no more.
    pub(super) fn end(self, shared: &Shared) {
        let judges = [(BESIDE, self.beside), (AFTER, self.after.map(|after| after.judge))];
        for (stage, judge) in judges {
            let Some(judge) = judge else { continue };
            let name = TrialName { stage: stage.to_owned(), ..self.name.clone() };
            shared.journal.end_trial(name, &judge.verdict(judge.latest()));
        }
    }
}

/// Says of the KPIs that routers tell of what they told, or why nobody knows.
fn said(subject: &Subject, looked: Result<&Change, &String>, cuts: &Cuts) -> BTreeMap<KpiName, Said> {
    let of_routers = |name: &KpiName| subject.judging.sources.get(name) == Some(&Source::Router);
    match looked {
        Ok(change) => {
            change.said(cuts, &subject.to).into_iter().filter(|(name, _)| of_routers(name)).collect()
        }
        Err(why) => {
            let names = subject.judging.sources.keys().filter(|name| of_routers(name));
            names.map(|name| (name.clone(), Said::Nothing(why.clone()))).collect()
        }
    }
}

/// Returns what a source says of the old release alone.
fn of_baseline((name, said): (KpiName, Said)) -> Option<(KpiName, Said)> {
    let said = match said {
        Said::Events(Split { baseline, .. }) => Said::Events(Split { baseline, ..Split::default() }),
        Said::Numbers { baseline: Some(baseline), .. } => {
            Said::Numbers { canary: baseline, baseline: Some(baseline) }
        }
        Said::Numbers { baseline: None, .. } | Said::Nothing(_) => return None,
    };
    Some((name, said))
}

/// Returns what a source says of the new release alone.
fn alone((name, said): (KpiName, Said)) -> Option<(KpiName, Said)> {
    let canary = match &said {
        Said::Events(split) => Number::new(split.canary.part()?)?,
        Said::Numbers { canary, .. } => *canary,
        Said::Nothing(_) => return Some((name, said)),
    };
    Some((name, Said::Numbers { canary, baseline: None }))
}

fn hear(judge: &mut Judge, reading: &Reading, rollout: u64) -> Option<Judged> {
    let standing = match judge.hear(reading) {
        Ok(standing) => standing,
        Err(error) => {
            tracing::warn!(%error, rollout, "a reading is left out");
            return None;
        }
    };
    let verdict = judge.verdict(reading.at);
    let doubt = if standing == Standing::NotWorse { None } else { doubt(judge, &verdict) };
    let is_doubtful = doubt.is_some();
    let sentence = match doubt.filter(|_| standing == Standing::Unknown) {
        Some(doubt) => format!("{}; against it: {doubt}", verdict.sentence),
        None => verdict.sentence,
    };
    Some(Judged { rollout, at: reading.at, standing, is_doubtful, sentence })
}

/// Returns what speaks against more requests, whatever is proved: a KPI that looks worse, or of which nothing is heard.
fn doubt(judge: &Judge, verdict: &Verdict) -> Option<String> {
    let leaning = verdict.kpis.iter().find(|(_, kpi)| match &kpi.basis {
        Basis::Events { canary, baseline, .. } => leans(*canary, *baseline),
        Basis::Numbers { .. } => false,
    });
    if let Some((name, _)) = leaning {
        return Some(format!("`{name}` happens more than twice as often"));
    }
    if judge.evidence().p_value() < DOUBT {
        let most = |left: &(&KpiName, &KpiVerdict), right: &(&KpiName, &KpiVerdict)| {
            right.1.p_value.total_cmp(&left.1.p_value)
        };
        let name = verdict.kpis.iter().max_by(most).map_or(String::new(), |(name, _)| format!("`{name}` "));
        return Some(format!("{name}looks worse"));
    }
    let silent = verdict.kpis.iter().find(|(_, kpi)| kpi.standing == KpiStanding::Silent);
    verdict.is_any_silent().then(|| {
        silent.map_or_else(|| "a KPI is silent".to_owned(), |(name, _)| format!("`{name}` is silent"))
    })
}

/// Tells whether what happened looks worse, whatever it proves: a few times, and more than twice as often. It takes nothing back, but
/// nothing is given more requests while it does.
fn leans(canary: Side, baseline: Side) -> bool {
    let before = baseline.part().unwrap_or_default();
    canary.events >= LEANS_FROM && canary.part().is_some_and(|part| part > 2.0 * before)
}
