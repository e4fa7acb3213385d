//! What the router itself answers: one short line of text, and a header that tells such answers from an endpoint's.

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Response, StatusCode};

use crate::body::Answer;
use crate::framing::Refused;

/// The header that every answer of the router itself has, with a word for the reason.
pub const REASON: HeaderName = HeaderName::from_static("footplate-router");

/// Why the router answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The request makes no sense or asks for what is not done.
    Request(Refused),
    /// No route takes it.
    NoRoute,
    /// It came back to us.
    Loop,
    /// Its body is larger than the service's limit.
    TooLarge,
    /// Its body did not come in time.
    Slow,
    /// No endpoint could take it for as long as it was held, or too many wait already.
    NoEndpoint,
    /// The endpoint broke off, and trying again is not allowed or did not help.
    Broken,
    /// The endpoint did not answer in time.
    Timeout,
}

impl Reason {
    /// Returns the status, the word and the sentence.
    pub fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Reason::Request(refused) => (refused.status, "request", refused.why),
            Reason::NoRoute => (StatusCode::NOT_FOUND, "no-route", "no service has this host and path"),
            Reason::Loop => {
                (StatusCode::LOOP_DETECTED, "loop", "an endpoint of the table leads back to this router")
            }
            Reason::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is larger than the service takes")
            }
            Reason::Slow => (StatusCode::REQUEST_TIMEOUT, "slow", "the body did not come in time"),
            Reason::NoEndpoint => {
                (StatusCode::SERVICE_UNAVAILABLE, "no-endpoint", "no endpoint can take requests now")
            }
            Reason::Broken => {
                (StatusCode::BAD_GATEWAY, "broken", "the endpoint broke off before it answered")
            }
            Reason::Timeout => {
                (StatusCode::GATEWAY_TIMEOUT, "timeout", "the endpoint did not answer in time")
            }
        }
    }

    /// Tells whether what follows on the connection could be read wrongly.
    fn closes(self) -> bool {
        matches!(self, Reason::Request(_) | Reason::TooLarge | Reason::Slow)
    }
}

/// Makes the answer.
pub fn of(reason: Reason) -> Response<Answer> {
    let (status, word, why) = reason.parts();
    let text = Bytes::from(format!("{why}\n"));
    let mut response = Response::new(Answer::text(text.clone()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REASON, HeaderValue::from_static(word));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if reason.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
