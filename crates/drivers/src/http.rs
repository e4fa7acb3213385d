//! What the drivers of servers share: one HTTP client that follows no redirect, waits for nothing without a deadline and
//! reads no endless answer. Its failures become the error of the family that asks.

use std::fmt::Write as _;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, RequestBuilder, Response, StatusCode};

use crate::trust::{self, TrustError};

/// How long a server may take for anything that is not meant to wait.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const EXCERPT_CHARS_MAX: usize = 200;

/// Answers a request in this process, without a socket: how a benchmark puts ten thousand agents beside one server.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A server that did not do what it was asked.
#[derive(Debug)]
pub(crate) enum HttpError {
    /// Nobody answers, or not in time.
    Unreachable { driver: &'static str, address: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// It answers, but what it says is of no use now.
    Unavailable { driver: &'static str, address: String, answer: String },
    /// It does not take our credentials, or not for this.
    Denied { driver: &'static str, address: String, answer: String },
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpOpenError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

/// A connection pool to one server, with the names that its errors need.
pub(crate) struct Http<E> {
    client: Client,
    driver: &'static str,
    url: String,
    authority: String,
    handler: Option<Handler>,
    error: PhantomData<fn() -> E>,
}

impl<E: From<HttpError>> Http<E> {
    /// Prepares a client for `url` (scheme, host and port), which people know as `driver`; sends nothing. Fails on a CA file that
    /// cannot be read.
    pub fn open(driver: &'static str, url: &str, ca_file: Option<&Path>) -> Result<Self, HttpOpenError> {
        let builder = trust::client(trust::at(url, ca_file)?)
            .http1_only()
            // A peer that vanished without a word is noticed within a minute, also on a connection that waits.
            .tcp_keepalive(Duration::from_secs(30))
            .tcp_keepalive_interval(Duration::from_secs(10))
            .tcp_keepalive_retries(3)
            .tcp_nodelay(true);
        let authority = url.split_once("://").map_or("", |(_, authority)| authority).to_owned();
        let client = builder.build()?;
        Ok(Http { client, driver, url: url.to_owned(), authority, handler: None, error: PhantomData })
    }

    /// Hands all requests to a handler from now on.
    pub fn answered_by(self, handler: Handler) -> Self {
        Http { handler: Some(handler), ..self }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn describe(&self) -> String {
        format!("{} at {}", self.driver, self.authority)
    }

    /// Sends a request and reads the whole answer, within `patience`.
    pub async fn send(&self, request: RequestBuilder, patience: Duration) -> Result<Answer, E> {
        let response = self.begin(request.timeout(patience)).await?;
        self.finish(response).await
    }

    /// Sends a request and returns when the answer's head is there; the request carries its own deadline.
    pub async fn begin(&self, request: RequestBuilder) -> Result<Response, E> {
        let sent = match &self.handler {
            None => request.send().await,
            Some(handler) => match request.build() {
                Ok(request) => Ok(handler(request).await),
                Err(error) => Err(error),
            },
        };
        let response = sent.map_err(|error| self.unreachable(error))?;
        if response.status().is_redirection() {
            return Err(self.unavailable("it sends us elsewhere, and we do not follow"));
        }
        Ok(response)
    }

    /// Reads what is left of an answer.
    pub async fn finish(&self, mut response: Response) -> Result<Answer, E> {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(self.unavailable("the answer is longer than 64 MiB"));
            }
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }

    pub fn unreachable(&self, error: reqwest::Error) -> E {
        // The address is in our own message; the key would make a new message for every key.
        let source = Box::new(error.without_url());
        HttpError::Unreachable { driver: self.driver, address: self.authority.clone(), source }.into()
    }

    pub fn unavailable(&self, answer: impl AsRef<str>) -> E {
        let answer = excerpt(answer.as_ref());
        HttpError::Unavailable { driver: self.driver, address: self.authority.clone(), answer }.into()
    }

    pub fn denied(&self, answer: impl AsRef<str>) -> E {
        let answer = excerpt(answer.as_ref());
        HttpError::Denied { driver: self.driver, address: self.authority.clone(), answer }.into()
    }
}

/// Returns the beginning of an answer on one line.
pub(crate) fn excerpt(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(EXCERPT_CHARS_MAX).collect()
}

/// Percent-encodes all but RFC 3986's unreserved characters and those in `kept`.
pub(crate) fn encoded(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
    out
}
