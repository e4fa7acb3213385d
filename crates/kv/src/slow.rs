//! Patience with clients: a bound on connections, and an end to those that do not take what is written to them.

use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use crate::config::Limits;

/// Lets connections in.
#[derive(Clone, Debug)]
pub struct Patience {
    places: Arc<Semaphore>,
    write_time_max: Duration,
}

impl Patience {
    /// Takes the limits on connections and on the time of a write.
    pub fn new(limits: Limits) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections_max));
        Patience { places, write_time_max: limits.write_time_max }
    }
}

impl<S> Accept<TcpStream, S> for Patience {
    type Stream = Connection;
    type Service = S;
    type Future = std::future::Ready<Result<(Connection, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            // The connection is closed; the client tries again later.
            return std::future::ready(Err(Error::other("too many connections")));
        };
        // Without it small answers wait for the acknowledgement of the ones before.
        let connection = stream.set_nodelay(true).map(|()| Connection {
            stream,
            write_time_max: self.write_time_max,
            stalled: None,
            _place: place,
        });
        std::future::ready(connection.map(|connection| (connection, service)))
    }
}

/// A connection that ends when a write makes no progress for too long.
pub struct Connection {
    stream: TcpStream,
    write_time_max: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes a write's outcome on, and fails it when writes have been pending for too long.
    fn judge<T>(&mut self, context: &mut Context<'_>, outcome: Poll<Result<T>>) -> Poll<Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_time_max)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client does not take what is written to it")))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
