//! `/v1/acl/`: joining with a join token; listing, making and revoking tokens for root.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::caller::{Caller, DENIED};
use super::front::Path;
use super::parameters::Parameters;
use super::reply;
use crate::command::{Answer, Command};
use crate::rules::{Rights, check_name};
use crate::shared::Shared;
use crate::token::{Kind, Randomness, Token};

/// How long a join token is good where its maker does not say.
const EXPIRY_DEFAULT: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinBody {
    name: String,
}

/// What a new token is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "kind")]
enum Wanted {
    Root {
        name: String,
    },
    Client {
        name: String,
        rights: Rights,
    },
    Join {
        name: String,
        rights: Rights,
        #[serde(default)]
        expires_in_seconds: Option<u64>,
        #[serde(default)]
        uses: Option<u32>,
    },
}

/// A token, with its text once.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'a Kind,
    created: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// Answers `POST /v1/acl/join`: exchanges a join token for one that is good for the name.
pub async fn join(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if let Some(refused) = refuse(&shared, request.method(), &[Method::POST, Method::PUT], "OPTIONS,POST,PUT")
    {
        return refused;
    }
    let Caller::Holder(holder) = caller else {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    };
    let Kind::Join { template, .. } = &holder.kind else {
        return reply::text(StatusCode::FORBIDDEN, "this is no join token");
    };
    let parameters = Parameters::of(&request);
    let body: JoinBody = match read(&shared, request).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    if let Err(why) = check_name(&body.name) {
        return reply::text(StatusCode::BAD_REQUEST, why);
    }
    let kind = Kind::Client(template.for_name(&body.name));
    let command = |token| Command::Join { join: holder.id.clone(), token };
    make(&shared, &parameters, &body.name, kind, Some(&holder.id), command).await
}

/// Answers `POST /v1/acl/token`: makes a token.
pub async fn create(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if let Some(refused) = refuse(&shared, request.method(), &[Method::POST, Method::PUT], "OPTIONS,POST,PUT")
    {
        return refused;
    }
    if !caller.is_root() {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    let parameters = Parameters::of(&request);
    let (name, kind) = match read::<Wanted>(&shared, request).await {
        Ok(Wanted::Root { name }) => (name, Kind::Root),
        Ok(Wanted::Client { name, rights }) => (name, Kind::Client(rights)),
        Ok(Wanted::Join { name, rights, expires_in_seconds, uses }) => {
            let seconds = expires_in_seconds.unwrap_or(EXPIRY_DEFAULT.as_secs());
            let expires = now().saturating_add(seconds);
            (name, Kind::Join { template: rights, expires, uses: uses.unwrap_or(1) })
        }
        Err(refused) => return refused,
    };
    make(&shared, &parameters, &name, kind, None, Command::SetToken).await
}

/// Answers `GET /v1/acl/tokens`.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if let Some(refused) = refuse(&shared, request.method(), &[Method::GET], "OPTIONS,GET") {
        return refused;
    }
    if !caller.is_root() {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    let tokens: Vec<Arc<Token>> = shared.read().tokens().cloned().collect();
    let shown: Vec<Shown<'_>> = tokens.iter().map(|token| show(token, None)).collect();
    reply::json(&Parameters::of(&request), &shown)
}

/// Answers `DELETE /v1/acl/token/ID`.
pub async fn revoke(
    State(shared): State<Arc<Shared>>,
    Extension(Path(path)): Extension<Path>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if let Some(refused) = refuse(&shared, request.method(), &[Method::DELETE], "OPTIONS,DELETE") {
        return refused;
    }
    if !caller.is_root() {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    let id = path.strip_prefix("/v1/acl/token/").unwrap_or_default();
    match shared.submit(Command::RevokeToken(id.to_owned())).await {
        Ok(Answer::Applied(true)) => reply::json(&Parameters::of(&request), &true),
        Ok(_) => reply::text(StatusCode::NOT_FOUND, format!("no token has the id {id:?}")),
        Err(error) => reply::unwritable(&error),
    }
}

async fn make(
    shared: &Shared,
    parameters: &Parameters,
    name: &str,
    kind: Kind,
    joined_by: Option<&str>,
    command: impl FnOnce(Token) -> Command,
) -> Response {
    let Ok(random) = Randomness::read() else {
        return reply::text(StatusCode::INTERNAL_SERVER_ERROR, "the system has no randomness for a token");
    };
    let (mut token, text) = Token::new(&random, name, kind, now());
    token.joined_by = joined_by.map(str::to_owned);
    match shared.submit(command(token.clone())).await {
        Ok(Answer::Refused(why)) => reply::text(StatusCode::FORBIDDEN, why),
        Ok(_) => reply::json(parameters, &show(&token, Some(&text))),
        Err(error) => reply::unwritable(&error),
    }
}

fn refuse(shared: &Shared, method: &Method, allowed: &[Method], names: &'static str) -> Option<Response> {
    if !allowed.contains(method) {
        return Some(reply::method_not_allowed(method, names));
    }
    (!shared.tokens).then(|| reply::text(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}

async fn read<T: DeserializeOwned>(shared: &Shared, request: Request) -> Result<T, Response> {
    let body = reply::body(shared, request).await?;
    let malformed = |error| reply::text(StatusCode::BAD_REQUEST, format!("Request decode failed: {error}"));
    serde_json::from_slice(&body).map_err(malformed)
}

fn show<'a>(token: &'a Token, text: Option<&'a str>) -> Shown<'a> {
    Shown { id: &token.id, name: &token.name, kind: &token.kind, created: token.created, token: text }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
