//! Upgraded connections (WebSockets): bytes in both directions until one side ends or both are silent for too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::sleep;

use crate::attempt::Attempt;
use crate::clock;
use crate::worker::Seat;

/// Joins a client and an endpoint once both have agreed. The attempt and the client's seat last as long as the tunnel does.
pub async fn join(
    client: OnUpgrade,
    endpoint: OnUpgrade,
    (attempt, seat): (Attempt, Seat),
    idle_max: Option<Duration>,
) {
    let (Ok(client), Ok(endpoint)) = tokio::join!(client, endpoint) else { return };
    let last = Arc::new(AtomicU64::new(clock::microseconds()));
    let mut client = Watched { io: TokioIo::new(client), last: Arc::clone(&last) };
    let mut endpoint = Watched { io: TokioIo::new(endpoint), last: Arc::clone(&last) };
    let copied = tokio::select! {
        copied = copy_bidirectional(&mut client, &mut endpoint) => copied.map(drop),
        () = silence(&last, idle_max) => Err(io::ErrorKind::TimedOut.into()),
    };
    if let Err(error) = copied {
        tracing::debug!(%error, "a tunnel ended");
    }
    drop((attempt, seat));
}

/// Ends when nothing has passed for `idle_max`.
async fn silence(last: &AtomicU64, idle_max: Option<Duration>) {
    let Some(idle_max) = idle_max else { return std::future::pending().await };
    loop {
        let silent =
            Duration::from_micros(clock::microseconds().saturating_sub(last.load(Ordering::Relaxed)));
        match idle_max.checked_sub(silent) {
            None | Some(Duration::ZERO) => return,
            Some(left) => sleep(left).await,
        }
    }
}

/// A side of the tunnel that notes when bytes passed.
struct Watched {
    io: TokioIo<Upgraded>,
    last: Arc<AtomicU64>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        self.last.store(clock::microseconds(), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
