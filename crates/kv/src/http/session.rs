//! `/v1/session/`: create, renew, destroy, info, list.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::caller::{Caller, DENIED};
use super::front::Path;
use super::parameters::Parameters;
use super::reply;
use crate::command::{Answer, Command};
use crate::draft::check_session_id;
use crate::duration;
use crate::entry::{Behavior, Session};
use crate::rules::Access;
use crate::shared::Shared;
use crate::watch::Scope;

/// The one node there is.
pub const NODE: &str = "footplate";
/// The one health check a session may name; nothing here checks health.
const CHECK: &str = "serfHealth";
const TTL_MIN: Duration = Duration::from_secs(10);
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);
const LOCK_DELAY_DEFAULT: i64 = 15_000_000_000;
/// A lock-delay written as a number below this is in seconds, else in nanoseconds.
const LOCK_DELAY_SECONDS_BELOW: i64 = 1000;

/// A session as Consul shows it.
#[derive(Debug, Serialize)]
struct SessionBody<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "Node")]
    node: &'a str,
    #[serde(rename = "LockDelay")]
    lock_delay: i64,
    #[serde(rename = "Behavior")]
    behavior: Behavior,
    #[serde(rename = "TTL")]
    ttl: &'a str,
    #[serde(rename = "NodeChecks")]
    node_checks: &'a [String],
    #[serde(rename = "ServiceChecks")]
    service_checks: Option<()>,
    #[serde(rename = "CreateIndex")]
    create_index: u64,
    #[serde(rename = "ModifyIndex")]
    modify_index: u64,
}

/// What a client asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Wanted {
    name: String,
    node: Option<String>,
    lock_delay: Option<LockDelay>,
    behavior: String,
    #[serde(rename = "TTL")]
    ttl: String,
    node_checks: Option<Vec<String>>,
    checks: Option<Vec<String>>,
    service_checks: Option<Vec<serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum LockDelay {
    Number(f64),
    Text(String),
}

#[derive(Serialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

/// Answers `PUT /v1/session/create`.
pub async fn create(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if request.method() != Method::PUT {
        return reply::method_not_allowed(request.method(), "OPTIONS,PUT");
    }
    let parameters = Parameters::of(&request);
    if !caller.may_sessions(Access::Write) {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    let body = match reply::body(&shared, request).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let session = match parse(&body, caller.token_id()) {
        Ok(session) => session,
        Err((status, why)) => return reply::text(status, why),
    };
    let id = session.id.clone();
    match shared.submit(Command::OpenSession(session)).await {
        Ok(_) => reply::json(&parameters, &Created { id }),
        Err(error) => reply::unwritable(&error),
    }
}

/// Answers `PUT /v1/session/renew/ID`.
pub async fn renew(
    State(shared): State<Arc<Shared>>,
    Extension(Path(path)): Extension<Path>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let id = path.strip_prefix("/v1/session/renew/").unwrap_or_default();
    if let Some(refused) = refuse_change(&shared, &caller, request.method(), id) {
        return refused;
    }
    match shared.submit(Command::RenewSession(id.to_owned())).await {
        Ok(Answer::Session(session)) => reply::json(&Parameters::of(&request), &[show(&session)]),
        Ok(Answer::Refused(why)) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, why),
        Ok(_) => reply::text(StatusCode::NOT_FOUND, format!("Session id '{id}' not found")),
        Err(error) => reply::unwritable(&error),
    }
}

/// Answers `PUT /v1/session/destroy/ID`.
pub async fn destroy(
    State(shared): State<Arc<Shared>>,
    Extension(Path(path)): Extension<Path>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let id = path.strip_prefix("/v1/session/destroy/").unwrap_or_default();
    if let Some(refused) = refuse_change(&shared, &caller, request.method(), id) {
        return refused;
    }
    match shared.submit(Command::EndSession(id.to_owned())).await {
        Ok(Answer::Refused(why)) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, why),
        Ok(_) => reply::json(&Parameters::of(&request), &true),
        Err(error) => reply::unwritable(&error),
    }
}

/// Answers `GET /v1/session/info/ID`.
pub async fn info(
    State(shared): State<Arc<Shared>>,
    Extension(Path(path)): Extension<Path>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if request.method() != Method::GET {
        return reply::method_not_allowed(request.method(), "OPTIONS,GET");
    }
    let id = path.strip_prefix("/v1/session/info/").unwrap_or_default();
    if id.is_empty() {
        return reply::text(StatusCode::BAD_REQUEST, "Missing session");
    }
    if let Err(why) = check_session_id(id) {
        return reply::text(StatusCode::INTERNAL_SERVER_ERROR, why);
    }
    read(&shared, &caller, request, |session| session.id == id).await
}

/// Answers `GET /v1/session/list`.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    read(&shared, &caller, request, |_| true).await
}

