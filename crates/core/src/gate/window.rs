//! Freeze windows: times of the calendar in which nothing is deployed. Only written down here: which hold now is
//! reckoned outside of core, where time zones are known.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::WindowName;

/// Times in which nothing is deployed, by the clocks of a time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// What it is called.
    pub name: WindowName,
    /// On which days.
    #[serde(flatten)]
    pub days: Days,
    /// From which time of day on.
    pub from: TimeOfDay,
    /// Until when.
    pub to: TimeOfDay,
    /// By whose clocks.
    pub zone: ZoneName,
    /// Why.
    pub reason: String,
}

/// On which days a window freezes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Days {
    /// Every week, from `from` on each of these days to `to`; to that time of the next day when `to` is not after `from`.
    Days(BTreeSet<Weekday>),
    /// Once, from `from` on the first day to `to` on the last, in one piece.
    Dates {
        /// The first day.
        first: Date,
        /// The last day.
        last: Date,
    },
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// The first day of the week, as ISO 8601 counts.
    Monday,
    /// The second.
    Tuesday,
    /// The third.
    Wednesday,
    /// The fourth.
    Thursday,
    /// The fifth.
    Friday,
    /// The sixth.
    Saturday,
    /// The last.
    Sunday,
}

impl Weekday {
    /// All of them, in order.
    pub const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    /// Returns its English name in small letters.
    pub fn word(self) -> &'static str {
        match self {
            Weekday::Monday => "monday",
            Weekday::Tuesday => "tuesday",
            Weekday::Wednesday => "wednesday",
            Weekday::Thursday => "thursday",
            Weekday::Friday => "friday",
            Weekday::Saturday => "saturday",
            Weekday::Sunday => "sunday",
        }
    }
}

/// A text that is no day, time of day or time zone; says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {expected}", .text.escape_debug())]
pub struct NotInTheCalendar {
    /// The text as given.
    pub text: String,
    /// What it should be.
    pub expected: &'static str,
}

impl FromStr for Weekday {
    type Err = NotInTheCalendar;

    fn from_str(text: &str) -> Result<Self, NotInTheCalendar> {
        let day = Weekday::ALL.into_iter().find(|day| day.word() == text);
        day.ok_or_else(|| not(text, "a day of the week, such as monday"))
    }
}

/// A day of the calendar, `2026-12-24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// 1970 to 9998.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31, as the month has them.
    pub day: u8,
}

/// A time of day to the minute, `00:00` to `24:00`, in minutes since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// The beginning of a day.
    pub const MIDNIGHT: TimeOfDay = TimeOfDay(0);
    /// The end of a day.
    pub const END: TimeOfDay = TimeOfDay(24 * 60);

    /// Returns its minutes since midnight, 0 to 1440.
    pub fn minutes(self) -> u16 {
        self.0
    }
}

/// A time zone as IANA names it, `Europe/Berlin`. Whether there is one of that name is not known here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneName(String);

impl ZoneName {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Date {
    type Err = NotInTheCalendar;

    fn from_str(text: &str) -> Result<Self, NotInTheCalendar> {
        parse_date(text).ok_or_else(|| not(text, "a day of the calendar, such as 2026-12-24"))
    }
}

impl FromStr for TimeOfDay {
    type Err = NotInTheCalendar;

    fn from_str(text: &str) -> Result<Self, NotInTheCalendar> {
        parse_time(text).ok_or_else(|| not(text, "a time of day, such as 18:00"))
    }
}

impl FromStr for ZoneName {
    type Err = NotInTheCalendar;

    fn from_str(text: &str) -> Result<Self, NotInTheCalendar> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+');
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(is_good);
        is_name.then(|| Self(text.to_owned())).ok_or_else(|| not(text, "a time zone, such as Europe/Berlin"))
    }
}

fn not(text: &str, expected: &'static str) -> NotInTheCalendar {
    NotInTheCalendar { text: text.to_owned(), expected }
}

fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let is_shaped = parts.next().is_none() && [year.len(), month.len(), day.len()] == [4, 2, 2];
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    let is_day = is_shaped && (1970..=9998).contains(&year) && (1..=days).contains(&day);
    is_day.then_some(Date { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? })
}

fn parse_time(text: &str) -> Option<TimeOfDay> {
    let (hours, minutes) = text.split_once(':')?;
    let is_shaped = [hours.len(), minutes.len()] == [2, 2];
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let time = TimeOfDay(hours * 60 + minutes);
    (is_shaped && minutes < 60 && time <= TimeOfDay::END).then_some(time)
}

fn digits(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 4;
    if is_number { text.parse().ok() } else { None }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { name, days, from, to, zone, reason } = self;
        match days {
            Days::Days(days) => {
                let days: Vec<&str> = days.iter().map(|day| day.word()).collect();
                write!(f, "`{name}`: {} {from} to {to} {zone}: {reason}", days.join(", "))
            }
            Days::Dates { first, last } => {
                write!(f, "`{name}`: {first} {from} to {last} {to} {zone}: {reason}")
            }
        }
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {
        $(impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        })*
    };
}

as_text!(Date, TimeOfDay, ZoneName);
