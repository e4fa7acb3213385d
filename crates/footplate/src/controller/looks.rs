//! Looks at what agents report: many reports, one look; the sooner, the fewer are missing.

use std::sync::Arc;
use std::time::Duration;

use footplate_core::record::Key;
use footplate_core::rollout::Missing;
use footplate_drivers::store::{Scope, Snapshot, Store, Troubles, WATCH_PATIENCE, Watch};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long after one look at the agents' reports the next one is taken, at the earliest, while all targets are waited
/// for: many reports, one look. The fewer are missing, the likelier the next report is the one that matters.
pub(super) const LOOK_GAP_MAX: Duration = Duration::from_millis(50);
/// The same while only the last few are.
const LOOK_GAP_MIN: Duration = Duration::from_millis(5);

/// Returns how long the next look may wait while so many targets are missing.
pub(super) fn gap_while(missing: Missing) -> Duration {
    LOOK_GAP_MAX.mul_f64(missing.targets as f64 / missing.of.max(1) as f64).max(LOOK_GAP_MIN)
}

/// Follows what agents report; of many changes in a short time only the last state is passed on.
pub(super) fn watch_agents(
    store: Arc<dyn Store>,
    troubles: &Troubles,
    reports: watch::Sender<Option<Arc<Snapshot>>>,
    mut gap: watch::Receiver<Duration>,
) -> impl Future<Output = ()> + Send + 'static {
    let scope = Scope::Prefix(Key::AGENTS.to_owned());
    let mut agents = Watch::new(store, scope, WATCH_PATIENCE, troubles, "follow the agents' reports");
    async move {
        loop {
            let asked_at = Instant::now();
            if reports.send(Some(agents.next().await)).is_err() {
                return;
            }
            // The gap may shrink while it is waited out, once the last look has been understood.
            loop {
                let over = asked_at + *gap.borrow_and_update();
                tokio::select! {
                    () = tokio::time::sleep_until(over) => break,
                    Ok(()) = gap.changed() => (),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use footplate_drivers::store::memory::Memory;
    use footplate_drivers::store::{Applied, Transaction, Write};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    #[test]
    fn the_fewer_are_missing_the_sooner_is_the_next_look() {
        let gap = |targets, of| gap_while(Missing { targets, of }).as_millis();
        assert_eq!((gap(200, 200), gap(100, 200), gap(3, 200), gap(0, 200)), (50, 25, 5, 5));
        assert_eq!(gap(0, 0), 5, "a rollout without targets waits for nothing");
    }

    #[tokio::test]
    async fn a_look_that_is_waited_for_is_taken_sooner_once_few_are_missing() {
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let (tell, mut told) = watch::channel(None);
        let gap = watch::Sender::new(Duration::from_secs(3600));
        let looks = watch_agents(store.clone(), &Troubles::default(), tell, gap.subscribe());
        let _looks = AbortOnDropHandle::new(tokio::spawn(looks));
        told.changed().await.expect("a first look");
        let report = Write::Put(format!("{}web-1/alive", Key::AGENTS), b"{}".to_vec());
        let written = store.apply(&Transaction { guards: Vec::new(), writes: vec![report] }).await;
        assert_eq!(written.expect("it answers"), Applied::Yes);
        gap.send_replace(LOOK_GAP_MIN);
        let second = tokio::time::timeout(Duration::from_secs(20), told.changed()).await;
        second.expect("it is not waited for as long as it was").expect("a second look");
    }
}
