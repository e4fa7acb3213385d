//! One request to etcd's gateway: logged in, parsed, its refusals told apart.
//!
//! A login's token dies after some idle minutes and with the server; a call that hears so logs in once more and repeats.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::wire::{ErrorAnswer, LoginAnswer};
use crate::store::http::{self, ANSWER_WITHIN, Answer, Http, excerpt};
use crate::store::{Config, Credentials, Secret, SessionId, StoreError};

pub(super) struct Client {
    http: Http,
    login: Option<(String, Secret)>,
    token: Mutex<Option<Secret>>,
}

/// Why etcd refused one request.
enum Refusal {
    /// The token is old: log in again and repeat.
    StaleLogin,
    /// Anything else.
    Final(StoreError),
}

impl Client {
    pub fn open(config: &Config) -> Result<Client, StoreError> {
        let login = match &config.credentials {
            Credentials::Password { user, password } => Some((user.clone(), password.clone())),
            Credentials::None | Credentials::Token(_) => None,
        };
        Ok(Client { http: http::open("etcd", config)?, login, token: Mutex::default() })
    }

    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Posts to `/v3/PATH` and parses the answer. `session` is the lease the request speaks of.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        session: Option<&SessionId>,
    ) -> Result<T, StoreError> {
        let answer = match self.try_post(path, body, session).await? {
            Ok(answer) => answer,
            Err(Refusal::Final(error)) => return Err(error),
            Err(Refusal::StaleLogin) => {
                *self.token.lock().await = None;
                match self.try_post(path, body, session).await? {
                    Ok(answer) => answer,
                    Err(Refusal::Final(error)) => return Err(error),
                    Err(Refusal::StaleLogin) => {
                        return Err(self.http.denied("a fresh login is not accepted"));
                    }
                }
            }
        };
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.http.unavailable(format!("{error} in {}", String::from_utf8_lossy(&answer.body)))
        })
    }

    /// Posts to `/v3/PATH` and returns the answer while it still streams; it ends after `patience` at the latest.
    pub async fn stream(&self, path: &str, body: &Value, patience: Duration) -> Result<Response, StoreError> {
        for last in [false, true] {
            let request = self.request(path, body).await?.timeout(patience);
            let response = self.http.begin(request).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            match self.refusal(&self.http.finish(response).await?, None) {
                Refusal::Final(error) => return Err(error),
                Refusal::StaleLogin if last => break,
                Refusal::StaleLogin => *self.token.lock().await = None,
            }
        }
        Err(self.http.denied("a fresh login is not accepted"))
    }

    /// Forgets the login, so that the next call makes a new one.
    pub async fn forget_login(&self) {
        *self.token.lock().await = None;
    }

    async fn try_post(
        &self,
        path: &str,
        body: &Value,
        session: Option<&SessionId>,
    ) -> Result<Result<Answer, Refusal>, StoreError> {
        let answer = self.http.send(self.request(path, body).await?, ANSWER_WITHIN).await?;
        Ok(if answer.status.is_success() { Ok(answer) } else { Err(self.refusal(&answer, session)) })
    }

    async fn request(&self, path: &str, body: &Value) -> Result<RequestBuilder, StoreError> {
        let request = self.http.client().post(format!("{}/v3/{path}", self.http.url())).json(body);
        Ok(match self.login_token().await? {
            Some(token) => request.header("Authorization", token.expose()),
            None => request,
        })
    }

    async fn login_token(&self) -> Result<Option<Secret>, StoreError> {
        let Some((user, password)) = &self.login else { return Ok(None) };
        // Held over the request, so that a hundred calls log in once.
        let mut token = self.token.lock().await;
        if token.is_none() {
            let body = json!({ "name": user, "password": password.expose() });
            let request =
                self.http.client().post(format!("{}/v3/auth/authenticate", self.http.url())).json(&body);
            let answer = self.http.send(request, ANSWER_WITHIN).await?;
            if !answer.status.is_success() {
                return Err(match self.refusal(&answer, None) {
                    Refusal::Final(error) => error,
                    Refusal::StaleLogin => {
                        self.http.unavailable("the login came between two changes of users")
                    }
                });
            }
            let login: LoginAnswer = serde_json::from_slice(&answer.body)
                .map_err(|_| self.http.unavailable("a login without a token"))?;
            *token = Some(Secret::new(login.token));
        }
        Ok(token.clone())
    }

    /// Tells refusals apart by gRPC's code and, where that is not enough, by etcd's words (3.4 and later).
    fn refusal(&self, answer: &Answer, session: Option<&SessionId>) -> Refusal {
        const INVALID_ARGUMENT: u32 = 3;
        const NOT_FOUND: u32 = 5;
        const PERMISSION_DENIED: u32 = 7;
        const FAILED_PRECONDITION: u32 = 9;
        const UNAUTHENTICATED: u32 = 16;
        let said: ErrorAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = if said.message.is_empty() { &said.error } else { &said.message };
        let has = |words: &str| text.contains(words);
        Refusal::Final(match (said.code, session) {
            (UNAUTHENTICATED, _) => return Refusal::StaleLogin,
            (INVALID_ARGUMENT, _) if has("revision of auth store is old") => return Refusal::StaleLogin,
            (INVALID_ARGUMENT, _) if has("authentication failed") || has("user name is empty") => {
                self.http.denied(text)
            }
            (PERMISSION_DENIED, _) => self.http.denied(text),
            (FAILED_PRECONDITION, _) if has("authentication is not enabled") => self.http.denied(text),
            (NOT_FOUND, Some(session)) if has("lease not found") => StoreError::SessionGone(session.clone()),
            (INVALID_ARGUMENT, _) => StoreError::Refused(excerpt(text)),
            _ if text.is_empty() => {
                self.http.unavailable(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)))
            }
            _ => self.http.unavailable(text),
        })
    }
}
