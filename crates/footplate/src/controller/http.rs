//! The controller's API: every handler checks the token, then reads the view or hands an order to the worker.
//!
//! Invariants: a handler never does slow work and never writes to the store; bodies and waits are bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use footplate_core::name::{AppName, AppPath, EnvironmentName, HostName};
use footplate_drivers::ledger::{Event, Filter};
use serde::Deserialize;

use super::Shared;
use super::extract::{Asked, Named, Senseless, Sent};
use super::orders::{Answer, Ask};
use super::standby::LOOK_AGAIN;
use super::token::Right;
use super::traffic::services;
use super::{artifacts, judging, outputs, status, traffic};
use crate::api::{self, Problem, ProblemKind, path};

/// The largest body of any request but an artifact: a release with its scripts fits many times.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The longest a status request may wait for a change.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// Returns the routes over the controller's shared state.
pub fn routes(shared: Arc<Shared>) -> Router {
    let operator = Router::new()
        .route(path::RELEASES, post(push).get(releases))
        .route(path::PLANS, post(plan))
        .route(path::DEPLOYMENTS, post(deploy))
        .route(path::ROLLBACKS, post(roll_back))
        .route(path::ORDERS, post(order))
        .route(path::GATE, get(super::gate::read).post(gate))
        .route(path::STATUS, get(read_status))
        .route(path::TRAFFIC, get(traffic::read))
        .route(path::USAGE, get(services::read))
        .route(path::VERDICTS, get(judging::shown::read))
        .route(path::HISTORY, get(history))
        .route(path::OUTPUTS, get(outputs::list))
        .route(path::HOSTS, get(hosts))
        .route(&format!("{}/{{host}}", path::HOSTS), post(host))
        .route(path::CLEAN, post(clean))
        .route(path::DOCTOR, get(super::doctor::checks))
        .route_layer(middleware::from_fn_with_state(shared.clone(), operators_only));
    let fetch = Router::new()
        .route(&format!("{}/{{digest}}", path::ARTIFACTS), get(artifacts::fetch).put(artifacts::put))
        .route(&format!("{}/{{host}}/{{target}}/{{release}}/{{verb}}", path::OUTPUTS), post(outputs::add))
        .route(
            &format!("{}/{{host}}", path::USAGE),
            post(services::hear).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)),
        )
        .route(
            &format!("{}/{{host}}", path::TRAFFIC),
            post(traffic::hear).layer(DefaultBodyLimit::max(traffic::LOOK_BYTES_MAX)),
        )
        .route_layer(middleware::from_fn_with_state(shared.clone(), agents_too));
    Router::new()
        .route(path::HEALTH, get(health))
        .merge(operator)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .merge(fetch)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

/// Returns what the bearer of a request's token may do.
pub fn right(shared: &Shared, headers: &HeaderMap) -> Option<Right> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    shared.tokens.right(value.strip_prefix("Bearer ")?.trim())
}

async fn operators_only(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match right(&shared, request.headers()) {
        Some(Right::Operate) => {
            if request.method() == Method::GET
                && let Err(problem) = shared.look().await
            {
                return problem.into_response();
            }
            next.run(request).await
        }
        Some(Right::Fetch) | None => denied().into_response(),
    }
}

async fn agents_too(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match right(&shared, request.headers()) {
        Some(_) => next.run(request).await,
        None => denied().into_response(),
    }
}

fn denied() -> Problem {
    Problem::new(
        ProblemKind::Denied,
        "the controller refuses the request",
        "its token is missing or wrong",
        "give the file with the controller's token with `--token-file`",
    )
}

async fn nothing_here(request: Request) -> Problem {
    Problem::new(
        ProblemKind::Unknown,
        format!("there is no {} {}", request.method(), request.uri().path()),
        "this version of the controller does not know it",
        "compare the versions with `footplate doctor`",
    )
}

async fn wrong_method(request: Request) -> Senseless {
    let because = "the path is known, and this is not what can be done with it";
    Senseless::new(request.method(), request.uri(), StatusCode::METHOD_NOT_ALLOWED, because)
}

async fn health(State(shared): State<Arc<Shared>>) -> Json<api::Health> {
    let acting = shared.view.borrow().is_acting;
    Json(api::Health { version: crate::VERSION.to_owned(), acting, now: crate::clock::now() })
}

async fn push(State(shared): State<Arc<Shared>>, Sent(push): Sent<api::Push>) -> Result<Response, Problem> {
    shared.ask(Ask::Push(Box::new(push))).await.map(created)
}

#[derive(Deserialize)]
struct ByApp {
    app: AppName,
}

