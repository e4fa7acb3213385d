//! Answers, and the reading of bodies within limits of size and time.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::BODY_BYTES_MAX;
use super::parameters::Parameters;
use crate::entry::Entry;
use crate::shared::Shared;
use crate::writer::Unwritable;

/// An entry as Consul shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EntryBody<'a> {
    lock_index: u64,
    key: &'a str,
    flags: u64,
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> EntryBody<'a> {
    /// Shows an entry, with or without its value.
    pub fn of(entry: &'a Entry, with_value: bool) -> Self {
        EntryBody {
            lock_index: entry.lock_index,
            key: &entry.key,
            flags: entry.flags,
            value: (with_value && !entry.value.is_empty()).then(|| STANDARD.encode(&entry.value)),
            session: entry.session.as_deref(),
            create_index: entry.create_index,
            modify_index: entry.modify_index,
        }
    }
}

/// Answers with plain text.
pub fn text(status: StatusCode, message: impl Into<String>) -> Response {
    (status, message.into()).into_response()
}

/// Answers with JSON, indented where the client asks for it.
pub fn json(parameters: &Parameters, value: &impl Serialize) -> Response {
    let render = if parameters.has("pretty") { serde_json::to_vec_pretty } else { serde_json::to_vec };
    let body = render(value).expect("plain structures always serialise");
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// Adds the headers that every read carries.
pub fn with_index(index: u64, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("x-consul-index", HeaderValue::from(index));
    with_leader(response)
}

/// Adds the headers that tell of the leader: we are it, at once.
pub fn with_leader(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("x-consul-knownleader", HeaderValue::from_static("true"));
    headers.insert("x-consul-lastcontact", HeaderValue::from_static("0"));
    response
}

/// Answers a request that no route of this path takes.
pub fn method_not_allowed(method: &Method, allowed: &'static str) -> Response {
    let headers = [(header::ALLOW, allowed)];
    if method == Method::OPTIONS {
        return (headers, ()).into_response();
    }
    (StatusCode::METHOD_NOT_ALLOWED, headers, format!("method {method} not allowed")).into_response()
}

/// Answers a write that could not be made durable.
pub fn unwritable(error: &Unwritable) -> Response {
    text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Answers that too many reads are blocked.
pub fn too_many_waiters() -> Response {
    text(StatusCode::TOO_MANY_REQUESTS, "too many reads are blocked on this server; try again later")
}

/// Reads a request's body.
///
/// # Errors
/// It is too large (413) or comes too slowly (408).
pub async fn body(shared: &Shared, request: Request) -> Result<Bytes, Response> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if let Some(length) =
        declared.and_then(|text| text.parse::<u64>().ok()).filter(|n| *n > BODY_BYTES_MAX as u64)
    {
        let message = format!("Request body({length} bytes) too large, max size: {BODY_BYTES_MAX} bytes.");
        return Err(text(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    read(request.into_body(), shared.body_time_max).await
}

async fn read(body: Body, patience: Duration) -> Result<Bytes, Response> {
    match tokio::time::timeout(patience, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let message = format!("Request body too large, max size: {BODY_BYTES_MAX} bytes.");
            Err(text(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
    }
}