async fn read(
    shared: &Shared,
    caller: &Caller,
    request: Request,
    wanted: impl Fn(&Session) -> bool,
) -> Response {
    if request.method() != Method::GET {
        return reply::method_not_allowed(request.method(), "OPTIONS,GET");
    }
    let parameters = Parameters::of(&request);
    let blocking = match parameters.blocking() {
        Ok(blocking) => blocking,
        Err(refused) => return refused,
    };
    if !caller.may_sessions(Access::Read) {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    let look = |state: &crate::state::State| {
        let sessions = state.sessions().filter(|session| wanted(session)).cloned();
        (state.session_indexes(), sessions.collect::<Vec<_>>())
    };
    match shared.wait(Scope::Sessions, blocking, look).await {
        Ok((index, sessions)) => {
            let bodies: Vec<SessionBody<'_>> = sessions.iter().map(|session| show(session)).collect();
            reply::with_index(index, reply::json(&parameters, &bodies))
        }
        Err(_) => reply::too_many_waiters(),
    }
}

/// Only the token that opened a session, or a root token, may renew or end it.
fn refuse_change(shared: &Shared, caller: &Caller, method: &Method, id: &str) -> Option<Response> {
    if method != Method::PUT {
        return Some(reply::method_not_allowed(method, "OPTIONS,PUT"));
    }
    if id.is_empty() {
        return Some(reply::text(StatusCode::BAD_REQUEST, "Missing session"));
    }
    let owner = shared.read().session(id).and_then(|session| session.owner.clone());
    let ours = caller.is_root() || owner.is_none() || owner.as_deref() == caller.token_id();
    let allowed = ours && caller.may_sessions(Access::Write);
    (!allowed).then(|| reply::text(StatusCode::FORBIDDEN, DENIED))
}

fn show(session: &Session) -> SessionBody<'_> {
    SessionBody {
        id: &session.id,
        name: &session.name,
        node: &session.node,
        lock_delay: session.lock_delay,
        behavior: session.behavior,
        ttl: &session.ttl,
        node_checks: &session.node_checks,
        service_checks: None,
        create_index: session.create_index,
        modify_index: session.create_index,
    }
}

fn parse(body: &[u8], owner: Option<&str>) -> Result<Session, (StatusCode, String)> {
    let malformed = |why: String| (StatusCode::BAD_REQUEST, format!("Request decode failed: {why}"));
    let refused = |why: String| (StatusCode::INTERNAL_SERVER_ERROR, why);
    let wanted = match body {
        [] => Wanted::default(),
        body => {
            // A structure would also be read from a list.
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
            Wanted::deserialize(serde_json::Value::Object(object))
                .map_err(|error| malformed(error.to_string()))?
        }
    };
    let lock_delay = lock_delay(wanted.lock_delay).map_err(malformed)?;
    let behavior = behavior(&wanted.behavior).map_err(refused)?;
    let ttl_parsed = ttl(&wanted.ttl).map_err(refused)?;
    if wanted.node.is_some_and(|node| node != NODE) {
        return Err(refused("Missing node registration".into()));
    }
    if wanted.service_checks.is_some_and(|checks| !checks.is_empty()) {
        return Err((StatusCode::NOT_IMPLEMENTED, "sessions here are not tied to service checks".into()));
    }
    let node_checks = wanted.node_checks.or(wanted.checks).unwrap_or_else(|| vec![CHECK.into()]);
    if let Some(unknown) = node_checks.iter().find(|check| *check != CHECK) {
        return Err(refused(format!("Missing check '{unknown}' registration")));
    }
    Ok(Session {
        id: uuid::Uuid::new_v4().to_string(),
        name: wanted.name,
        node: NODE.into(),
        lock_delay,
        behavior,
        ttl: wanted.ttl,
        ttl_parsed,
        node_checks,
        owner: owner.map(str::to_owned),
        create_index: 0,
    })
}

fn lock_delay(wanted: Option<LockDelay>) -> Result<i64, String> {
    let nanoseconds = match wanted {
        None => return Ok(LOCK_DELAY_DEFAULT),
        Some(LockDelay::Text(text)) => {
            duration::parse(&text)?.or_zero().as_nanos().try_into().unwrap_or(i64::MAX)
        }
        #[expect(clippy::cast_possible_truncation, reason = "a float saturates into an integer")]
        Some(LockDelay::Number(number)) => number.max(0.0) as i64,
    };
    Ok(if nanoseconds < LOCK_DELAY_SECONDS_BELOW { nanoseconds * 1_000_000_000 } else { nanoseconds })
}

fn behavior(wanted: &str) -> Result<Behavior, String> {
    match wanted {
        "" | "release" => Ok(Behavior::Release),
        "delete" => Ok(Behavior::Delete),
        other => Err(format!("Invalid Behavior setting '{other}'")),
    }
}

fn ttl(wanted: &str) -> Result<Option<Duration>, String> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let ttl = duration::parse(wanted).map_err(|why| format!("Session TTL '{wanted}' invalid: {why}"))?;
    if ttl.length.is_zero() {
        return Ok(None);
    }
    if ttl.negative || ttl.length < TTL_MIN || ttl.length > TTL_MAX {
        let nanoseconds = ttl.nanoseconds();
        return Err(format!("Invalid Session TTL '{nanoseconds}', must be between [10s=24h0m0s]"));
    }
    Ok(Some(ttl.length))
}
