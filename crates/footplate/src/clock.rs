//! The one place where the roles read the time.

use std::time::{SystemTime, UNIX_EPOCH};

use footplate_core::moment::Moment;

/// Returns the present moment by the machine's clock.
pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