async fn releases(State(shared): State<Arc<Shared>>, Asked(query): Asked<ByApp>) -> Json<Vec<api::Pushed>> {
    Json(shared.releases(&query.app))
}

async fn plan(
    State(shared): State<Arc<Shared>>,
    Sent(deploy): Sent<api::Deploy>,
) -> Result<Response, Problem> {
    shared.ask(Ask::Plan(deploy)).await.map(done)
}

async fn deploy(
    State(shared): State<Arc<Shared>>,
    Sent(deploy): Sent<api::Deploy>,
) -> Result<Response, Problem> {
    shared.ask(Ask::Deploy(deploy)).await.map(created)
}

async fn roll_back(
    State(shared): State<Arc<Shared>>,
    Sent(order): Sent<api::RollBack>,
) -> Result<Response, Problem> {
    shared.ask(Ask::RollBack(order)).await.map(created)
}

async fn order(
    State(shared): State<Arc<Shared>>,
    Sent(order): Sent<api::Order>,
) -> Result<Response, Problem> {
    shared.ask(Ask::Order(order)).await.map(done)
}

async fn gate(
    State(shared): State<Arc<Shared>>,
    Sent(order): Sent<api::GateOrder>,
) -> Result<Response, Problem> {
    shared.ask(Ask::Gate(Box::new(order))).await.map(done)
}

async fn host(
    State(shared): State<Arc<Shared>>,
    Named(host): Named<HostName>,
    Sent(order): Sent<api::HostOrder>,
) -> Result<Response, Problem> {
    shared.ask(Ask::Host(host, order)).await.map(done)
}

async fn clean(
    State(shared): State<Arc<Shared>>,
    Sent(clean): Sent<api::Clean>,
) -> Result<Response, Problem> {
    shared.ask(Ask::Clean(clean)).await.map(done)
}

async fn hosts(State(shared): State<Arc<Shared>>) -> Json<Vec<api::HostStatus>> {
    Json(status::hosts(&shared.site()))
}

#[derive(Deserialize)]
struct StatusQuery {
    environment: Option<EnvironmentName>,
    app: Option<AppName>,
    #[serde(default)]
    seen: u64,
    #[serde(default)]
    wait_ms: u64,
}

/// Answers at once when the view is newer than `seen`, else when it changes or the patience is over.
async fn read_status(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<StatusQuery>,
) -> Json<api::Status> {
    let mut view = shared.view.subscribe();
    let patience = Duration::from_millis(query.wait_ms).min(PATIENCE_MAX);
    if query.seen != 0 {
        let newer = async {
            // Nobody wakes those who wait at a controller that does not follow the store.
            while !view.borrow().is_acting && view.borrow().change == query.seen {
                tokio::time::sleep(LOOK_AGAIN).await;
                // Never fails: what was read before this wait is something to show.
                drop(shared.look().await);
            }
            view.wait_for(|view| view.change != query.seen).await.map(drop)
        };
        // Patience that is over and a worker that has ended are both answered with the last view.
        drop(tokio::time::timeout(patience, newer).await);
    }
    let path = query.environment.zip(query.app).map(|(environment, app)| AppPath { environment, app });
    let (site, view) = (shared.site(), *shared.view.borrow());
    Json(status::whole(&site, view, &shared.store.describe(), path.as_ref(), crate::clock::now()))
}

#[derive(Deserialize)]
struct HistoryQuery {
    environment: Option<EnvironmentName>,
    app: Option<AppName>,
    limit: Option<u32>,
    before: Option<u64>,
}

async fn history(
    State(shared): State<Arc<Shared>>,
    Asked(query): Asked<HistoryQuery>,
) -> Result<Json<Vec<api::HistoryEntry>>, Problem> {
    let path = query.environment.zip(query.app).map(|(environment, app)| AppPath { environment, app });
    let (environment, app) = path.map(|path| (path.environment, path.app)).unzip();
    let filter = Filter { environment, app, before: query.before, ..Filter::default() };
    let found = shared.journal.ledger().events(&filter, query.limit.unwrap_or(50).min(1000)).await;
    let found = found.map_err(|error| Problem::internal("cannot read the history", &error))?;
    Ok(Json(found.into_iter().map(entry).collect()))
}

fn entry(event: Event) -> api::HistoryEntry {
    let Event { sequence, happening } = event;
    api::HistoryEntry {
        sequence,
        at: happening.at,
        path: happening.path,
        rollout: happening.rollout,
        kind: happening.kind,
        actor: happening.actor,
        text: happening.text,
    }
}

fn created(answer: Answer) -> Response {
    (StatusCode::CREATED, answer.into_response()).into_response()
}

fn done(answer: Answer) -> Response {
    answer.into_response()
}
