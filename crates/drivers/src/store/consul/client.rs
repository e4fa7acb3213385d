//! One method a request of Consul's KV, session and transaction API; no retry, no cache, no root.
//!
//! Every call is one HTTP request. Redirects are refused, because Consul cleans a path such as `a//b` by sending the
//! client to *another key*; keys with empty or dotted segments are refused before they are sent.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;

use super::wire::{
    Condition, Operation, Pair, Removal, SessionBody, SessionCreated, SessionRequest, TransactionAnswer,
    TransactionItem, TransactionOutcome, go_duration,
};
use crate::http::encoded;
use crate::store::http::{self, ANSWER_WITHIN, Answer, Http};
use crate::store::{Config, Credentials, Handler, Secret, SessionId, StoreError};

/// The longest wait Consul grants.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Asks the server to answer only when something is newer than `index`, or after `wait` (at most 10 min).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// The index of the last answer; 0 answers at once.
    pub index: u64,
    /// How long the server may hold the request; it adds up to a sixteenth.
    pub wait: Duration,
}

/// What was read, and when it last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed<T> {
    /// `X-Consul-Index`, at least 1. When it falls, the server was restored: start again from 0.
    pub index: u64,
    /// What was read.
    pub value: T,
}

/// A client of Consul's API, or of the embedded server's. Cheap to keep, to be shared behind an `Arc`.
pub struct Client {
    http: Http,
    token: Option<Secret>,
    login: Option<(String, Secret)>,
    datacenter: Option<String>,
}

impl Client {
    /// Prepares a client; sends nothing. `config.root` does not matter here.
    pub fn open(config: &Config) -> Result<Client, StoreError> {
        config.check()?;
        let token = match &config.credentials {
            Credentials::Token(token) => Some(token.clone()),
            Credentials::None | Credentials::Password { .. } => None,
        };
        let http = http::open("the store", config)?;
        Ok(Client { http, token, login: config.login.clone(), datacenter: config.datacenter.clone() })
    }

    /// Hands all requests to a handler in this process from now on.
    pub fn answered_by(self, handler: Handler) -> Client {
        Client { http: self.http.answered_by(handler), ..self }
    }

    /// Says which server this is, for people.
    pub fn describe(&self) -> String {
        self.http.describe()
    }

    /// Reads one key; `None` when it does not exist.
    pub async fn get(
        &self,
        key: &str,
        blocking: Option<Blocking>,
    ) -> Result<Indexed<Option<Pair>>, StoreError> {
        let read = self.read::<Pair>(key, "", blocking).await?;
        Ok(Indexed { index: read.index, value: read.value.into_iter().next() })
    }

    /// Reads every key that begins with `prefix` (a text, not a folder), in order; empty when there is none.
    pub async fn list(
        &self,
        prefix: &str,
        blocking: Option<Blocking>,
    ) -> Result<Indexed<Vec<Pair>>, StoreError> {
        self.read(prefix, "recurse&", blocking).await
    }

    /// As [`Client::list`], but the leader asks its peers first whether it still leads.
    pub async fn list_consistent(&self, prefix: &str) -> Result<Indexed<Vec<Pair>>, StoreError> {
        self.read(prefix, "recurse&consistent&", None).await
    }

    /// As [`Client::get`], but the leader asks its peers first whether it still leads.
    pub async fn get_consistent(&self, key: &str) -> Result<Indexed<Option<Pair>>, StoreError> {
        let read = self.read::<Pair>(key, "consistent&", None).await?;
        Ok(Indexed { index: read.index, value: read.value.into_iter().next() })
    }

    /// Lists the keys that begin with `prefix`, each cut after the first `separator` past it, once each.
    pub async fn keys(
        &self,
        prefix: &str,
        separator: Option<&str>,
        blocking: Option<Blocking>,
    ) -> Result<Indexed<Vec<String>>, StoreError> {
        let separator = separator.map_or(String::new(), |text| format!("separator={}&", encoded(text, "")));
        self.read(prefix, &format!("keys&{separator}"), blocking).await
    }

    /// Sets a key under a condition; false when it did not hold.
    ///
    /// `flags` is a number kept beside the value. A session that is dead is [`StoreError::SessionGone`].
    pub async fn put(
        &self,
        key: &str,
        value: impl Into<Vec<u8>>,
        flags: u64,
        condition: &Condition,
    ) -> Result<bool, StoreError> {
        let (condition, session) = match condition {
            Condition::Always => (String::new(), None),
            Condition::Cas(index) => (format!("cas={index}&"), None),
            Condition::Acquire(session) => (format!("acquire={}&", encoded(&session.0, "")), Some(session)),
            Condition::Release(session) => (format!("release={}&", encoded(&session.0, "")), Some(session)),
        };
        let path = self.key_path(key, &format!("{condition}flags={flags}&"))?;
        let answer = self.send(self.request(Method::PUT, &path).body(value.into()), ANSWER_WITHIN).await?;
        self.parse(answer, session)
    }

    /// Deletes; false when the index of [`Removal::Cas`] did not hold. An absent key is fine.
    pub async fn delete(&self, key: &str, removal: Removal) -> Result<bool, StoreError> {
        let query = match removal {
            Removal::Key => String::new(),
            Removal::Cas(index) => format!("cas={index}&"),
            Removal::Recurse => "recurse&".to_owned(),
        };
        let path = self.key_path(key, &query)?;
        let answer = self.send(self.request(Method::DELETE, &path), ANSWER_WITHIN).await?;
        self.parse(answer, None)
    }

