//! Sources that are asked: other systems, each by a task of its own, so that a slow one holds up nobody.
//!
//! Invariant: an answer is heard once; where none came since the last look, nothing is said.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use footplate_core::name::{GroupName, ReleaseId};
use footplate_core::verdict::source::Names;
use footplate_core::verdict::{KpiName, Said, Source};
use footplate_drivers::kpi;
use tokio_util::task::AbortOnDropHandle;

use super::Subject;

/// How often a source is asked.
const ASK_EVERY: Duration = Duration::from_secs(5);

type Answers = Arc<Mutex<BTreeMap<KpiName, Said>>>;

/// The sources of one trial that are asked.
pub(super) struct Asked {
    answers: Answers,
    /// Why some cannot be asked at all.
    hopeless: BTreeMap<KpiName, Said>,
    _asking: Vec<AbortOnDropHandle<()>>,
}

impl Asked {
    /// Begins to ask.
    pub(super) fn begin(subject: &Subject, settings: &kpi::Settings) -> Self {
        let (answers, mut hopeless, mut asking) = (Answers::default(), BTreeMap::new(), Vec::new());
        let names = names(subject);
        for (name, source) in &subject.judging.sources {
            let Some(kpi) = subject.judging.plan.kpis.get(name) else { continue };
            let opened = match &names {
                Ok(names) => kpi::open(source, &kpi.measure, names, settings)
                    .map_err(|error| format!("{error}; {}", error.next())),
                Err(_) if matches!(source, Source::Router | Source::Service { .. }) => Ok(None),
                Err(why) => Err(why.clone()),
            };
            match opened {
                Ok(None) => {}
                Ok(Some(kpi)) => {
                    let ask = ask(name.clone(), kpi, answers.clone());
                    asking.push(AbortOnDropHandle::new(tokio::spawn(ask)));
                }
                Err(why) => {
                    hopeless.insert(name.clone(), Said::Nothing(why));
                }
            }
        }
        Self { answers, hopeless, _asking: asking }
    }

    /// Takes what was answered since the last look.
    pub(super) fn take(&self) -> BTreeMap<KpiName, Said> {
        let mut said = std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        said.extend(self.hopeless.clone());
        said
    }
}

async fn ask(name: KpiName, mut kpi: kpi::Kpi, answers: Answers) {
    loop {
        let said = kpi.ask().await;
        match answers.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()) {
            Entry::Vacant(first) => drop(first.insert(said)),
            Entry::Occupied(mut not_taken) => not_taken.get_mut().add(said),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Returns what queries are about, or why there is no one release to hold it against.
fn names(subject: &Subject) -> Result<Names, String> {
    let baselines: BTreeSet<&ReleaseId> = subject.from.values().collect();
    let mut baselines = baselines.into_iter();
    let (Some(baseline), None) = (baselines.next(), baselines.next()) else {
        let of = |(group, release): (&GroupName, &ReleaseId)| format!("{group} {release}");
        let of: Vec<String> = subject.from.iter().map(of).collect();
        return Err(format!("its process groups ran different releases before ({})", of.join(", ")));
    };
    let groups = subject.from.keys().cloned().collect();
    let (path, canary) = (subject.path.clone(), subject.to.clone());
    Ok(Names { path, groups, canary, baseline: baseline.clone() })
}
