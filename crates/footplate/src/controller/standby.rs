//! A controller without the lease: waits for it, and shows what the store holds to those who look.
//!
//! Invariants: it writes nothing but the lease; while nobody looks it costs the store one waiting request, on the lease's key.

use std::sync::Arc;
use std::time::Duration;

use footplate_core::record;
use footplate_drivers::failpoint;
use footplate_drivers::store::{Scope, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::act::{Inbox, PREFIXES, answer};
use super::lease::{self, Lease};
use super::orders::{Answer, Ask};
use super::{Shared, problem};
use crate::api::{Problem, ProblemKind};
use crate::clock;

/// How long to wait between two tries to take a lease that seemed free.
const TAKE_PAUSE: Duration = Duration::from_secs(2);
/// How old what is shown may be.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Waits for the lease, on its key alone; orders are refused meanwhile with who has it, and the store is read only when
/// somebody looks. Returns nothing when `stop` is cancelled.
pub(super) async fn take_lease(
    shared: &Arc<Shared>,
    memory: &lease::Memory,
    inbox: &mut Inbox,
    stop: &CancellationToken,
) -> Option<Lease> {
    let (mut said, mut former_is_closed, mut looked_at) = (None, false, None);
    loop {
        if !former_is_closed {
            former_is_closed = memory.close_former(&shared.store).await.is_ok();
        }
        if !shared.config.acts {
            only_look(shared, inbox, stop).await;
            return None;
        }
        let holder = record::Lease {
            address: Some(shared.base.clone()),
            holder: format!("footplate {} at {}", crate::VERSION, shared.base),
            since: clock::now(),
        };
        let because = match lease::take(&shared.store, &shared.config.lane, &holder).await {
            Ok(Ok(lease)) => {
                failpoint!("controller.lease_taken");
                return Some(lease);
            }
            Ok(Err(Some(other))) => format!("{} holds the lease", other.holder),
            Ok(Err(None)) => "the lease is just changing hands".to_owned(),
            Err(error) => problem::causes(&error).join(": "),
        };
        if said.as_ref() != Some(&because) {
            tracing::warn!(because, "waiting for the lease");
            said = Some(because.clone());
        }
        let freed = lease::freed(&shared.store, &shared.config.lane, TAKE_PAUSE);
        let mut freed = std::pin::pin!(freed);
        loop {
            tokio::select! {
                () = stop.cancelled() => return None,
                () = &mut freed => break,
                Some((ask, reply)) = inbox.recv() => {
                    answer(reply, hear(shared, &ask, &because, &mut looked_at).await);
                }
            }
        }
    }
}

/// Shows what the store holds until `stop` is cancelled, and leaves the lease to others.
async fn only_look(shared: &Shared, inbox: &mut Inbox, stop: &CancellationToken) {
    let mut looked_at = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some((ask, reply)) = inbox.recv() => {
                answer(reply, hear(shared, &ask, "it only shows the store", &mut looked_at).await);
            }
        }
    }
}

/// Answers somebody who looks; every order is refused.
async fn hear(
    shared: &Shared,
    ask: &Ask,
    because: &str,
    looked_at: &mut Option<Instant>,
) -> Result<Answer, Problem> {
    match ask {
        Ask::Look => refresh(shared, looked_at).await.map(|()| Answer::Looked),
        _ => Err(not_acting(ask, because)),
    }
}

fn not_acting(ask: &Ask, because: &str) -> Problem {
    Problem::new(
        ProblemKind::Unavailable,
        ask.describe(),
        format!("this controller does not act: {because}"),
        "ask the acting controller, or try again when it is gone",
    )
}

/// Reads the store for somebody who only looks, unless that was done a moment ago.
async fn refresh(shared: &Shared, looked_at: &mut Option<Instant>) -> Result<(), Problem> {
    if looked_at.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
        return Ok(());
    }
    for prefix in PREFIXES {
        let snapshot = shared.store.read(&Scope::Prefix(prefix.to_owned())).await;
        let snapshot = snapshot.map_err(|error| unreadable(&error))?;
        shared.change(|site| site.absorb(prefix, &snapshot));
    }
    *looked_at = Some(Instant::now());
    shared.publish();
    Ok(())
}

fn unreadable(error: &StoreError) -> Problem {
    let next = "check that the store runs, and [store] in controller.toml";
    let because = problem::causes(error).join(": ");
    Problem::new(ProblemKind::Unavailable, Ask::Look.describe(), because, next)
}