    /// Applies all operations or none; at most 64.
    pub async fn transact(&self, operations: &[Operation]) -> Result<TransactionOutcome, StoreError> {
        let items: Vec<_> = operations.iter().map(|kv| TransactionItem { kv }).collect();
        let request = self.request(Method::PUT, &self.path("/v1/txn", "")).json(&items);
        let answer = self.send(request, ANSWER_WITHIN).await?;
        if answer.status != StatusCode::CONFLICT {
            self.parse::<TransactionAnswer>(answer, None)?;
            return Ok(TransactionOutcome::Applied);
        }
        let conflict: TransactionAnswer = self.decode(&answer)?;
        let failures = conflict.errors.unwrap_or_default();
        for failure in &failures {
            let session =
                operations.get(failure.op_index).map(|operation| SessionId(operation.session.clone()));
            if let Some(error) = self.error_in(&failure.what, session.as_ref()) {
                return Err(error);
            }
        }
        Ok(TransactionOutcome::Conflict(failures))
    }

    /// Creates a session and returns its id.
    pub async fn create_session(&self, request: &SessionRequest) -> Result<SessionId, StoreError> {
        let path = self.path("/v1/session/create", "");
        let request = self.request(Method::PUT, &path).json(&SessionBody::from(request));
        let answer = self.send(request, ANSWER_WITHIN).await?;
        self.parse::<SessionCreated>(answer, None).map(|created| SessionId(created.id))
    }

    /// Renews a session; [`StoreError::SessionGone`] when it is dead.
    pub async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError> {
        let path = self.path(&format!("/v1/session/renew/{}", encoded(&session.0, "")), "");
        let answer = self.send(self.request(Method::PUT, &path), ANSWER_WITHIN).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(StoreError::SessionGone(session.clone()));
        }
        self.parse::<serde_json::Value>(answer, Some(session)).map(drop)
    }

    /// Ends a session at once, with its keys; a dead one is fine.
    pub async fn destroy_session(&self, session: &SessionId) -> Result<(), StoreError> {
        let path = self.path(&format!("/v1/session/destroy/{}", encoded(&session.0, "")), "");
        let answer = self.send(self.request(Method::PUT, &path), ANSWER_WITHIN).await?;
        self.parse::<bool>(answer, Some(session)).map(drop)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        key: &str,
        query: &str,
        blocking: Option<Blocking>,
    ) -> Result<Indexed<Vec<T>>, StoreError> {
        let (query, patience) = match blocking {
            None => (query.to_owned(), ANSWER_WITHIN),
            Some(Blocking { index, wait }) => {
                let wait = wait.clamp(Duration::from_millis(1), WAIT_MAX);
                let query = format!("{query}index={index}&wait={}&", go_duration(wait));
                (query, wait + wait / 16 + ANSWER_WITHIN)
            }
        };
        let answer = self.send(self.request(Method::GET, &self.key_path(key, &query)?), patience).await?;
        let index = answer.headers.get("X-Consul-Index").and_then(|value| value.to_str().ok()?.parse().ok());
        let absent = answer.status == StatusCode::NOT_FOUND;
        let value = if absent { Vec::new() } else { self.parse(answer, None)? };
        match index {
            Some(index) => Ok(Indexed { index: u64::max(index, 1), value }),
            None => Err(self.http.unavailable("the answer has no X-Consul-Index: is this a Consul?")),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.client().request(method, format!("{}{path}", self.http.url()));
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password.expose()));
        }
        match &self.token {
            Some(token) => request.header("X-Consul-Token", token.expose()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder, patience: Duration) -> Result<Answer, StoreError> {
        self.http.send(request, patience).await
    }

    fn key_path(&self, key: &str, query: &str) -> Result<String, StoreError> {
        let key_without_end = key.strip_suffix('/').unwrap_or(key);
        let misread = |segment: &str| matches!(segment, "" | "." | "..");
        if !key.is_empty() && key_without_end.split('/').any(misread) {
            return Err(StoreError::Refused(format!(
                "`{}` would be read as another key",
                key.escape_debug()
            )));
        }
        Ok(self.path(&format!("/v1/kv/{}", encoded(key, "/")), query))
    }

    fn path(&self, path: &str, query: &str) -> String {
        let datacenter = self.datacenter.as_ref().map(|name| format!("dc={}", encoded(name, "")));
        let query = format!("{query}{}", datacenter.unwrap_or_default());
        let query = query.trim_end_matches('&');
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    fn parse<T: DeserializeOwned>(
        &self,
        answer: Answer,
        session: Option<&SessionId>,
    ) -> Result<T, StoreError> {
        let said = String::from_utf8_lossy(&answer.body);
        match answer.status {
            StatusCode::OK => self.decode(&answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.http.denied(said)),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::METHOD_NOT_ALLOWED => {
                Err(StoreError::Refused(format!("{}: {}", answer.status, crate::store::http::excerpt(&said))))
            }
            status => {
                let error = self.error_in(&said, session);
                Err(error.unwrap_or_else(|| self.http.unavailable(format!("{status}: {said}"))))
            }
        }
    }

    fn decode<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, StoreError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.http.unavailable(format!("{error} in {}", String::from_utf8_lossy(&answer.body)))
        })
    }

    /// Consul says in words what is wrong with a token or a session (seen in 1.8.7).
    fn error_in(&self, what: &str, session: Option<&SessionId>) -> Option<StoreError> {
        if what.contains("Permission denied") || what.contains("ACL not found") {
            return Some(self.http.denied(what));
        }
        let gone = what.contains("invalid session") || what.contains("failed session lookup");
        session.filter(|_| gone).map(|session| StoreError::SessionGone(session.clone()))
    }
}
