//! What the network drivers share: one HTTP client that follows no redirect, waits for nothing without a deadline and
//! reads no endless answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use reqwest::header::HeaderMap;
use reqwest::{Client, Request, RequestBuilder, Response, StatusCode};

use super::{Config, StoreError};
use crate::cause::chain;
use crate::trust;

/// How long a server may take for anything that is not meant to wait.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const EXCERPT_CHARS_MAX: usize = 200;

/// Answers a request in this process, without a socket: how a benchmark puts ten thousand agents beside one server.
pub type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A connection pool to one server, with the names that its errors need.
pub(super) struct Http {
    client: Client,
    driver: &'static str,
    url: String,
    authority: String,
    handler: Option<Handler>,
}

impl Http {
    /// Prepares a client; sends nothing. Fails on a CA file that cannot be read.
    pub fn open(driver: &'static str, config: &Config) -> Result<Http, StoreError> {
        let misconfigured = |error: &dyn std::fmt::Display| StoreError::Misconfigured(error.to_string());
        let roots = trust::at(config.address.url(), config.ca_file.as_deref());
        let builder = trust::client(roots.map_err(|error| misconfigured(&chain(&error)))?)
            .http1_only()
            // A peer that vanished without a word is noticed within a minute, also on a connection that waits.
            .tcp_keepalive(Duration::from_secs(30))
            .tcp_keepalive_interval(Duration::from_secs(10))
            .tcp_keepalive_retries(3)
            .tcp_nodelay(true);
        let client = builder.build().map_err(|error| misconfigured(&error))?;
        let (url, authority) = (config.address.url().to_owned(), config.address.authority().to_owned());
        Ok(Http { client, driver, url, authority, handler: None })
    }

    /// Hands all requests to a handler from now on.
    pub fn answered_by(self, handler: Handler) -> Http {
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
    pub async fn send(&self, request: RequestBuilder, patience: Duration) -> Result<Answer, StoreError> {
        let response = self.begin(request.timeout(patience)).await?;
        self.finish(response).await
    }

    /// Sends a request and returns when the answer's head is there; the request carries its own deadline.
    pub async fn begin(&self, request: RequestBuilder) -> Result<Response, StoreError> {
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
    pub async fn finish(&self, mut response: Response) -> Result<Answer, StoreError> {
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

    pub fn unreachable(&self, error: reqwest::Error) -> StoreError {
        // The address is in our own message; the key would make a new message for every key.
        let source = Box::new(error.without_url());
        StoreError::Unreachable { driver: self.driver, address: self.authority.clone(), source }
    }

    pub fn unavailable(&self, answer: impl AsRef<str>) -> StoreError {
        let answer = excerpt(answer.as_ref());
        StoreError::Unavailable { driver: self.driver, address: self.authority.clone(), answer }
    }

    pub fn denied(&self, answer: impl AsRef<str>) -> StoreError {
        let answer = excerpt(answer.as_ref());
        StoreError::Denied { driver: self.driver, address: self.authority.clone(), answer }
    }
}

/// Returns the beginning of an answer on one line.
pub(super) fn excerpt(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(EXCERPT_CHARS_MAX).collect()
}
