//! A trial as the ledger keeps it: what it begins with, a line for each reading, and some of the requests that failed.

use footplate_core::name::ReleaseId;
use footplate_core::traffic::counts::FailedRequest;
use footplate_core::verdict::{Cuts, Judge, Recording};
use serde::{Deserialize, Serialize};

use super::Subject;

/// Returns what a recording begins with.
pub(super) fn head(judge: &Judge, cuts: Cuts, subject: &Subject) -> Head {
    let recording = Recording::new(judge.plan().clone(), judge.began(), cuts);
    let baseline = subject.from.values().next().cloned();
    Head { canary: subject.to.clone(), baseline, recording }
}

/// What a trial begins with.
#[derive(Serialize, Deserialize)]
pub(in crate::controller) struct Head {
    pub(in crate::controller) canary: ReleaseId,
    pub(in crate::controller) baseline: Option<ReleaseId>,
    #[serde(flatten)]
    pub(in crate::controller) recording: Recording,
}

/// A line of a trial that is no reading: requests that failed.
#[derive(Serialize, Deserialize)]
pub(super) struct Samples {
    pub(super) failed: Vec<FailedRequest>,
}

/// Puts a recording together again, and the failed requests that are kept with it.
pub(in crate::controller) fn recording(
    trial: &footplate_drivers::ledger::Trial,
) -> Option<(Head, Vec<FailedRequest>)> {
    let mut head: Head = serde_json::from_str(&trial.head).ok()?;
    let mut failed = Vec::new();
    for line in &trial.lines {
        match serde_json::from_str::<Samples>(line) {
            Ok(samples) => failed.extend(samples.failed),
            Err(_) => head.recording.readings.push(serde_json::from_str(line).ok()?),
        }
    }
    Some((head, failed))
}
