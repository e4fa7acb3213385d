//! Trying again for ever, with growing pauses, and saying so once: how each loop bears a store that does not answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use footplate_drivers::store::StoreError;

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// One loop's trouble with the store: none, or so many failed tries in a row.
#[derive(Debug)]
pub struct Trouble {
    doing: &'static str,
    tries: u32,
}

impl Trouble {
    /// Begins without trouble. `doing` completes "cannot …": `read this host's orders`.
    pub fn new(doing: &'static str) -> Self {
        Self { doing, tries: 0 }
    }

    /// Notes a failed try, tells people of the first, and returns how long to wait before the next.
    pub fn failed(&mut self, error: &StoreError) -> Duration {
        if self.tries == 0 {
            tracing::warn!("cannot {}\n  because: {}\n  next: {}", self.doing, causes(error), advice(error));
        } else {
            tracing::debug!(tries = self.tries, "still cannot {}: {}", self.doing, causes(error));
        }
        self.tries = self.tries.saturating_add(1);
        spread(PAUSE_MIN.saturating_mul(1 << self.tries.min(7).saturating_sub(1)).min(PAUSE_MAX))
    }

    /// Notes that it worked, and tells people when it had not.
    pub fn is_over(&mut self) {
        if self.tries > 0 {
            tracing::info!("can {} again after {} failed tries", self.doing, self.tries);
        }
        self.tries = 0;
    }
}

/// Returns an error with everything that caused it, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

fn advice(error: &StoreError) -> &'static str {
    match error {
        StoreError::Denied { .. } => "check the agent's token; it tries again by itself",
        StoreError::Refused(_) => "this is a fault in footplate; please report it",
        _ => "nothing; what runs goes on, and the agent tries again by itself",
    }
}

/// Spreads waits over half their length, so that a hundred agents do not come back in one instant.
fn spread(wait: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    wait / 2 + (wait / 2).mul_f64(f64::from(nanos % 1_000_000) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_bound() {
        let mut trouble = Trouble::new("do it");
        let error = StoreError::Refused("no".to_owned());
        let pauses: Vec<Duration> = (0..40).map(|_| trouble.failed(&error)).collect();
        assert!(pauses[0] <= PAUSE_MIN && pauses[0] >= PAUSE_MIN / 2, "{pauses:?}");
        assert!(pauses[39] <= PAUSE_MAX && pauses[39] >= PAUSE_MAX / 2, "{pauses:?}");
    }
}
