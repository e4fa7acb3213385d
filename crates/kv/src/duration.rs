//! Durations as Consul's clients write them: Go's notation, `1h2m3.5s`.

use std::time::Duration;

/// Parses a duration, which may have a sign.
///
/// # Errors
/// The text is no duration, with Go's words for it.
pub fn parse(text: &str) -> Result<Signed, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Signed { negative: false, length: Duration::ZERO });
    }
    let mut left = rest;
    let mut length = Duration::ZERO;
    while !left.is_empty() {
        let digits = left.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(left.len());
        let (number, after) = left.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let part = part(number, unit, text)?;
        length =
            length.checked_add(part).filter(|sum| sum.as_nanos() <= i64::MAX as u128).ok_or_else(invalid)?;
        left = after;
    }
    if rest.is_empty() { Err(invalid()) } else { Ok(Signed { negative, length }) }
}

/// A duration with a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Whether it lies below zero.
    pub negative: bool,
    /// Its length.
    pub length: Duration,
}

impl Signed {
    /// Returns the duration, zero for a negative one.
    pub fn or_zero(self) -> Duration {
        if self.negative { Duration::ZERO } else { self.length }
    }

    /// Returns it in nanoseconds.
    pub fn nanoseconds(self) -> i64 {
        let length = i64::try_from(self.length.as_nanos()).unwrap_or(i64::MAX);
        if self.negative { -length } else { length }
    }
}

fn part(number: &str, unit: &str, text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    if number.is_empty() {
        return Err(invalid());
    }
    let nanoseconds: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(format!("time: missing unit in duration {text:?}")),
        _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(invalid());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let whole = Duration::from_nanos(whole.checked_mul(nanoseconds).ok_or_else(invalid)?);
    // Below a nanosecond nothing counts.
    let fraction = fraction.get(..fraction.len().min(15)).unwrap_or_default();
    let tenths: u64 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| invalid())? };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let rest = u128::from(tenths) * u128::from(nanoseconds) / scale;
    Ok(whole + Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("1h2m3.5s", 3_723_500),
            ("1500ms", 1500),
            (".5s", 500),
            ("1.s", 1000),
            ("0", 0),
            ("+2s", 2000),
        ] {
            let signed = parse(text).unwrap();
            assert_eq!(
                (signed.negative, signed.length),
                (false, Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        assert_eq!(parse("-1.5s").unwrap().nanoseconds(), -1_500_000_000);
        assert_eq!(parse("-1s").unwrap().or_zero(), Duration::ZERO);
        for text in ["", "-", "x", "5", "5x", "1.2.3s", ".s", "s", "99999999h", "1e3s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
