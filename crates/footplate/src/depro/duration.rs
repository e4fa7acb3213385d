//! Go's notation for lengths of time, which the original's configurations use: `300ms`, `1m30s`, `1.5h`.
//!
//! Invariant: [`parse`] takes what Go's `time.ParseDuration` takes, except negative lengths.

use std::time::Duration;

/// Parses a length of time. The error says what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || {
        format!("`{}` is no length of time; write one like `300ms`, `20s` or `1m30s`", text.escape_debug())
    };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(expected());
    }
    let mut total = 0.0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let number: f64 = number.parse().map_err(|_| expected())?;
        total += number * seconds_of(unit).ok_or_else(expected)?;
        rest = tail;
    }
    Duration::try_from_secs_f64(total).map_err(|_| expected())
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_reads_as_in_go() {
        for (text, millis) in [
            ("0", 0),
            ("300ms", 300),
            ("1.5s", 1500),
            ("1m30s", 90_000),
            ("2h45m", 9_900_000),
            ("+5s", 5000),
            (".5s", 500),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("10us"), Ok(Duration::from_micros(10)));
    }

    #[test]
    fn a_length_that_go_refuses_is_refused() {
        for text in ["", "10", "s", "1d", "-5s", "1 s", "1.2.3s", ".s"] {
            assert!(parse(text).is_err(), "{text:?} must be refused");
        }
    }
}
