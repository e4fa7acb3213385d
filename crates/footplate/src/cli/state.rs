//! How a target is, in words: the same in every command.

use footplate_core::moment::Moment;
use footplate_core::target::{Readiness, Up};

use super::when::ago;
use crate::api::{Stage, TargetStatus};

/// Returns how its service is when that was ready, and is not now.
pub fn unready(target: &TargetStatus) -> Option<&Up> {
    target.service.as_ref().filter(|up| target.alive && up.readiness == Readiness::Unready)
}

/// Returns where it is, and what there is to know about it.
pub fn state(target: &TargetStatus, now: Moment) -> String {
    let mut state = stage_word(target.stage).to_owned();
    if let Some(up) = unready(target) {
        state.push_str(&format!(", but not ready since {}", ago(now, up.since)));
    }
    for (release, up) in &target.beside {
        let how = match up.readiness {
            Readiness::Ready => "ready",
            Readiness::Starting => "starting",
            Readiness::Unready => "not ready",
        };
        state.push_str(&format!("; {release} beside it is {how}"));
    }
    if let Some(wanted) = target.wanted.as_ref().filter(|wanted| target.live.as_ref() != Some(*wanted)) {
        state.push_str(&format!(", wanted: {wanted}"));
    }
    if let Some(drift) = &target.drift {
        state.push_str(&format!("; drift: {drift}"));
    }
    for (release, failure) in &target.failed {
        state.push_str(&format!("; {} of {release} failed: {}", failure.verb, failure.reason));
    }
    state
}

/// Returns the word for where a target is, the same in every command.
pub fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Steady => "steady",
        Stage::Preparing => "preparing",
        Stage::Prepared => "prepared",
        Stage::Activating => "activating",
        Stage::Live => "live",
        Stage::Failed => "failed",
        Stage::Gone => "gone",
        Stage::Converging => "converging",
    }
}
