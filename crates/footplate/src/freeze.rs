//! Which freeze windows hold at a moment: the part of the gate that knows calendars and time zones.
//!
//! Invariant: a window whose time zone this machine does not know freezes, and says so: nobody can tell that it does not.

use std::time::Duration;

use footplate_core::gate::{Days, Frozen, TimeOfDay, Weekday, Window, ZoneName};
use footplate_core::moment::Moment;
use jiff::civil::{self, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// How long a window freezes whose zone is not known, before it is looked at again.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// After so many days in a row without a gap a window is looked at again.
const DAYS_MAX: usize = 14;

/// Returns the facts of this moment: which of these windows hold, and until when.
pub fn frozen<'a>(windows: impl IntoIterator<Item = &'a Window>, now: Moment) -> Vec<Frozen> {
    let mut all: Vec<Frozen> = Vec::new();
    for frozen in windows.into_iter().filter_map(|window| holds(window, now)) {
        if !all.contains(&frozen) {
            all.push(frozen);
        }
    }
    all
}

/// Tells whether this machine knows a time zone.
pub fn knows(zone: &ZoneName) -> bool {
    TimeZone::get(zone.as_str()).is_ok()
}

/// Returns the name of this machine's time zone; UTC when it has none.
pub fn zone_here() -> ZoneName {
    let name = TimeZone::system().iana_name().and_then(|name| name.parse().ok());
    name.unwrap_or_else(|| "UTC".parse().expect("it is a valid name"))
}

fn holds(window: &Window, now: Moment) -> Option<Frozen> {
    let fact = |until: Moment, reason: String| Frozen { window: window.name.clone(), reason, until };
    let Ok(zone) = TimeZone::get(window.zone.as_str()) else {
        let zone = &window.zone;
        let reason =
            format!("{}; the controller's machine does not know the time zone `{zone}`", window.reason);
        return Some(fact(now + UNKNOWN_FOR, reason));
    };
    let millis = i64::try_from(now.as_millis()).ok()?;
    let mut until = Timestamp::from_millisecond(millis).ok()?;
    let begins = until;
    // Days that follow each other without a gap are one stretch.
    for _ in 0..DAYS_MAX {
        match end_at(window, &zone, until) {
            Some(end) if end > until => until = end,
            _ => break,
        }
    }
    let end = u64::try_from(until.as_millisecond()).ok()?;
    (until > begins).then(|| fact(Moment::from_millis(end), window.reason.clone()))
}

/// Returns the end of the stretch of this window that holds at a moment.
fn end_at(window: &Window, zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let today = at.to_zoned(zone.clone()).date();
    let stretches = match &window.days {
        Days::Dates { first, last } => {
            let date = |date: &footplate_core::gate::Date| {
                civil::Date::new(
                    i16::try_from(date.year).ok()?,
                    date.month.cast_signed(),
                    date.day.cast_signed(),
                )
                .ok()
            };
            vec![(moment(date(first)?, window.from)?, moment(date(last)?, window.to)?)]
        }
        Days::Days(days) => {
            let begins = [today.yesterday().ok(), Some(today)].into_iter().flatten();
            let begins = begins.filter(|day| days.contains(&weekday(*day)));
            let stretch = |day: civil::Date| {
                let last = if window.to > window.from { day } else { day.tomorrow().ok()? };
                Some((moment(day, window.from)?, moment(last, window.to)?))
            };
            begins.filter_map(stretch).collect()
        }
    };
    // A local time that a change of the clocks skips or repeats is taken as the zone's rules say (RFC 5545).
    let stamp = |local: DateTime| zone.to_timestamp(local).ok();
    let ends = stretches.into_iter().filter_map(|(from, to)| Some((stamp(from)?, stamp(to)?)));
    ends.filter(|(from, to)| (*from..*to).contains(&at)).map(|(_, to)| to).max()
}

fn moment(day: civil::Date, time: TimeOfDay) -> Option<DateTime> {
    day.at(0, 0, 0, 0).checked_add(i64::from(time.minutes()).minutes()).ok()
}

