//! Artifact sources that do not answer: asked again with growing pauses, and told to others once it lasts.
//!
//! Invariant: it is nobody's failure; the rollout's deadline is what ends the wait.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use footplate_drivers::store::Backoff;

/// The first pause before they are asked again; it grows from there.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often in a row nobody answers before others are told: a controller that restarts is no news.
const UNSAID: u32 = 4;

/// Sources that did not answer when they were asked last.
pub(super) struct Absence {
    because: String,
    tries: u32,
    pauses: Backoff,
}

impl Absence {
    /// Begins with the first time that nobody answered.
    pub fn new(because: String) -> Self {
        // Chance only scatters the tries of a fleet; nothing is decided by it.
        let pauses = Backoff::new(PAUSE_FIRST, PAUSE_MAX, RandomState::new().hash_one(&because));
        Self { because, tries: 1, pauses }
    }

    /// Goes on with one time more.
    pub fn goes_on(&mut self, because: String) {
        self.because = because;
        self.tries = self.tries.saturating_add(1);
    }

    /// Returns how long to wait before they are asked again.
    pub fn pause(&mut self) -> Duration {
        self.pauses.step()
    }

    /// Returns what others are told, once it lasts.
    pub fn told(&self) -> Option<&str> {
        (self.tries > UNSAID).then_some(&self.because)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_once_it_lasts() {
        let mut absence = Absence::new("nobody".to_owned());
        for _ in 1..UNSAID {
            absence.goes_on("nobody".to_owned());
            assert_eq!(absence.told(), None);
        }
        absence.goes_on("still nobody".to_owned());
        assert_eq!(absence.told(), Some("still nobody"));
    }
}
