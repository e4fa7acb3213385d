//! How soon to ask again: after a wake-up that others' writes may have caused, and after a failed deploy.
//!
//! In Depro's tree every state that any node writes wakes every agent's version list, so N agents cost N times N
//! requests. An agent that pauses after a wake-up sees many writes with one question. Pure: time comes in from outside.

use std::time::Duration;

/// The first pause after a version was added: its registrations are on their way.
const ADDED: Duration = Duration::from_millis(200);
/// The longest pause, and so the longest time a new version may stay unnoticed while another is being deployed.
const PAUSE_MAX: Duration = Duration::from_millis(800);
/// A question that stayed open so long was not part of a burst.
const QUIET: Duration = Duration::from_secs(1);

/// What an answer to the version list brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// A version that was not there.
    Added,
    /// Nothing but removals: nobody writes after those.
    Removed,
    /// Nothing that we can see: some node's state.
    Nothing,
}

/// The pauses between questions for the version list.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    last: Duration,
}

impl Pace {
    /// Returns how long to pause after an answer that took `open` to come.
    pub fn after(&mut self, brought: Brought, open: Duration) -> Duration {
        self.last = match brought {
            Brought::Added => ADDED,
            Brought::Removed => Duration::ZERO,
            Brought::Nothing if open >= QUIET => ADDED,
            Brought::Nothing => (self.last * 2).clamp(ADDED, PAUSE_MAX),
        };
        self.last
    }

    /// Starts over: the burst is nearly done.
    pub fn reset(&mut self) {
        self.last = Duration::ZERO;
    }
}

/// Returns how long to wait before a failed deploy of the wished version is tried again, after so many failures.
pub fn retry_after(failures: u32) -> Duration {
    Duration::from_secs(10 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_in_a_burst_and_end_with_it() {
        let mut pace = Pace::default();
        let soon = Duration::from_millis(1);
        assert_eq!(pace.after(Brought::Added, QUIET), ADDED);
        assert_eq!(pace.after(Brought::Nothing, soon), ADDED * 2);
        assert_eq!(pace.after(Brought::Nothing, soon), PAUSE_MAX);
        assert_eq!(pace.after(Brought::Nothing, soon), PAUSE_MAX);
        assert_eq!(pace.after(Brought::Nothing, QUIET), ADDED);
        assert_eq!(pace.after(Brought::Removed, soon), Duration::ZERO);
    }

    #[test]
    fn a_failing_deploy_is_tried_again_after_seconds_then_minutes() {
        let pauses: Vec<u64> = (1..8).map(|failures| retry_after(failures).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    }
}
