//! Streams of HTTP/2 whose client takes nothing: each ends by itself, and the others on its connection go on.
//!
//! A stream without a window waits, however well the connection is. Of HTTP/1.1 the socket itself is watched (`stream`).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Sleep, sleep};

tokio::task_local! {
    static TAKING: Arc<Taking>;
}

/// What the answer on a stream waits for.
#[derive(Debug, Default)]
pub struct Taking {
    /// A piece was given, which the client has to take.
    is_full: AtomicBool,
    /// The answer was asked since the last look.
    has_moved: AtomicBool,
}

impl Taking {
    /// Returns that of the stream whose task asks; nothing on a connection of HTTP/1.1.
    pub fn here() -> Option<Arc<Taking>> {
        TAKING.try_with(Arc::clone).ok()
    }

    /// Notes that the answer was asked for its next piece, and whether it gave one.
    pub fn note(&self, gave: bool) {
        self.is_full.store(gave, Ordering::Relaxed);
        self.has_moved.store(true, Ordering::Relaxed);
    }
}

/// Gives each stream of a connection a task, for as long as its client takes what it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// How long a client may take nothing.
    pub time_max: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (taking, time_max) = (Arc::<Taking>::default(), self.time_max);
        tokio::spawn(TAKING.scope(Arc::clone(&taking), until_stuck(stream, taking, time_max)));
    }
}

/// Drives a stream until it ends, or its client has taken nothing for too long: it is reset then, as it is dropped.
async fn until_stuck(stream: impl Future<Output = ()>, taking: Arc<Taking>, time_max: Duration) {
    let mut stream = pin!(stream);
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if taking.has_moved.swap(false, Ordering::Relaxed) {
            alarm = None;
        }
        match taking.is_full.load(Ordering::Relaxed) {
            true => alarm.get_or_insert_with(|| Box::pin(sleep(time_max))).as_mut().poll(context),
            false => Poll::Pending,
        }
    })
    .await;
}
