//! `/v1/kv/`: reading, writing and deleting keys.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::caller::{Caller, DENIED};
use super::front::Path;
use super::parameters::Parameters;
use super::reply::{self, EntryBody};
use crate::command::{Answer, Command, Content, Operation};
use crate::entry::Entry;
use crate::rules::Access;
use crate::shared::Shared;
use crate::watch::Scope;

/// Answers every request below `/v1/kv/`.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(Path(path)): Extension<Path>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let key = path.strip_prefix("/v1/kv/").unwrap_or_default();
    let parameters = Parameters::of(&request);
    let method = request.method().clone();
    if method == Method::PUT {
        return put(&shared, &caller, key, &parameters, request).await.unwrap_or_else(|refused| refused);
    }
    // A read may wait for long, and thousands do: it keeps nothing that it does not need.
    drop(request);
    let done = match method {
        Method::GET if parameters.has("keys") => keys(&shared, &caller, key, &parameters).await,
        Method::GET if parameters.has("recurse") => tree(&shared, &caller, key, &parameters).await,
        Method::GET => get(&shared, &caller, key, &parameters).await,
        Method::DELETE => delete(&shared, &caller, key, &parameters).await,
        other => Err(reply::method_not_allowed(&other, "OPTIONS,GET,PUT,DELETE")),
    };
    done.unwrap_or_else(|refused| refused)
}

async fn get(
    shared: &Shared,
    caller: &Caller,
    key: &str,
    parameters: &Parameters,
) -> Result<Response, Response> {
    let blocking = parameters.blocking()?;
    check_key(key)?;
    check(caller.may_key(key, Access::Read))?;
    let look = |state: &crate::state::State| (state.key_indexes(key), state.entry(key).cloned());
    let looked = shared.wait(Scope::Key(key.into()), blocking, look).await;
    let (index, entry) = looked.map_err(|_| reply::too_many_waiters())?;
    let response = match entry {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(entry) if parameters.has("raw") => raw(&entry),
        Some(entry) => reply::json(parameters, &[EntryBody::of(&entry, true)]),
    };
    Ok(reply::with_index(index, response))
}

async fn tree(
    shared: &Shared,
    caller: &Caller,
    prefix: &str,
    parameters: &Parameters,
) -> Result<Response, Response> {
    let (index, entries) = list(shared, caller, prefix, parameters).await?;
    if entries.is_empty() {
        return Ok(reply::with_index(index, StatusCode::NOT_FOUND.into_response()));
    }
    let bodies: Vec<EntryBody<'_>> = entries.iter().map(|entry| EntryBody::of(entry, true)).collect();
    Ok(reply::with_index(index, reply::json(parameters, &bodies)))
}

async fn keys(
    shared: &Shared,
    caller: &Caller,
    prefix: &str,
    parameters: &Parameters,
) -> Result<Response, Response> {
    let (index, entries) = list(shared, caller, prefix, parameters).await?;
    if entries.is_empty() && !prefix.is_empty() {
        return Ok(reply::with_index(index, StatusCode::NOT_FOUND.into_response()));
    }
    // Consul takes its own old misspelling too.
    let separator =
        parameters.first("separator").or_else(|| parameters.first("seperator")).unwrap_or_default();
    let mut keys: Vec<&str> = entries.iter().map(|entry| cut(&entry.key, prefix.len(), separator)).collect();
    keys.dedup();
    Ok(reply::with_index(index, reply::json(parameters, &keys)))
}

fn cut<'a>(key: &'a str, prefix: usize, separator: &str) -> &'a str {
    match key[prefix..].find(separator) {
        Some(place) if !separator.is_empty() => &key[..prefix + place + separator.len()],
        _ => key,
    }
}

async fn list(
    shared: &Shared,
    caller: &Caller,
    prefix: &str,
    parameters: &Parameters,
) -> Result<(u64, Vec<Arc<Entry>>), Response> {
    let blocking = parameters.blocking()?;
    check(caller.may_tree(prefix, Access::Read))?;
    let look = |state: &crate::state::State| (state.prefix_indexes(prefix), ());
    let scope = Scope::Prefix(prefix.into());
    let waited = shared.wait(scope, blocking, look).await;
    waited.map_err(|_| reply::too_many_waiters())?;
    let state = shared.read();
    Ok((state.prefix_indexes(prefix).shown, state.tree(prefix).cloned().collect()))
}

fn raw(entry: &Entry) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, entry.value.clone()).into_response()
}

async fn put(
    shared: &Shared,
    caller: &Caller,
    key: &str,
    parameters: &Parameters,
    request: Request,
) -> Result<Response, Response> {
    check_key(key)?;
    parameters.refuse_two_of(&["cas", "acquire", "release"])?;
    check(caller.may_key(key, Access::Write))?;
    let flags = parameters.number("flags")?.unwrap_or_default();
    let cas = parameters.number("cas")?;
    let content = Content { key: key.into(), value: reply::body(shared, request).await?, flags };
    let session = |name| parameters.first(name).map(str::to_owned);
    let operation = match (cas, session("acquire"), session("release")) {
        (Some(index), _, _) => Operation::Cas(content, index),
        (_, Some(session), _) => Operation::Lock(content, session),
        (_, _, Some(session)) => Operation::Unlock(content, session),
        _ => Operation::Set(content),
    };
    write(shared, parameters, operation).await
}

async fn delete(
    shared: &Shared,
    caller: &Caller,
    key: &str,
    parameters: &Parameters,
) -> Result<Response, Response> {
    parameters.refuse_two_of(&["recurse", "cas"])?;
    if parameters.has("recurse") {
        check(caller.may_tree(key, Access::Write))?;
        return write(shared, parameters, Operation::DeleteTree(key.into())).await;
    }
    check_key(key)?;
    check(caller.may_key(key, Access::Write))?;
    let operation = match parameters.number("cas")? {
        Some(index) => Operation::DeleteCas(key.into(), index),
        None => Operation::Delete(key.into()),
    };
    write(shared, parameters, operation).await
}

async fn write(shared: &Shared, parameters: &Parameters, operation: Operation) -> Result<Response, Response> {
    match shared.submit(Command::Write(operation)).await {
        Ok(Answer::Applied(applied)) => Ok(reply::json(parameters, &applied)),
        Ok(Answer::Refused(why)) => Err(reply::text(StatusCode::INTERNAL_SERVER_ERROR, why)),
        Ok(other) => unreachable!("a write is answered with applied or refused, not {other:?}"),
        Err(error) => Err(reply::unwritable(&error)),
    }
}

fn check_key(key: &str) -> Result<(), Response> {
    if key.is_empty() { Err(reply::text(StatusCode::BAD_REQUEST, "Missing key name")) } else { Ok(()) }
}

fn check(allowed: bool) -> Result<(), Response> {
    if allowed { Ok(()) } else { Err(reply::text(StatusCode::FORBIDDEN, DENIED)) }
}
