//! When sessions expire and how long their keys refuse a lock. Volatile: after a restart all timers start afresh.
//!
//! Times are durations since some fixed start, passed in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::entry::Session;

/// A session lives for its time to live times this, so that a late renewal is no death; as in Consul.
pub const GRACE: u32 = 2;

/// The longest lock-delay; a longer one counts as this.
pub const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);

/// The deadlines of sessions and the delays of keys.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    by_session: HashMap<String, Duration>,
    by_time: BTreeSet<(Duration, String)>,
    delays: BTreeMap<Arc<str>, Duration>,
}

impl Timers {
    /// Starts a session's time to live afresh.
    pub fn start(&mut self, session: &Session, now: Duration) {
        self.stop(&session.id);
        if let Some(ttl) = session.ttl_parsed {
            let deadline = now + ttl * GRACE;
            self.by_session.insert(session.id.clone(), deadline);
            self.by_time.insert((deadline, session.id.clone()));
        }
    }

    /// Forgets a session.
    pub fn stop(&mut self, session: &str) {
        if let Some(deadline) = self.by_session.remove(session) {
            self.by_time.remove(&(deadline, session.to_owned()));
        }
    }

    /// Returns the next deadline, if any session has one.
    pub fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }

    /// Lists the sessions whose time is over.
    pub fn due(&self, now: Duration) -> Vec<String> {
        self.by_time.iter().take_while(|(deadline, _)| *deadline <= now).map(|(_, id)| id.clone()).collect()
    }

    /// Makes `keys` refuse a lock, because `session`, which held them, was invalidated.
    pub fn delay(&mut self, keys: Vec<Arc<str>>, session: &Session, now: Duration) {
        let delay = Duration::from_nanos(u64::try_from(session.lock_delay).unwrap_or(0)).min(LOCK_DELAY_MAX);
        self.delays.retain(|_, until| *until > now);
        if !delay.is_zero() {
            self.delays.extend(keys.into_iter().map(|key| (key, now + delay)));
        }
    }

    /// Tells whether a key still refuses a lock.
    pub fn is_delayed(&self, key: &str, now: Duration) -> bool {
        self.delays.get(key).is_some_and(|until| *until > now)
    }
}
