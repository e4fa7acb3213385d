//! When a scheduled service runs: every so often, or by the calendar.
//!
//! Invariants: times are UTC, so that no run is lost or doubled twice a year; a calendar names at least one minute of the
//! four years that begin at any moment; the next moment is always later than the given one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration_millis;
use crate::moment::Moment;

const MINUTE: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;
/// No calendar that parses is silent for longer: 29 February comes back within eight years (1896 to 1904, 2096 to 2104).
const DAYS_MAX: u64 = 8 * 366 + 1;

/// When a scheduled service runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// So long after the begin of the run before; at once when that took longer.
    Every(#[serde(with = "duration_millis")] Duration),
    /// At the minutes of a calendar.
    Calendar(Calendar),
}

impl Schedule {
    /// Returns the first moment after `last`, the begin of the run before, at which to run.
    pub fn next(&self, last: Moment) -> Moment {
        match self {
            Schedule::Every(interval) => last + *interval,
            Schedule::Calendar(calendar) => calendar.next(last),
        }
    }
}

/// The five fields of cron(5), in UTC: minute, hour, day of the month, month, day of the week (0 or 7 is Sunday).
///
/// Each is `*`, a number, a range `1-5`, steps `*/15` or `10-40/10`, or several of these with commas between. One of the two
/// kinds of day must be `*`: where both are given, crons disagree about what is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    text: String,
    minutes: BTreeSet<u8>,
    hours: BTreeSet<u8>,
    days: BTreeSet<u8>,
    months: BTreeSet<u8>,
    weekdays: BTreeSet<u8>,
}

/// A text that is no calendar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a calendar: {why}", .text.escape_debug())]
pub struct NotACalendar {
    /// The text as given.
    pub text: String,
    /// What is wrong with it and what would be right.
    pub why: String,
}

impl Calendar {
    /// Returns the first whole minute after `moment` that it names.
    pub fn next(&self, moment: Moment) -> Moment {
        let first = moment.as_millis() / MINUTE + 1;
        let first_day = first / DAY_MINUTES;
        let day = (first_day..first_day + DAYS_MAX).filter(|day| self.names_day(*day));
        let found = day.flat_map(|day| self.minutes_of(day)).find(|minute| *minute >= first);
        Moment::from_millis(found.expect("every calendar names a minute within eight years") * MINUTE)
    }

    /// Returns the minutes, hours, days of the month, months and days of the week (Sunday is 0) that it names.
    pub fn fields(&self) -> [&BTreeSet<u8>; 5] {
        [&self.minutes, &self.hours, &self.days, &self.months, &self.weekdays]
    }

    fn names_day(&self, day: u64) -> bool {
        let (month, of_month) = month_and_day(day);
        // 1 January 1970 was a Thursday.
        let weekday = u8::try_from((day + 4) % 7).expect("less than 7");
        self.months.contains(&month) && self.days.contains(&of_month) && self.weekdays.contains(&weekday)
    }

    fn minutes_of(&self, day: u64) -> impl Iterator<Item = u64> {
        let hours = self.hours.iter().map(move |hour| day * DAY_MINUTES + u64::from(*hour) * 60);
        hours.flat_map(|hour| self.minutes.iter().map(move |minute| hour + u64::from(*minute)))
    }
}

/// Returns the month and the day of the month of a day since 1 January 1970.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn month_and_day(day: u64) -> (u8, u8) {
    let of_era = (day + 719_468) % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let small = |number: u64| u8::try_from(number).expect("months and days are small");
    (small(month), small(of_month))
}

impl FromStr for Calendar {
    type Err = NotACalendar;

    fn from_str(text: &str) -> Result<Self, NotACalendar> {
        let refuse = |why: String| NotACalendar { text: text.to_owned(), why };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let why = "expected five fields: minute, hour, day of the month, month, day of the week; such as `30 3 * * *`";
            return Err(refuse(why.to_owned()));
        };
        let mut weekdays = field(weekday, 0, 7).map_err(refuse)?;
        if weekdays.remove(&7) {
            weekdays.insert(0);
        }
        let calendar = Self {
            text: fields.join(" "),
            minutes: field(minute, 0, 59).map_err(refuse)?,
            hours: field(hour, 0, 23).map_err(refuse)?,
            days: field(day, 1, 31).map_err(refuse)?,
            months: field(month, 1, 12).map_err(refuse)?,
            weekdays,
        };
        if calendar.days.len() < 31 && calendar.weekdays.len() < 7 {
            let why = "days of the month and days of the week exclude each other; write `*` for one of them";
            return Err(refuse(why.to_owned()));
        }
        if calendar.months.iter().all(|month| calendar.days.iter().all(|day| *day > longest(*month))) {
            return Err(refuse("no such day comes in these months".to_owned()));
        }
        Ok(calendar)
    }
}

fn longest(month: u8) -> u8 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn field(text: &str, min: u8, max: u8) -> Result<BTreeSet<u8>, String> {
    let mut numbers = BTreeSet::new();
    for part in text.split(',') {
        let wrong = || format!("`{part}` is no number from {min} to {max}, range, or step");
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let number = |text: &str| text.parse::<u8>().ok().filter(|number| (min..=max).contains(number));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (min, max),
            Some((first, last)) => (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?),
            None if part.contains('/') => return Err(wrong()),
            None => number(range).map(|number| (number, number)).ok_or_else(wrong)?,
        };
        if first > last {
            return Err(wrong());
        }
        numbers.extend((first..=last).step_by(step));
    }
    Ok(numbers)
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Calendar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Calendar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
