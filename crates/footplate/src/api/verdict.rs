//! What a judge heard and found.

use footplate_core::name::ReleaseId;
use footplate_core::traffic::counts::FailedRequest;
use footplate_core::verdict::{Recording, Verdict};
use serde::{Deserialize, Serialize};

/// What a judge heard of a rollout in one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedStage {
    /// The number of the rollout.
    pub rollout: u64,
    /// `beside`: the old release answered beside the new one; `after`: the new one had all requests.
    pub stage: String,
    /// The release that was judged.
    pub canary: ReleaseId,
    /// The one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<ReleaseId>,
    /// What was heard. Replayed, it gives the verdict.
    pub recording: Recording,
    /// Some of the requests that failed meanwhile, on either release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedRequest>,
    /// What was found when it was over; nothing while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What became of the deployment, whoever decided, in a sentence; nothing while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}
