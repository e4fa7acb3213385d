//! What is not about keys: leader, health, metrics, and the sentence for what is missing.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::caller::{Caller, DENIED};
use super::parameters::Parameters;
use super::reply;
use super::session::NODE;
use crate::shared::Shared;

/// Answers `GET /v1/status/leader`: ourselves.
pub async fn leader(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.method() != Method::GET {
        return reply::method_not_allowed(request.method(), "OPTIONS,GET");
    }
    reply::json(&Parameters::of(&request), &shared.address.get())
}

/// Answers `GET /v1/agent/self`: enough for a client to see what it talks to.
pub async fn myself(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if request.method() != Method::GET {
        return reply::method_not_allowed(request.method(), "OPTIONS,GET");
    }
    if !caller.is_known() {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    let config = json!({"NodeName": NODE, "Server": true, "Version": env!("CARGO_PKG_VERSION")});
    let member = json!({"Name": NODE, "Addr": shared.address.get()});
    let body = json!({"Config": config, "Member": member, "Subset": "footplate-kv"});
    reply::json(&Parameters::of(&request), &body)
}

/// Answers `GET /health`: 200 while the store can be read.
pub async fn health() -> Response {
    reply::text(StatusCode::OK, "ok\n")
}

/// Answers `GET /metrics` in Prometheus' text format.
pub async fn metrics(State(shared): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Response {
    if !caller.is_known() {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    let (entries, index) = {
        let state = shared.read();
        (state.len(), state.counters.index)
    };
    let body = shared.metrics.render(shared.watch.waiters(), entries, index);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Answers everything else.
pub async fn not_in_the_subset(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!(
        "{path} is not part of this server: it speaks keys, sessions and transactions of Consul's API, and no more"
    );
    reply::text(StatusCode::NOT_IMPLEMENTED, message)
}
