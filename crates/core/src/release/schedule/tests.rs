//! Calendars and the minutes that they name.

use proptest::prelude::*;

use super::*;

/// 2026-11-21 00:00:00 UTC, a Saturday.
const SATURDAY: u64 = 1_795_219_200_000;

fn next(calendar: &str, from: u64) -> u64 {
    calendar.parse::<Calendar>().unwrap().next(Moment::from_millis(from)).as_millis() - SATURDAY
}

#[test]
fn a_calendar_names_the_next_minute() {
    let day = DAY_MINUTES * MINUTE;
    for (calendar, minutes) in [
        ("* * * * *", 1),
        ("*/15 * * * *", 15),
        ("30 3 * * *", 3 * 60 + 30),
        ("0 0 * * 1-5", 2 * 24 * 60),
        ("0 0 * * 7", 24 * 60),
        ("5,50-59/4 12 1 12 *", 10 * 24 * 60 + 12 * 60 + 5),
    ] {
        assert_eq!(next(calendar, SATURDAY), minutes * MINUTE, "{calendar}");
    }
    assert_eq!(next("0 0 * * *", SATURDAY), day, "the minute that it is has begun already");
    assert_eq!(next("0 0 * * *", SATURDAY - 1), 0);
    // From 2026-11-21 to 2028-02-29: 465 days.
    assert_eq!(next("0 0 29 2 *", SATURDAY), 465 * day);
}

#[test]
fn a_leap_day_is_found_over_a_century_without_one() {
    // From 2096-03-01 to 2104-02-29, since 2100 has none: 2920 days.
    let from = 3_981_398_400_000;
    let leap = "0 0 29 2 *".parse::<Calendar>().unwrap().next(Moment::from_millis(from));
    assert_eq!((leap.as_millis() - from) / (DAY_MINUTES * MINUTE), 2920);
}

#[test]
fn a_text_that_is_no_calendar_says_what_is_wrong() {
    for (text, why) in [
        ("* * * *", "five fields"),
        ("60 * * * *", "`60` is no number from 0 to 59"),
        ("*/0 * * * *", "`*/0`"),
        ("5/2 * * * *", "`5/2`"),
        ("9-5 * * * *", "`9-5`"),
        ("0 0 1 * 1", "exclude each other"),
        ("0 0 30 2 *", "no such day"),
        ("0 0 -1 * *", "`-1`"),
    ] {
        let refusal = text.parse::<Calendar>().expect_err(text).to_string();
        assert!(refusal.contains(why), "{refusal}");
    }
}

proptest! {
    #[test]
    fn the_next_moment_is_later_and_named_and_none_is_left_out(
        from in 0u64..4_000_000_000_000,
        minute in 0u8..60, hour in 0u8..24, day in 1u8..29, month in 1u8..13,
    ) {
        let calendar: Calendar = format!("{minute} {hour} {day} {month} *").parse().unwrap();
        let next = calendar.next(Moment::from_millis(from)).as_millis();
        prop_assert!(next > from);
        prop_assert!(next - from <= 366 * DAY_MINUTES * MINUTE);
        prop_assert_eq!(month_and_day(next / MINUTE / DAY_MINUTES), (month, day));
        prop_assert_eq!(next % (DAY_MINUTES * MINUTE), (u64::from(hour) * 60 + u64::from(minute)) * MINUTE);
    }
}
