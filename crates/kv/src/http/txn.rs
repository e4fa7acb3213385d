//! `PUT /v1/txn`: all operations or none.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};

use super::BODY_BYTES_MAX;
use super::caller::{Caller, DENIED};
use super::parameters::Parameters;
use super::reply::{self, EntryBody};
use crate::command::{Answer, Command, Content, Failed, Found, Operation};
use crate::draft::Draft;
use crate::rules::Access;
use crate::shared::Shared;
use crate::transaction::{self, OPERATIONS_MAX};

/// One element of the request: exactly one kind of operation, of which the subset has the one on keys.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Element {
    #[serde(rename = "KV")]
    kv: Option<Wanted>,
    node: Option<serde::de::IgnoredAny>,
    service: Option<serde::de::IgnoredAny>,
    check: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Wanted {
    verb: String,
    key: String,
    #[serde(deserialize_with = "from_base64")]
    value: Vec<u8>,
    flags: u64,
    index: u64,
    session: String,
}

#[derive(Serialize)]
struct ResultBody<'a> {
    #[serde(rename = "KV")]
    kv: EntryBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody<'a> {
    op_index: usize,
    what: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerBody<'a> {
    results: Option<Vec<ResultBody<'a>>>,
    errors: Option<Vec<ErrorBody<'a>>>,
    #[serde(flatten)]
    read: Option<ReadBody>,
}

/// What Consul adds to the answer of a transaction that only reads.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReadBody {
    index: u64,
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
}

/// Answers `PUT /v1/txn`.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if request.method() != Method::PUT {
        return reply::method_not_allowed(request.method(), "OPTIONS,PUT");
    }
    if !caller.is_known() {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    let parameters = Parameters::of(&request);
    let body = match reply::body(&shared, request).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let operations = match parse(&body) {
        Ok(operations) => operations,
        Err((status, why)) => return reply::text(status, why),
    };
    if !operations.iter().all(|operation| allows(&caller, operation)) {
        return reply::text(StatusCode::FORBIDDEN, DENIED);
    }
    if operations.iter().any(Operation::is_write) {
        match shared.submit(Command::Transact(operations)).await {
            Ok(answer) => render(&parameters, &answer, None),
            Err(error) => reply::unwritable(&error),
        }
    } else {
        let read = ReadBody { index: 0, last_contact: 0, known_leader: true, consistency_level: "" };
        reply::with_leader(render(&parameters, &read_only(&shared, &operations), Some(read)))
    }
}

fn read_only(shared: &Shared, operations: &[Operation]) -> Answer {
    let failed = transaction::check(operations, |_| false);
    if !failed.is_empty() {
        return Answer::Conflicted(failed);
    }
    let state = shared.read();
    match transaction::run(&mut Draft::new(&state), operations) {
        Ok(found) => Answer::Transacted(found),
        Err(failed) => Answer::Conflicted(failed),
    }
}

fn allows(caller: &Caller, operation: &Operation) -> bool {
    let wanted = if operation.is_write() { Access::Write } else { Access::Read };
    if operation.is_about_a_tree() {
        caller.may_tree(operation.key(), wanted)
    } else {
        caller.may_key(operation.key(), wanted)
    }
}

fn render(parameters: &Parameters, answer: &Answer, read: Option<ReadBody>) -> Response {
    let (status, results, errors) = match answer {
        Answer::Transacted(found) => (StatusCode::OK, Some(found.iter().map(show).collect()), None),
        Answer::Conflicted(failed) => (StatusCode::CONFLICT, None, Some(failed.iter().map(tell).collect())),
        other => unreachable!("a transaction is applied or conflicts, it is not answered with {other:?}"),
    };
    let mut response = reply::json(parameters, &AnswerBody { results, errors, read });
    *response.status_mut() = status;
    response
}

fn show(found: &Found) -> ResultBody<'_> {
    ResultBody { kv: EntryBody::of(&found.entry, found.with_value) }
}

fn tell(failed: &Failed) -> ErrorBody<'_> {
    ErrorBody { op_index: failed.place, what: &failed.why }
}

fn parse(body: &[u8]) -> Result<Vec<Operation>, (StatusCode, String)> {
    let elements: Vec<Element> = serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("Failed to parse body: {error}")))?;
    if elements.len() > OPERATIONS_MAX {
        let count = elements.len();
        let why = format!("Transaction contains too many operations ({count} > {OPERATIONS_MAX})");
        return Err((StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    let mut operations = Vec::with_capacity(elements.len());
    for element in elements {
        if element.node.is_some() || element.service.is_some() || element.check.is_some() {
            let why = "transactions here are on keys only, not on nodes, services or checks";
            return Err((StatusCode::NOT_IMPLEMENTED, why.into()));
        }
        if let Some(wanted) = element.kv {
            operations.push(operation(wanted)?);
        }
    }
    Ok(operations)
}

fn operation(wanted: Wanted) -> Result<Operation, (StatusCode, String)> {
    let Wanted { verb, key, value, flags, index, session } = wanted;
    if value.len() > BODY_BYTES_MAX {
        let why = format!("Value for key {key:?} is too large ({} > {BODY_BYTES_MAX} bytes)", value.len());
        return Err((StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    let content = |key: &str| Content { key: key.into(), value: value.into(), flags };
    Ok(match verb.as_str() {
        "set" => Operation::Set(content(&key)),
        "cas" => Operation::Cas(content(&key), index),
        "lock" => Operation::Lock(content(&key), session),
        "unlock" => Operation::Unlock(content(&key), session),
        "get" => Operation::Get(key),
        "get-tree" => Operation::GetTree(key),
        "check-index" => Operation::CheckIndex(key, index),
        "check-session" => Operation::CheckSession(key, session),
        "check-not-exists" => Operation::CheckNotExists(key),
        "delete" => Operation::Delete(key),
        "delete-tree" => Operation::DeleteTree(key),
        "delete-cas" => Operation::DeleteCas(key, index),
        _ => Operation::Unknown(verb, key),
    })
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    STANDARD.decode(text.unwrap_or_default()).map_err(serde::de::Error::custom)
}
