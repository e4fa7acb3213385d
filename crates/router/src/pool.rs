//! Connections to one endpoint that wait for their next request. Each worker has its own, so that none waits for another.
//!
//! Invariant: an endpoint whose latch is shut has none for longer than the time between two sweeps.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::line::Line;

/// How many connections rest at once; more are closed.
const RESTING_MAX: usize = 512;
/// How long a connection rests before it is closed.
pub const REST_TIME_MAX: Duration = Duration::from_secs(30);

/// Resting connections, the last used on top.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<(Line, Instant)>>);

impl Pool {
    /// Takes the connection that was used last, if it rested less than `rest_max`; tells how long it rested.
    pub fn take(&self, rest_max: Duration) -> Option<(Line, Duration)> {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (line, since) = resting.pop()?;
        let rested = since.elapsed();
        if rested >= rest_max {
            // All below have rested longer; the sweep closes those that nobody will take any more.
            resting.push((line, since));
            return None;
        }
        Some((line, rested))
    }

    /// Lets a connection rest.
    pub fn give(&self, line: Line) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() < RESTING_MAX {
            resting.push((line, Instant::now()));
        }
    }

    /// Closes all, or those that are closed at the other end or rested too long.
    pub fn sweep(&self, all: bool) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all {
            true => *resting = Vec::new(),
            false => resting.retain_mut(|(line, since)| line.is_open() && since.elapsed() < REST_TIME_MAX),
        }
    }
}
