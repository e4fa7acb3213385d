//! The time since this process began, in microseconds: small enough for an atomic. And the time of day, for people.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns the microseconds since the first call.
pub fn microseconds() -> u64 {
    microseconds_of(Instant::now())
}

/// Returns the microseconds from the first call to this moment, at least 1.
pub fn microseconds_of(moment: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = moment.saturating_duration_since(*START.get_or_init(Instant::now));
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX).saturating_add(1)
}

/// Returns the milliseconds since 1970, as this machine has it.
pub fn of_day_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
