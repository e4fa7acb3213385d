//! One question to a router's control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks, and reads the whole answer.
///
/// # Errors
/// Nobody is there (`NotFound`, `ConnectionRefused`), or there is no answer in time.
pub async fn ask(path: &Path, method: Method, uri: &str, body: Bytes) -> io::Result<(StatusCode, Bytes)> {
    timeout(PATIENCE, talk(path, method, uri, body)).await?
}

async fn talk(path: &Path, method: Method, uri: &str, body: Bytes) -> io::Result<(StatusCode, Bytes)> {
    let socket = TokioIo::new(UnixStream::connect(path).await?);
    let (mut sender, connection) = http1::handshake(socket).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().map_err(io::Error::other)?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("router"));
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok((status, body))
}
