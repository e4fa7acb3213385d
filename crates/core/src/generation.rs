//! The (epoch, counter) that makes an older order harmless.
//!
//! Invariant: for one app the controller never issues the same generation for two different orders,
//! and an agent never obeys a lower one than the highest it has obeyed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The age of an order: a higher generation always wins, whatever order the messages came in.
///
/// The epoch rises when a store was restored from a backup; the counter rises with each order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// Rises when the store was restored, so that every order after it is newer than any before.
    pub epoch: u64,
    /// Rises with each order within an epoch.
    pub counter: u64,
}

impl Generation {
    /// Returns the generation `counter` of `epoch`.
    pub const fn new(epoch: u64, counter: u64) -> Self {
        Self { epoch, counter }
    }

    /// Returns the next generation of the same epoch.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { epoch: self.epoch, counter: self.counter + 1 }
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
