//! Moments as people read them: "3 min ago", `2026-11-21 20:47:54 UTC`.

use std::time::Duration;

use footplate_core::moment::{Moment, in_words};

/// Renders how long ago `moment` was, seen from `now`.
pub fn ago(now: Moment, moment: Moment) -> String {
    format!("{} ago", in_words(now.since(moment)))
}

/// Renders a length of time as a stopwatch does: `01:07`, `1:02:03`.
pub fn stopwatch(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// Renders a moment in UTC, to the second.
pub fn stamp(moment: Moment) -> String {
    let millis = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => "a moment beyond the calendar".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_the_way_people_say_it() {
        let moment = Moment::from_millis(1_763_758_074_000);
        assert_eq!(stamp(moment), "2025-11-21 20:47:54 UTC");
        assert_eq!(ago(moment + Duration::from_secs(200), moment), "3 min 20 s ago");
        assert_eq!(stopwatch(Duration::from_secs(67)), "01:07");
        assert_eq!(stopwatch(Duration::from_secs(3723)), "1:02:03");
    }
}
