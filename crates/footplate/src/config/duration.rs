//! Lengths of time as people write them: `500ms`, `10s`, `10m`, `1h30m`, `14d`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Parses a length of time; a day is 24 hours. The error says what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || "expected a length of time such as \"90s\", \"10m\", \"2h\" or \"14d\"".to_owned();
    let span: Span = text.parse().map_err(|_| expected())?;
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err("months and years have no fixed length; write days".to_owned());
    }
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| expected())?;
    Duration::try_from(length).map_err(|_| "a length of time is not negative".to_owned())
}

/// Renders a length of time the way [`parse`] reads it: `1h 30m`, `10s`, `250ms`.
pub fn render(length: Duration) -> String {
    let millis = length.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let seconds = length.as_secs();
    let parts =
        [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_reads_as_people_write_it() {
        for (text, millis) in
            [("500ms", 500), ("90s", 90_000), ("10m", 600_000), ("1h30m", 5_400_000), ("14d", 1_209_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(
                parse(&render(Duration::from_millis(millis))),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_length_that_is_none_is_refused() {
        for text in ["", "10", "ten minutes", "-5s", "1 month", "1y"] {
            assert!(parse(text).is_err(), "{text:?} must be refused");
        }
    }
}
