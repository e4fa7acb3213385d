//! What requests share: the durable state as readers see it, the watch registry, and the way to the writer.

use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::command::{Answer, Command};
use crate::metrics::Metrics;
use crate::state::{Indexes, State};
use crate::watch::{Registry, Scope};
use crate::writer::{Request, Unwritable};

/// How long a read blocks when it does not say.
pub const WAIT_DEFAULT: Duration = Duration::from_secs(300);
/// How long a read blocks at most.
pub const WAIT_MAX: Duration = Duration::from_secs(600);
/// A blocked read waits up to this part of its time longer, so that many do not end together.
const JITTER_PART: u32 = 16;

/// The server's heart, as every request sees it.
pub struct Shared {
    /// The durable state.
    pub(crate) state: RwLock<State>,
    /// The blocked readers.
    pub(crate) watch: Registry,
    /// Counts for the metrics page.
    pub(crate) metrics: Metrics,
    /// Whether requests need a token.
    pub(crate) tokens: bool,
    /// How long a client may take for a request's body.
    pub(crate) body_time_max: Duration,
    /// The address people reach us at.
    pub(crate) address: OnceLock<String>,
    /// Ends every wait.
    pub(crate) stop: CancellationToken,
    /// The writer's queue.
    pub(crate) queue: mpsc::Sender<Request>,
}

/// Too many readers are blocked already.
#[derive(Debug)]
pub struct TooManyWaiters;

impl Shared {
    /// Reads the durable state.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the writer carry out a command; returns when it is durable.
    ///
    /// # Errors
    /// The store cannot write, or is shutting down.
    pub async fn submit(&self, command: Command) -> Result<Answer, Unwritable> {
        let stopped = || Unwritable("the server is shutting down".into());
        let (reply, answer) = oneshot::channel();
        self.queue.send(Request { command, reply }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Looks at the state until `look` tells of a change after `seen`, or the time is over. Returns the last look.
    ///
    /// # Errors
    /// Too many readers are blocked already.
    pub async fn wait<T>(
        &self,
        scope: Scope,
        blocking: Blocking,
        look: impl Fn(&State) -> (Indexes, T),
    ) -> Result<(u64, T), TooManyWaiters> {
        let (indexes, found) = look(&self.read());
        if blocking.seen == 0 || indexes.changed > blocking.seen {
            return Ok((indexes.shown, found));
        }
        drop(found);
        let place = self.watch.join(scope).ok_or(TooManyWaiters)?;
        let patience = blocking.patience.filter(|wait| !wait.is_zero()).unwrap_or(WAIT_DEFAULT).min(WAIT_MAX);
        let over = tokio::time::sleep(patience + jitter(patience / JITTER_PART));
        tokio::pin!(over);
        loop {
            let mut rings = std::pin::pin!(place.bell().notified());
            rings.as_mut().enable();
            let (indexes, found) = look(&self.read());
            if indexes.changed > blocking.seen {
                return Ok((indexes.shown, found));
            }
            // Thousands wait at once: none keeps what it saw.
            drop(found);
            let wakes_again = tokio::select! {
                () = rings => true,
                () = &mut over => false,
                () = self.stop.cancelled() => false,
            };
            if !wakes_again {
                let (indexes, found) = look(&self.read());
                return Ok((indexes.shown, found));
            }
        }
    }
}

/// What a read waits for.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// The index the client has seen; 0 does not block.
    pub seen: u64,
    /// How long it waits; `None` for the default.
    pub patience: Option<Duration>,
}

fn jitter(at_most: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without randomness the wait is just not jittered.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => at_most.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)),
        Err(_) => Duration::ZERO,
    }
}
