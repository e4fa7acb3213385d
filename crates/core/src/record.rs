//! What is stored: keys, their writers, formats.
//!
//! Invariants: every key has one writer role; every value carries the number of its format, first, and a reader never
//! guesses at a newer one; old formats stay readable, their golden files in `tests/golden` are never edited.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fleet::{Current, HostState, Presence, Pushed};
use crate::gate::Gate;
use crate::generation::Generation;
use crate::moment::Moment;
use crate::rollout::Rollout;
use crate::target::{Assignment, Report};
use crate::traffic::{DiscoveryReport, Route, RouterOrder, RouterReport, Traffic};

mod key;

pub use key::{Key, NotAKey, Writer};

/// The largest value any store takes, in bytes: no record may list what grows without bound.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;

/// Something that is stored under its own key.
pub trait Record: Serialize + DeserializeOwned {
    /// What it is called in messages.
    const NAME: &'static str;
    /// The format that is written.
    const FORMAT: u32 = 1;

    /// Reads the fields of a record of `format`, which is [`Record::FORMAT`] or older.
    ///
    /// A record whose form changed overrides this and turns the old form, kept as a type of its own, into the new.
    fn read<'de, D: Deserializer<'de>>(_format: u32, fields: D) -> Result<Self, D::Error> {
        Self::deserialize(fields)
    }
}

/// A record as it is written: its fields after the number of their format.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a, T>(pub &'a T);

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored<T> {
    /// One that we can read, turned into today's form.
    Known(T),
    /// One that a newer footplate wrote, in this format.
    Newer(u32),
}

/// A value in a format that this footplate does not know yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot read the {record} in `{key}`: a newer footplate wrote it (format {format}, and this one reads up to {known}); next: upgrade this footplate"
)]
pub struct NewerFormat {
    /// What it should hold.
    pub record: &'static str,
    /// Where it stands.
    pub key: String,
    /// The format found.
    pub format: u32,
    /// The newest format that we read.
    pub known: u32,
}

/// A value over [`VALUE_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` would have {bytes} bytes, and a value of the store may have {VALUE_BYTES_MAX}")]
pub struct TooLarge {
    /// Where it should go.
    pub key: String,
    /// Its size.
    pub bytes: usize,
}

impl<T: Record> Stored<T> {
    /// Returns the record, or says that a newer footplate wrote it.
    pub fn known(self, key: &Key) -> Result<T, NewerFormat> {
        match self {
            Stored::Known(record) => Ok(record),
            Stored::Newer(format) => {
                Err(NewerFormat { record: T::NAME, key: key.to_string(), format, known: T::FORMAT })
            }
        }
    }
}

/// Checks a value's size before it is written.
pub fn check_size(key: &str, bytes: usize) -> Result<(), TooLarge> {
    if bytes > VALUE_BYTES_MAX { Err(TooLarge { key: key.to_owned(), bytes }) } else { Ok(()) }
}

impl<T: Record> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a, T> {
            format: u32,
            #[serde(flatten)]
            fields: &'a T,
        }
        Fields { format: T::FORMAT, fields: self.0 }.serialize(serializer)
    }
}

impl<'de, T: Record> Deserialize<'de> for Stored<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Record> Visitor<'de> for Fields<T> {
    type Value = Stored<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} that begins with its `format`", T::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        if map.next_key::<String>()?.as_deref() != Some("format") {
            return Err(A::Error::custom(format!("a {} must begin with its `format`", T::NAME)));
        }
        let format: u32 = map.next_value()?;
        if format > T::FORMAT {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Stored::Newer(format));
        }
        T::read(format, MapAccessDeserializer::new(map)).map(Stored::Known)
    }
}

/// The generation that may activate: what stands in a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// Reached.
    pub generation: Generation,
}

/// The right to be the acting controller of a lane, bound to the holder's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Where the holder's API answers; nothing for a command that hosts a controller for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Who holds it, for people: `footplate controller on web-1`.
    pub holder: String,
    /// Since when.
    pub since: Moment,
}

macro_rules! records {
    ($($type:ty: $name:literal),* $(,)?) => {
        $(impl Record for $type {
            const NAME: &'static str = $name;
        })*
    };
}

records! {
    Assignment: "assignment",
    Barrier: "barrier",
    Presence: "presence",
    Report: "report",
    Current: "app's record",
    Rollout: "rollout",
    HostState: "host's state",
    Pushed: "release",
    Lease: "lease",
    Gate: "gate",
    Route: "route",
    DiscoveryReport: "word of a catalog",
    Traffic: "traffic's division",
    RouterReport: "router's report",
    RouterOrder: "router's order",
}
