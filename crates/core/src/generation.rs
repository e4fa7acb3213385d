//! The (epoch, counter) that makes an older order harmless.
//!
//! Invariant: the controller never issues one generation to one target for two orders that want different releases, and
//! an agent never obeys a lower one than the highest it has obeyed. A counter is never below the time of its issue, so
//! that a store restored from a backup does not issue anew what was issued after the backup.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// How far two controllers' clocks may be apart.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How many restorations a backup may have missed.
const EPOCHS_MAX: u64 = 1000;
/// How many orders a backup may have missed while the clock stood behind the counter.
const ORDERS_MAX: u64 = 1_000_000;

/// The age of an order: a higher generation always wins, whatever order the messages came in.
///
/// The epoch rises when a store was restored from a backup; the counter rises with each order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// Rises when the store was restored, so that every order after it is newer than any before.
    pub epoch: u64,
    /// Rises with each order within an epoch; see [`Generation::after`].
    pub counter: u64,
}

impl Generation {
    /// Returns the generation `counter` of `epoch`.
    pub const fn new(epoch: u64, counter: u64) -> Self {
        Self { epoch, counter }
    }

    /// Returns the next generation of the same epoch, issued at `now`: its counter is the milliseconds since the Unix
    /// epoch, or one more than this one's when that is higher.
    #[must_use]
    pub fn after(self, now: Moment) -> Self {
        Self { epoch: self.epoch, counter: now.as_millis().max(self.counter.saturating_add(1)) }
    }

    /// Tells whether a controller can have issued this one before `now`, when it knows of `issued` itself.
    ///
    /// A backup may be some restorations old and clocks may differ by a day; what lies beyond was made up.
    pub fn can_have_been_issued(self, issued: Generation, now: Moment) -> bool {
        let latest = (now + CLOCK_SKEW_MAX).as_millis().max(issued.counter.saturating_add(ORDERS_MAX));
        self.epoch <= issued.epoch.saturating_add(EPOCHS_MAX) && self.counter <= latest
    }

    /// Returns the first generation of the next epoch, issued at `now`.
    #[must_use]
    pub fn next_epoch(self, now: Moment) -> Self {
        Self { epoch: self.epoch.saturating_add(1), counter: now.as_millis() }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

/// A text that is not `EPOCH.COUNTER`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a generation; expected EPOCH.COUNTER, such as 1.42")]
pub struct NotAGeneration(pub String);

impl FromStr for Generation {
    type Err = NotAGeneration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotAGeneration(text.to_owned());
        let (epoch, counter) = text.split_once('.').ok_or_else(refuse)?;
        Ok(Self {
            epoch: epoch.parse().map_err(|_| refuse())?,
            counter: counter.parse().map_err(|_| refuse())?,
        })
    }
}

impl Serialize for Generation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
