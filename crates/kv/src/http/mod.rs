//! The HTTP side: a named subset of Consul's API. Statuses, bodies and headers are those of Consul 1.8.7.
//!
//! What is not in the subset answers 501 with a sentence. See `docs/reference/store-api.md`.

#![allow(clippy::result_large_err, reason = "a refused request's error is the response itself")]

mod acl;
mod caller;
mod front;
mod kv;
mod parameters;
mod reply;
mod session;
mod status;
mod txn;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::any;

use crate::shared::Shared;

/// The largest body and the largest value, in bytes.
pub const BODY_BYTES_MAX: usize = 512 * 1024;

/// Builds the routes. The router needs no socket: it is a service like any other.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/kv/", any(kv::answer))
        .route("/v1/kv/{*key}", any(kv::answer))
        .route("/v1/txn", any(txn::answer))
        .route("/v1/session/create", any(session::create))
        .route("/v1/session/destroy/{*id}", any(session::destroy))
        .route("/v1/session/destroy/", any(session::destroy))
        .route("/v1/session/renew/{*id}", any(session::renew))
        .route("/v1/session/renew/", any(session::renew))
        .route("/v1/session/info/{*id}", any(session::info))
        .route("/v1/session/info/", any(session::info))
        .route("/v1/session/list", any(session::list))
        .route("/v1/acl/join", any(acl::join))
        .route("/v1/acl/tokens", any(acl::list))
        .route("/v1/acl/token", any(acl::create))
        .route("/v1/acl/token/{id}", any(acl::revoke))
        .route("/v1/status/leader", any(status::leader))
        .route("/v1/agent/self", any(status::myself))
        .route("/health", any(status::health))
        .route("/metrics", any(status::metrics))
        .fallback(status::not_in_the_subset)
        .layer(middleware::from_fn_with_state(shared.clone(), front::pass))
        .with_state(shared)
}