fn weekday(day: civil::Date) -> Weekday {
    Weekday::ALL[usize::try_from(day.weekday().to_monday_zero_offset()).expect("it is 0 to 6")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Moment {
        let stamp: Timestamp = text.parse().unwrap();
        Moment::from_millis(u64::try_from(stamp.as_millisecond()).unwrap())
    }

    fn window(days: Days, from: &str, to: &str, zone: &str) -> Window {
        Window {
            name: "rest".parse().unwrap(),
            days,
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            zone: zone.parse().unwrap(),
            reason: "nobody is there".to_owned(),
        }
    }

    fn until(window: &Window, now: &str) -> Option<String> {
        let frozen = frozen([window], at(now)).pop()?;
        let millis = i64::try_from(frozen.until.as_millis()).unwrap();
        Some(Timestamp::from_millisecond(millis).unwrap().to_string())
    }

    #[test]
    fn a_night_goes_over_midnight_by_the_clocks_of_its_zone() {
        let friday = window(Days::Days([Weekday::Friday].into()), "18:00", "08:00", "Europe/Berlin");
        // 2026-11-27 is a Friday; Berlin is an hour ahead of UTC.
        assert_eq!(until(&friday, "2026-11-27T16:59:59Z"), None);
        assert_eq!(until(&friday, "2026-11-27T17:00:00Z").as_deref(), Some("2026-11-28T07:00:00Z"));
        assert_eq!(until(&friday, "2026-11-28T06:59:59Z").as_deref(), Some("2026-11-28T07:00:00Z"));
        assert_eq!(until(&friday, "2026-11-28T07:00:00Z"), None);
        assert_eq!(until(&friday, "2026-11-28T18:00:00Z"), None, "Saturday evening is free");
    }

    #[test]
    fn whole_days_in_a_row_are_one_stretch() {
        let weekend = Days::Days([Weekday::Saturday, Weekday::Sunday].into());
        let weekend = window(weekend, "00:00", "24:00", "UTC");
        assert_eq!(until(&weekend, "2026-11-28T10:00:00Z").as_deref(), Some("2026-11-30T00:00:00Z"));
        assert_eq!(until(&weekend, "2026-11-27T23:59:59Z"), None);
        let always = window(Days::Days(Weekday::ALL.into()), "00:00", "24:00", "UTC");
        assert_eq!(until(&always, "2026-11-28T10:00:00Z").as_deref(), Some("2026-12-12T00:00:00Z"));
    }

    #[test]
    fn the_night_in_which_clocks_are_set_back_is_longer() {
        let sunday = window(Days::Days([Weekday::Sunday].into()), "00:00", "06:00", "Europe/Berlin");
        // On 2026-10-25 Berlin goes from two hours ahead of UTC to one.
        assert_eq!(until(&sunday, "2026-10-24T22:00:00Z").as_deref(), Some("2026-10-25T05:00:00Z"));
        assert_eq!(until(&sunday, "2026-10-24T21:59:59Z"), None);
    }

    #[test]
    fn dates_are_one_piece_from_the_first_to_the_last() {
        let days = Days::Dates { first: "2026-12-24".parse().unwrap(), last: "2027-01-01".parse().unwrap() };
        let holidays = window(days, "12:00", "24:00", "America/New_York");
        assert_eq!(until(&holidays, "2026-12-24T16:59:59Z"), None);
        assert_eq!(until(&holidays, "2026-12-28T03:00:00Z").as_deref(), Some("2027-01-02T05:00:00Z"));
    }

    #[test]
    fn a_zone_that_nobody_knows_freezes_and_says_so() {
        let lost = window(Days::Days([Weekday::Monday].into()), "10:00", "11:00", "Atlantis/Capital");
        assert!(!knows(&lost.zone));
        let frozen = frozen([&lost], at("2026-11-28T10:00:00Z")).pop().unwrap();
        assert!(
            frozen.reason.contains("does not know the time zone `Atlantis/Capital`"),
            "{}",
            frozen.reason
        );
    }
}
