//! A client's connection with patience: what it has begun to send must come, what it is sent must be taken.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::clock;
use crate::config::Limits;

/// What a client's connection is at: resting, sending the head of a request, or being served.
///
/// What comes on HTTP/2 beside requests (answers to pings, windows) is no head of one: only a head of HTTP/1.1 is timed.
#[derive(Debug)]
pub struct Pulse {
    is_http2: bool,
    serving: AtomicUsize,
    /// Bodies of requests that are still coming, also when the answer to them is over.
    uploads: AtomicUsize,
    /// When it began to rest, or the last piece of a body came, in the clock's microseconds.
    rests_since: AtomicU64,
    /// When the first byte of a head came; 0 when none has.
    head_since: AtomicU64,
}

/// A request that is served, until this is dropped.
#[derive(Debug)]
pub struct Serving(Arc<Pulse>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.moved();
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a request that is still coming, until this is dropped.
#[derive(Debug)]
pub struct Coming(Arc<Pulse>);

impl Coming {
    /// Notes that a piece came.
    pub fn piece(&self) {
        self.0.moved();
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.moved();
        self.0.uploads.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pulse {
    /// Begins at rest.
    pub fn new(is_http2: bool) -> Pulse {
        let rests_since = AtomicU64::new(clock::microseconds());
        let (serving, uploads) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Pulse { is_http2, serving, uploads, rests_since, head_since: AtomicU64::new(0) }
    }

    /// Notes that bytes came.
    fn heard(&self) {
        if !self.is_http2 && !self.is_busy() && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(clock::microseconds(), Ordering::Relaxed);
        }
    }

    fn moved(&self) {
        self.rests_since.store(clock::microseconds(), Ordering::Relaxed);
    }

    /// Notes that a request is served.
    pub fn serve(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    /// Notes that a request has a body that is to come.
    pub fn upload(self: &Arc<Self>) -> Coming {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        Coming(Arc::clone(self))
    }

    /// Tells whether a request is served, or its body still comes.
    pub fn is_busy(&self) -> bool {
        self.serving.load(Ordering::Relaxed) > 0 || self.uploads.load(Ordering::Relaxed) > 0
    }

    /// Returns how long to leave the connection alone: nothing when its time is over.
    pub fn left(&self, limits: &Limits) -> Option<Duration> {
        // A rest that begins now may turn into a slow head at any moment: look again soon.
        let soon = limits.header_time_max / 4;
        if self.serving.load(Ordering::Relaxed) > 0 {
            return Some(soon);
        }
        let (since, most) = match self.head_since.load(Ordering::Relaxed) {
            0 => (self.rests_since.load(Ordering::Relaxed), limits.idle_time_max),
            since => (since, limits.header_time_max),
        };
        let passed = Duration::from_micros(clock::microseconds().saturating_sub(since));
        most.checked_sub(passed).filter(|left| !left.is_zero()).map(|left| left.min(soon))
    }
}

/// A client's connection, plain or TLS.
pub struct Stream<S> {
    io: S,
    prefix: Bytes,
    pulse: Arc<Pulse>,
    write_time_max: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Stream<S> {
    /// Takes a connection of which `prefix` was read already.
    pub fn new(io: S, prefix: Bytes, pulse: Arc<Pulse>, write_time_max: Duration) -> Stream<S> {
        Stream { io, prefix, pulse, write_time_max, alarm: None }
    }

    fn watch<T>(&mut self, polled: Poll<Result<T>>, context: &mut Context<'_>) -> Poll<Result<T>> {
        if polled.is_ready() {
            self.alarm = None;
            return polled;
        }
        let time_max = self.write_time_max;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(time_max)));
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => {
                Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client takes no more bytes")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if !self.prefix.is_empty() {
            let size = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix[..size]);
            self.prefix.advance(size);
            self.pulse.heard();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.heard();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watch(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.watch(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(context);
        self.watch(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(context);
        self.watch(polled, context)
    }
}
