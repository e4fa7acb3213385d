//! One attempt to have a request answered by one endpoint: its connection, its end, its place in the counts.
//!
//! Invariant: from [`Attempt::begin`] until it is dropped the endpoint has it in flight, and it ends in the counts exactly once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::body::Outgoing;
use crate::count::{End, Fault};
use crate::live::Endpoint;
use crate::pool::{REST_TIME_MAX, Sender};
use crate::table;

/// A connection that rested at least this long may have been closed by a rule of the endpoint, not because of the request.
const STALE_AFTER: Duration = Duration::from_secs(1);

/// A request under way at an endpoint.
#[derive(Debug)]
pub struct Attempt {
    endpoint: Arc<Endpoint>,
    began: Instant,
    has_ended: bool,
}

/// What became of an attempt that was not answered.
#[derive(Debug)]
pub enum Miss {
    /// The endpoint never got the request: here it is again.
    Unsent(Box<Request<Outgoing>>),
    /// It may have got it.
    Lost(Fault),
}

impl Attempt {
    /// Begins, unless the endpoint takes no more requests.
    pub fn begin(endpoint: &Arc<Endpoint>, is_retry: bool) -> Option<Attempt> {
        endpoint.in_flight.fetch_add(1, Ordering::SeqCst);
        // Whoever shuts the latch and then sees nothing in flight must be right that nothing begins any more.
        if !endpoint.latch.is_open() {
            endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        endpoint.count(|counts| counts.begin(is_retry));
        endpoint.version.count(|counts, _| counts.begin(is_retry));
        Some(Attempt { endpoint: Arc::clone(endpoint), began: Instant::now(), has_ended: false })
    }

    fn end(&mut self, end: End) {
        self.has_ended = true;
        self.endpoint.count(|counts| counts.end(end));
        self.endpoint.version.count(|counts, times| {
            counts.end(end);
            if let End::Answer { status, time } = end {
                times.record(status, time);
            }
        });
    }

    /// Counts an answer that breaks off after its head.
    pub fn cut(self) {
        self.endpoint.count(|counts| counts.cut += 1);
        self.endpoint.version.count(|counts, _| counts.cut += 1);
    }

    /// Ends with the answer taken: its connection may serve the next request, unless the endpoint drains.
    pub fn rest(self, sender: Sender) {
        if self.endpoint.latch.is_open() {
            self.endpoint.pool.give(sender);
        }
    }

    /// Sends the request and waits for the head of the answer. With `is_safe`, being sent twice does no harm, so an old
    /// connection will do.
    ///
    /// # Errors
    /// There was no answer; the miss is counted, and holds the request if it was not sent.
    pub async fn send(
        &mut self,
        request: Request<Outgoing>,
        timeouts: &table::Timeouts,
        is_safe: bool,
    ) -> Result<(Response<Incoming>, Sender), Miss> {
        let rest_max = if is_safe { REST_TIME_MAX } else { STALE_AFTER };
        let (mut sender, rested) = match self.connection(timeouts, rest_max).await {
            Ok(found) => found,
            Err(_) => {
                self.endpoint.latch.refused();
                self.end(End::Fault(Fault::Connect));
                return Err(Miss::Unsent(Box::new(request)));
            }
        };
        let sent = sender.try_send_request(request);
        let answer = match table::time(timeouts.answer_ms) {
            Some(time_max) => timeout(time_max, sent).await,
            None => Ok(sent.await),
        };
        match answer {
            Ok(Ok(response)) => {
                self.end(End::Answer { status: response.status().as_u16(), time: self.began.elapsed() });
                Ok((response, sender))
            }
            Ok(Err(mut error)) => {
                let message = error.take_message();
                tracing::debug!(endpoint = self.endpoint.name, error = %error.error(), "no answer");
                Err(self.broke(message, rested))
            }
            Err(_) => {
                self.end(End::Fault(Fault::Timeout));
                Err(Miss::Lost(Fault::Timeout))
            }
        }
    }

    /// Judges a connection that ended before an answer, having rested before or not.
    fn broke(&mut self, unsent: Option<Request<Outgoing>>, rested: Option<Duration>) -> Miss {
        let fault = match (&unsent, rested) {
            // One that is closed as soon as it stands is as good as refused: the endpoint is left alone for a moment.
            (Some(_), None) => {
                self.endpoint.latch.refused();
                Fault::Connect
            }
            (Some(_), Some(_)) => Fault::Stale,
            (None, rested) if rested.is_some_and(|rested| rested >= STALE_AFTER) => Fault::Stale,
            (None, _) => Fault::Broken,
        };
        self.end(End::Fault(fault));
        unsent.map_or(Miss::Lost(fault), |request| Miss::Unsent(Box::new(request)))
    }

    /// Takes a resting connection, or makes one. Tells how long it rested, if it did.
    async fn connection(
        &self,
        timeouts: &table::Timeouts,
        rest_max: Duration,
    ) -> io::Result<(Sender, Option<Duration>)> {
        while let Some((mut sender, rested)) = self.endpoint.pool.take(rest_max) {
            if sender.ready().await.is_ok() {
                return Ok((sender, Some(rested)));
            }
        }
        let connecting = connect(&self.endpoint);
        let sender = match table::time(timeouts.connect_ms) {
            Some(time_max) => timeout(time_max, connecting).await??,
            None => connecting.await?,
        };
        if self.endpoint.latch.returned() {
            self.endpoint.lobby.news.notify_waiters();
        }
        Ok((sender, None))
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<Sender> {
    let socket = TcpStream::connect(endpoint.address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) =
        http1::Builder::new().handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    let connection = connection.with_upgrades();
    tokio::spawn(async move {
        // What goes wrong here is seen by the request that uses the connection.
        if let Err(error) = connection.await {
            tracing::trace!(%error, "a connection to an endpoint ended");
        }
    });
    Ok(sender)
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(End::Left);
        }
        self.endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_behind_a_latch_that_is_shut() {
        let endpoint = Arc::new(Endpoint::at(([127, 0, 0, 1], 1).into()));
        assert!(Attempt::begin(&endpoint, false).is_none());
        endpoint.latch.set(true);
        let attempt = Attempt::begin(&endpoint, false).expect("it is open");
        assert_eq!(endpoint.in_flight.load(Ordering::SeqCst), 1);
        drop(attempt);
        assert_eq!(endpoint.in_flight.load(Ordering::SeqCst), 0);
        let counts = endpoint.counts.lock().unwrap().clone();
        assert_eq!((counts.requests, counts.left), (1, 1), "what was refused by the latch is not counted");
    }
}
