//! The controller's API as the command line sees it.
//!
//! Invariants: every call but an upload has a deadline; the token never reaches a log, an argument or an error text.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use footplate_core::artifact::Digest;
use footplate_core::name::{AppName, AppPath, HostName};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rustls::RootCertStore;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{self, Problem, ProblemKind, path};
use crate::trust;

/// How long a call may take that does not wait for anything.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the address.
    #[error("cannot reach the controller at {address}")]
    Unreachable {
        /// The controller's address.
        address: String,
        /// What went wrong on the way.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody answers whose certificate is not trusted.
    #[error("cannot trust who answers at {address}")]
    Untrusted {
        /// The controller's address.
        address: String,
        /// What is wrong with its certificate.
        #[source]
        source: rustls::Error,
    },
    /// The controller answered with a problem.
    #[error("{}", .0.what)]
    Problem(Box<Problem>),
    /// The answer is not one of ours.
    #[error("{address} does not answer like a footplate controller: {answer}")]
    Foreign {
        /// The controller's address.
        address: String,
        /// What came, shortened.
        answer: String,
    },
    /// A local file could not be read or written.
    #[error("cannot read {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A connection to a controller.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    /// Returns a client for the controller at `base` (`http://127.0.0.1:7701`) that shows `token`.
    ///
    /// Over plain HTTP the system's certificate authorities are not read: a machine may have none. No proxy is used: the
    /// token is for the controller alone.
    pub fn new(base: &str, token: &str) -> Self {
        let http = match base.starts_with("https:") {
            // Without authorities the handshake fails, which is an answer that a person can read.
            true => trust::client(None).build().unwrap_or_else(|_| trusting(RootCertStore::empty())),
            false => trusting(RootCertStore::empty()),
        };
        Self::over(http, base, token)
    }

    /// Returns a client that trusts these authorities instead of the system's.
    pub fn trusting(base: &str, token: &str, roots: RootCertStore) -> Self {
        Self::over(trusting(roots), base, token)
    }

    fn over(http: reqwest::Client, base: &str, token: &str) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned(), token: token.to_owned() }
    }

    /// Returns the controller's address.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Asks whether the controller is there.
    pub async fn health(&self) -> Result<api::Health, ClientError> {
        self.fetch(self.request(Method::GET, path::HEALTH)).await
    }

    /// Tells whether the controller has an artifact.
    pub async fn has_artifact(&self, digest: &Digest) -> Result<bool, ClientError> {
        let request = self.request(Method::HEAD, &format!("{}/{digest}", path::ARTIFACTS));
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal(response).await),
        }
    }

    /// Uploads an artifact from a file.
    pub async fn put_artifact(&self, digest: &Digest, file: &Path) -> Result<(), ClientError> {
        let unreadable = |source| ClientError::File { path: file.display().to_string(), source };
        let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let length = opened.metadata().await.map_err(unreadable)?.len();
        let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::new(opened));
        let request = self
            .http
            .put(format!("{}{}/{digest}", self.base, path::ARTIFACTS))
            .bearer_auth(&self.token)
            .header("content-length", length)
            .body(body);
        let response = self.send(request).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal(response).await) }
    }

    /// Registers a release.
    pub async fn push(&self, push: &api::Push) -> Result<api::Pushed, ClientError> {
        self.post(path::RELEASES, push).await
    }

    /// Lists the releases of an app, newest first.
    pub async fn releases(&self, app: &AppName) -> Result<Vec<api::Pushed>, ClientError> {
        self.fetch(self.request(Method::GET, path::RELEASES).query(&[("app", app.as_str())])).await
    }

    /// Says what a deploy would do.
    pub async fn plan(&self, deploy: &api::Deploy) -> Result<api::Planned, ClientError> {
        self.post(path::PLANS, deploy).await
    }

    /// Begins a rollout.
    pub async fn deploy(&self, deploy: &api::Deploy) -> Result<api::Planned, ClientError> {
        self.post(path::DEPLOYMENTS, deploy).await
    }

    /// Begins a rollout back.
    pub async fn roll_back(&self, order: &api::RollBack) -> Result<api::Planned, ClientError> {
        self.post(path::ROLLBACKS, order).await
    }

    /// Gives a command to the running rollout and returns what it became.
    pub async fn order(&self, order: &api::Order) -> Result<api::RolloutStatus, ClientError> {
        self.post(path::ORDERS, order).await
    }

    /// Reads the gate of an app.
    pub async fn gate(&self, app: &AppPath) -> Result<api::GateStatus, ClientError> {
        let request = self.request(Method::GET, path::GATE);
        let whose = [("environment", app.environment.as_str()), ("app", app.app.as_str())];
        self.fetch(request.query(&whose)).await
    }

    /// Gives an order for the gate of an app and returns how it is then.
    pub async fn change_gate(&self, order: &api::GateOrder) -> Result<api::GateStatus, ClientError> {
        self.post(path::GATE, order).await
    }

    /// Reads what runs where.
    pub async fn status(&self) -> Result<api::Status, ClientError> {
        self.fetch(self.request(Method::GET, path::STATUS)).await
    }

    /// Waits until one app's status is another than `seen` (0 returns at once), or `patience` is over.
    pub async fn app_status(
        &self,
        app: &AppPath,
        seen: u64,
        patience: Duration,
    ) -> Result<api::Status, ClientError> {
        let request = self
            .request(Method::GET, path::STATUS)
            .query(&[("environment", app.environment.as_str()), ("app", app.app.as_str())])
            .query(&[("seen", seen), ("wait_ms", u64::try_from(patience.as_millis()).unwrap_or(u64::MAX))])
            .timeout(patience + CALL_DEADLINE);
        self.fetch(request).await
    }

    /// Reads the requests of every app with endpoints, or of one, over about the last `over` (at most a minute).
    pub async fn traffic(
        &self,
        app: Option<&AppPath>,
        over: Duration,
    ) -> Result<Vec<api::AppTraffic>, ClientError> {
        let over = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
        let mut request = self.request(Method::GET, path::TRAFFIC).query(&[("over_ms", over)]);
        if let Some(app) = app {
            request = request.query(&[("environment", app.environment.as_str()), ("app", app.app.as_str())]);
        }
        self.fetch(request).await
    }

    /// Reads what the services of an app use, and how they did over the last `over` (at most ten minutes).
    pub async fn usage(&self, app: &AppPath, over: Duration) -> Result<api::AppUsage, ClientError> {
        let over = u64::try_from(over.as_millis()).unwrap_or(u64::MAX);
        let request = self.request(Method::GET, path::USAGE).query(&[("over_ms", over)]);
        let named = [("environment", app.environment.as_str()), ("app", app.app.as_str())];
        self.fetch(request.query(&named)).await
    }

    /// Lists what happened, newest first, at most `limit` entries older than `before`.
    pub async fn history(
        &self,
        app: Option<&AppPath>,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<api::HistoryEntry>, ClientError> {
        let mut request = self.request(Method::GET, path::HISTORY).query(&[("limit", limit)]);
        if let Some(app) = app {
            request = request.query(&[("environment", app.environment.as_str()), ("app", app.app.as_str())]);
        }
        if let Some(before) = before {
            request = request.query(&[("before", before)]);
        }
        self.fetch(request).await
    }

    /// Returns what judges heard of a rollout, stage by stage; of the newest that was judged when none is named.
    pub async fn verdict(
        &self,
        app: &AppPath,
        rollout: Option<u64>,
    ) -> Result<Vec<api::JudgedStage>, ClientError> {
        let names = [("environment", app.environment.as_str()), ("app", app.app.as_str())];
        let mut request = self.request(Method::GET, path::VERDICTS).query(&names);
        if let Some(rollout) = rollout {
            request = request.query(&[("rollout", rollout)]);
        }
        self.fetch(request).await
    }

    /// Lists what hooks and scripts printed, oldest first: at most `limit` entries, those that follow the entry `after`.
    pub async fn outputs(
        &self,
        app: &AppPath,
        host: Option<&HostName>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<api::OutputEntry>, ClientError> {
        self.fetch(self.outputs_of(app, host, limit).query(&[("after", after)])).await
    }

    /// Lists what hooks and scripts printed, oldest first: at most `limit` entries, the newest or those right before `before`.
    pub async fn newest_outputs(
        &self,
        app: &AppPath,
        host: Option<&HostName>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<api::OutputEntry>, ClientError> {
        let before = before.map(|before| ("before", before));
        self.fetch(self.outputs_of(app, host, limit).query(before.as_slice())).await
    }

    fn outputs_of(&self, app: &AppPath, host: Option<&HostName>, limit: u32) -> RequestBuilder {
        let host = host.map(|host| ("host", host.as_str()));
        self.request(Method::GET, path::OUTPUTS)
            .query(&[("environment", app.environment.as_str()), ("app", app.app.as_str())])
            .query(host.as_slice())
            .query(&[("limit", limit)])
    }

    /// Lists the hosts.
    pub async fn hosts(&self) -> Result<Vec<api::HostStatus>, ClientError> {
        self.fetch(self.request(Method::GET, path::HOSTS)).await
    }

    /// Sets a host aside, takes it back, or forgets it.
    pub async fn host(
        &self,
        host: &HostName,
        order: &api::HostOrder,
    ) -> Result<api::HostStatus, ClientError> {
        self.post(&format!("{}/{host}", path::HOSTS), order).await
    }

    /// Removes releases.
    pub async fn clean(&self, clean: &api::Clean) -> Result<api::Cleaned, ClientError> {
        self.post(path::CLEAN, clean).await
    }

    /// Reads the controller's own view of its set-up.
    pub async fn doctor(&self) -> Result<Vec<api::Check>, ClientError> {
        self.fetch(self.request(Method::GET, path::DOCTOR)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .timeout(CALL_DEADLINE)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.fetch(self.request(Method::POST, path).json(body)).await
    }

    async fn fetch<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let text = response.text().await.map_err(|source| self.unreachable(source))?;
        serde_json::from_str(&text).map_err(|error| self.foreign(&format!("{error}: {text}")))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        request.send().await.map_err(|source| self.unreachable(source))
    }

    async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let text = response.text().await.unwrap_or_else(|error| error.to_string());
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) if status == StatusCode::UNAUTHORIZED => ClientError::Problem(Box::new(Problem {
                what: format!("the controller at {} refuses the token", self.base),
                because: Vec::new(),
                next: Some("give the right one with `--token-file`".to_owned()),
                kind: ProblemKind::Denied,
            })),
            Err(_) => self.foreign(&format!("{status} {text}")),
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        let address = self.base.clone();
        let (source, certificate) = root(&source.without_url());
        match certificate {
            Some(source) => ClientError::Untrusted { address, source },
            None => ClientError::Unreachable { address, source },
        }
    }

    fn foreign(&self, answer: &str) -> ClientError {
        ClientError::Foreign { address: self.base.clone(), answer: answer.chars().take(200).collect() }
    }
}

/// Returns what went wrong at the bottom, which says it all ("Connection refused (os error 111)"), and what was wrong
/// with the other's certificate, if that was it.
fn root(error: &reqwest::Error) -> (Box<dyn Error + Send + Sync>, Option<rustls::Error>) {
    let mut bottom: &(dyn Error + 'static) = error;
    while let Some(cause) = bottom.source() {
        bottom = cause;
    }
    let tls = within(bottom).and_then(|error| error.downcast_ref::<rustls::Error>());
    let certificate = tls.filter(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
    (bottom.to_string().into(), certificate.cloned())
}

/// Returns the error that was wrapped for a stream, which is no source of its wrapper.
fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let mut found = error;
    while let Some(wrapper) = found.downcast_ref::<std::io::Error>() {
        found = wrapper.get_ref()?;
    }
    Some(found)
}

fn trusting(roots: RootCertStore) -> reqwest::Client {
    trust::client(Some(roots)).build().expect("a client without files of its own can always be built")
}
