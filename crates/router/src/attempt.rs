//! One attempt to have a request answered by one endpoint: its connection, its end, its place in the counts.
//!
//! Invariant: from [`Attempt::begin`] until it is dropped the endpoint has it in flight, and it ends in the counts exactly once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::body::{Body, Incoming};
use hyper::{Method, Request, Response, Uri};
use tokio::time::timeout;

use crate::body::Outgoing;
use crate::clock;
use crate::count::{End, Fault};
use crate::failed::{self, FailedRequest, Failures, How};
use crate::key::Client;
use crate::line::Line;
use crate::live::Endpoint;
use crate::pool::REST_TIME_MAX;
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

/// Whose request it is and what it asks for: read when an attempt fails, and not before.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Where failures are noted.
    pub failures: &'a Failures,
    /// Who asks.
    pub client: Client,
    /// How.
    pub method: Method,
    /// For what.
    pub uri: Uri,
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

    /// Returns the second of the clock in which it began.
    pub fn second(&self) -> u64 {
        clock::microseconds_of(self.began) / 1_000_000
    }

    /// Ends, and leaves a record of a failure: one that is counted is there already.
    fn end_for(&mut self, asked: &Asked<'_>, end: End) {
        if let Some(how) = How::of(end) {
            self.note(asked, how);
        }
        self.end(end);
    }

    fn note(&self, asked: &Asked<'_>, how: How) {
        let Endpoint { service, version, .. } = &*self.endpoint;
        let (key, at_ms) = (asked.client.key(), clock::of_day_ms());
        let time_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        asked.failures.note(service, key, at_ms, |number| {
            let (method, path) = failed::said(&asked.method, &asked.uri);
            let (service, version) = (service.clone(), version.name.clone());
            FailedRequest { number, at_ms, service, version, key, method, path, how, time_us }
        });
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
    pub fn rest(self, line: Line) {
        if self.endpoint.latch.is_open() {
            self.endpoint.pool.give(line);
        }
    }

    /// Sends the request of whoever `asked`, and waits for the head of the answer. With `is_safe`, being sent twice does no harm, so an old
    /// connection will do; with `wants_tunnel` the connection may change its protocol.
    ///
    /// # Errors
    /// There was no answer; the miss is counted, and holds the request if it was not sent.
    pub async fn send(
        &mut self,
        request: Request<Outgoing>,
        asked: &Asked<'_>,
        timeouts: &table::Timeouts,
        is_safe: bool,
        wants_tunnel: bool,
    ) -> Result<(Response<Incoming>, Line), Miss> {
        let rest_max = if is_safe { REST_TIME_MAX } else { STALE_AFTER };
        let (mut line, rested) = match self.connection(timeouts, rest_max).await {
            Ok(found) => found,
            Err(_) => {
                self.endpoint.latch.refused();
                self.end_for(asked, End::Fault(Fault::Connect));
                return Err(Miss::Unsent(Box::new(request)));
            }
        };
        // An upload goes on while the answer waits for the client, a tunnel after it.
        if wants_tunnel || !request.body().is_end_stream() {
            line.detach();
        }
        let sent = line.ask(request);
        let answer = match table::time(timeouts.answer_ms) {
            Some(time_max) => timeout(time_max, sent).await,
            None => Ok(sent.await),
        };
        match answer {
            Ok(Ok(response)) => {
                let status = response.status().as_u16();
                self.end_for(asked, End::Answer { status, time: self.began.elapsed() });
                Ok((response, line))
            }
            Ok(Err(mut error)) => {
                let message = error.take_message();
                tracing::debug!(endpoint = self.endpoint.name, error = %error.error(), "no answer");
                Err(self.broke(asked, message, rested))
            }
            Err(_) => {
                self.end_for(asked, End::Fault(Fault::Timeout));
                Err(Miss::Lost(Fault::Timeout))
            }
        }
    }

    /// Judges a connection that ended before an answer, having rested before or not.
    fn broke(
        &mut self,
        asked: &Asked<'_>,
        unsent: Option<Request<Outgoing>>,
        rested: Option<Duration>,
    ) -> Miss {
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
        self.end_for(asked, End::Fault(fault));
        unsent.map_or(Miss::Lost(fault), |request| Miss::Unsent(Box::new(request)))
    }

    /// Takes a resting connection, or makes one. Tells how long it rested, if it did.
    async fn connection(
        &self,
        timeouts: &table::Timeouts,
        rest_max: Duration,
    ) -> io::Result<(Line, Option<Duration>)> {
        while let Some((mut line, rested)) = self.endpoint.pool.take(rest_max) {
            if line.is_ready().await {
                return Ok((line, Some(rested)));
            }
        }
        let opening = Line::open(self.endpoint.address);
        let line = match table::time(timeouts.connect_ms) {
            Some(time_max) => timeout(time_max, opening).await??,
            None => opening.await?,
        };
        if self.endpoint.latch.returned() {
            self.endpoint.lobby.news.notify_waiters();
        }
        Ok((line, None))
    }
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
