//! Waiting out a store that does not answer.

use std::time::Duration;

use footplate_drivers::store::StoreError;

use super::problem;

/// Store trouble: said once when it begins and once when it is over, with growing pauses between.
#[derive(Default)]
pub(super) struct Trouble {
    said: Option<String>,
    failures: u32,
}

impl Trouble {
    /// Tells whether the last try failed.
    pub(super) fn is_there(&self) -> bool {
        self.failures > 0
    }

    /// Says why something waits, unless that was said last.
    pub(super) fn say(&mut self, what: &str, because: &str) {
        if self.said.as_deref() != Some(because) {
            tracing::warn!(because, "{what}");
            self.said = Some(because.to_owned());
        }
    }

    /// Says the trouble, unless it was said, and returns how long to wait: 0.2 s, doubled each time, at most 5 s.
    pub(super) fn wait(&mut self, what: &str, error: &StoreError) -> Duration {
        self.say(what, &problem::causes(error).join(": "));
        self.failures += 1;
        Duration::from_millis(200 << (self.failures - 1).min(5)).min(Duration::from_secs(5))
    }

    /// Says that the store answers, if it did not before.
    pub(super) fn is_over(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the store answers again");
            self.said = None;
        }
    }
}
