//! Connections to one endpoint that wait for their next request. Each worker has its own, so that none waits for another.
//!
//! Invariant: an endpoint whose latch is shut has none for longer than the time between two sweeps.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use crate::body::Outgoing;

/// The sending side of a connection.
pub type Sender = SendRequest<Outgoing>;

/// How many connections rest at once; more are closed.
const RESTING_MAX: usize = 512;
/// How long a connection rests before it is closed.
pub const REST_TIME_MAX: Duration = Duration::from_secs(30);

/// Resting connections, the last used on top.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<(Sender, Instant)>>);

impl Pool {
    /// Takes the connection that was used last, if it rested less than `rest_max`; tells how long it rested.
    pub fn take(&self, rest_max: Duration) -> Option<(Sender, Duration)> {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = resting.pop() {
            let rested = since.elapsed();
            if rested >= rest_max {
                // All below have rested longer; the sweep closes those that nobody will take any more.
                resting.push((sender, since));
                return None;
            }
            if !sender.is_closed() {
                return Some((sender, rested));
            }
        }
        None
    }

    /// Lets a connection rest.
    pub fn give(&self, sender: Sender) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() < RESTING_MAX {
            resting.push((sender, Instant::now()));
        }
    }

    /// Closes all, or those that are closed at the other end or rested too long.
    pub fn sweep(&self, all: bool) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all {
            true => *resting = Vec::new(),
            false => resting.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < REST_TIME_MAX),
        }
    }
}
