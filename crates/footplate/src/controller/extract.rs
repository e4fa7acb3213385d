//! What a request brings: a body, a query, names in its path.
//!
//! Invariant: one that makes no sense is answered like every other refusal, with what, because and next, under the HTTP
//! status that says the same.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::http::BODY_BYTES_MAX;
use crate::api::{Problem, ProblemKind};

/// A body of JSON.
pub(super) struct Sent<T>(pub T);
/// What stands after the `?`.
pub(super) struct Asked<T>(pub T);
/// The names in the path.
pub(super) struct Named<T>(pub T);

/// A request that makes no sense.
pub(super) struct Senseless {
    status: StatusCode,
    problem: Problem,
}

impl Senseless {
    /// Returns the refusal of a request: why, and what to send instead.
    pub(super) fn new(method: &Method, uri: &Uri, status: StatusCode, because: &str) -> Self {
        let next = match status {
            StatusCode::PAYLOAD_TOO_LARGE => format!("send at most {BODY_BYTES_MAX} bytes"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "send JSON, as `content-type: application/json`".to_owned(),
            _ => "send what this version knows; `footplate doctor` compares the versions".to_owned(),
        };
        let what = format!("cannot take {method} {}", uri.path());
        Self { status, problem: Problem::new(ProblemKind::Invalid, what, because, &next) }
    }
}

impl IntoResponse for Senseless {
    fn into_response(self) -> Response {
        (self.status, axum::Json(self.problem)).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Senseless;

    async fn from_request(request: Request, state: &S) -> Result<Self, Senseless> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(sent)) => Ok(Self(sent)),
            Err(wrong) => Err(Senseless::new(&method, &uri, wrong.status(), &wrong.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Senseless;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Senseless> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(wrong) => Err(Senseless::new(&parts.method, &parts.uri, wrong.status(), &wrong.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Senseless;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Senseless> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(wrong) => Err(Senseless::new(&parts.method, &parts.uri, wrong.status(), &wrong.body_text())),
        }
    }
}
