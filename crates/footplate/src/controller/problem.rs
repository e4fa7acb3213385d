//! Refusals and failures on their way to a client.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
pub use footplate_drivers::causes;
use footplate_drivers::store::StoreError;

use crate::api::{Problem, ProblemKind};

impl Problem {
    /// Returns a problem of `kind`: what could not be done, why, and what to do next.
    pub fn new(kind: ProblemKind, what: impl Into<String>, because: impl ToString, next: &str) -> Self {
        Problem {
            what: what.into(),
            because: vec![because.to_string()],
            next: (!next.is_empty()).then(|| next.to_owned()),
            kind,
        }
    }

    /// Returns the problem that the store made while `what` was tried.
    pub fn of_store(what: impl Into<String>, error: &StoreError) -> Self {
        Problem {
            what: what.into(),
            because: causes(error),
            next: Some("look with `footplate status` whether it happened; if not, try again, or see `footplate doctor`".to_owned()),
            kind: ProblemKind::Unavailable,
        }
    }

    /// Returns the problem that a fault of our own made while `what` was tried.
    pub fn internal(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        Problem { what: what.into(), because: causes(error), next: None, kind: ProblemKind::Internal }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = match self.kind {
            ProblemKind::Invalid => StatusCode::BAD_REQUEST,
            ProblemKind::Unknown => StatusCode::NOT_FOUND,
            ProblemKind::Denied => StatusCode::UNAUTHORIZED,
            ProblemKind::Refused => StatusCode::CONFLICT,
            ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ProblemKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self)).into_response()
    }
}
