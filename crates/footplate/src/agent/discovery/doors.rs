//! The way out: who is about to be stopped first leaves the catalog, and stays up until whoever looked it up before is answered.
//!
//! Invariants: a stop never waits longer than its patience, whatever the catalog does; who gave up stopping is in again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use footplate_drivers::discovery::InstanceName;
use tokio::sync::watch;

/// How long a stop waits for a catalog that does not take what leaves out of it.
const OUT_WITHIN: Duration = Duration::from_secs(5);

/// Who wants to leave, and who is out.
pub struct Doors {
    drain: Duration,
    patience: Duration,
    leaving: Mutex<BTreeSet<InstanceName>>,
    /// Rises with every wish to leave, and with each that ended.
    wishes: watch::Sender<u64>,
    /// Since when the catalog sends nobody to those of the host's services that are up.
    out: watch::Sender<BTreeMap<InstanceName, Instant>>,
}

impl Doors {
    /// Makes doors through which one is out `drain` after the catalog took it out.
    pub fn new(drain: Duration) -> Arc<Self> {
        Self::patient(drain, OUT_WITHIN)
    }

    fn patient(drain: Duration, patience: Duration) -> Arc<Self> {
        let (leaving, wishes, out) = (Mutex::default(), watch::Sender::new(0), watch::Sender::default());
        Arc::new(Self { drain, patience, leaving, wishes, out })
    }

    /// Takes an instance out of the catalog and waits until nobody comes any more; it stays out until what is returned is dropped.
    pub async fn leave(self: &Arc<Self>, name: InstanceName) -> Leaving {
        self.lock().insert(name.clone());
        self.wishes.send_modify(|count| *count += 1);
        let leaving = Leaving { doors: Arc::clone(self), name: name.clone() };
        let mut out = self.out.subscribe();
        let is_out = out.wait_for(|out| out.contains_key(&name));
        let since = match tokio::time::timeout(self.patience, is_out).await {
            Ok(Ok(out)) => out.get(&name).copied(),
            Ok(Err(_)) | Err(_) => None,
        };
        match since {
            Some(since) => tokio::time::sleep_until((since + self.drain).into()).await,
            None => tracing::warn!("{name} is stopped while it still stands in the catalog of services"),
        }
        leaving
    }

    /// Tells whether somebody wants it to leave.
    pub fn is_leaving(&self, name: &InstanceName) -> bool {
        self.lock().contains(name)
    }

    /// Lets the loop know who wants to leave.
    pub fn wishes(&self) -> watch::Receiver<u64> {
        self.wishes.subscribe()
    }

    /// Notes which of the services that are up are in no catalog, or critical there.
    pub fn note(&self, outside: &BTreeSet<InstanceName>) {
        self.out.send_if_modified(|out| {
            let before = out.len();
            out.retain(|name, _| outside.contains(name));
            let gone = before - out.len();
            let now = Instant::now();
            for name in outside {
                out.entry(name.clone()).or_insert(now);
            }
            gone > 0 || out.len() > before - gone
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<InstanceName>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an instance out of the catalog while it is stopped.
pub struct Leaving {
    doors: Arc<Doors>,
    name: InstanceName,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.doors.lock().remove(&self.name);
        self.doors.wishes.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> InstanceName {
        InstanceName {
            target: "production.shop.web".parse().expect("a target"),
            release: "1".parse().expect("a release"),
        }
    }

    #[tokio::test]
    async fn a_stop_waits_until_it_is_out_and_then_for_the_drain() {
        let doors = Doors::new(Duration::from_millis(30));
        let leave = tokio::spawn({
            let doors = Arc::clone(&doors);
            async move { doors.leave(name()).await }
        });
        let mut wishes = doors.wishes();
        wishes.wait_for(|count| *count == 1).await.expect("the doors stand");
        assert!(doors.is_leaving(&name()) && !leave.is_finished());
        doors.note(&[name()].into());
        let noted = Instant::now();
        let leaving = leave.await.expect("it does not panic");
        assert!(noted.elapsed() >= Duration::from_millis(29), "{:?}", noted.elapsed());
        assert!(doors.is_leaving(&name()), "it stays out while it is stopped");
        drop(leaving);
        assert!(!doors.is_leaving(&name()));
    }

    #[tokio::test]
    async fn a_catalog_that_does_not_answer_holds_nobody_up_for_long() {
        let patience = Duration::from_millis(20);
        let doors = Doors::patient(Duration::from_secs(300), patience);
        // Whatever is ready first is looked at first, so that a busy machine fails nobody.
        let left = tokio::time::timeout(patience * 2, doors.leave(name())).await;
        assert!(left.is_ok(), "it waits for longer than its patience");
    }

    #[tokio::test]
    async fn who_gave_up_stopping_is_in_again() {
        let doors = Doors::new(Duration::from_millis(30));
        let leave = doors.leave(name());
        assert!(tokio::time::timeout(Duration::from_millis(10), leave).await.is_err());
        assert!(!doors.is_leaving(&name()));
    }
}
