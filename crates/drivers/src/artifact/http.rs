//! Artifacts over HTTP: `GET BASE/sha256:HEX` with a bearer token, as the controller serves them. The upload is in the
//! command line's client.
//!
//! Several sources are tried in turn. Size and digest are checked while the bytes come; a source that sends nothing for
//! a while is given up. Bytes of a wrong source never reach the destination's name.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use footplate_core::artifact::ArtifactRef;
use footplate_core::target::Source;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::{Fetch, FetchError};
use crate::archive::Hasher;
use crate::disk::{self, DiskError};

/// How long a source may send nothing, unless the opener says otherwise.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One or more servers that have the same artifacts.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    sources: Vec<Source>,
    silence_max: Duration,
}

/// Why an artifact did not come.
enum Trouble {
    /// The source does not answer, or cannot now: a server that is being restarted.
    Absent(String),
    /// The source is at fault; another may do better.
    Source(String),
    /// Our disk is; no source helps.
    Disk(DiskError),
}

impl From<String> for Trouble {
    fn from(because: String) -> Self {
        Trouble::Source(because)
    }
}

impl From<DiskError> for Trouble {
    fn from(error: DiskError) -> Self {
        Trouble::Disk(error)
    }
}

impl Http {
    /// Returns a driver for these sources, best first, that speaks through `client`.
    ///
    /// Give one client to all: it keeps connections open. Its own timeouts must not bound a whole download.
    pub fn new(client: reqwest::Client, sources: Vec<Source>) -> Self {
        Self { client, sources, silence_max: SILENCE_MAX }
    }

    /// Returns the driver with another patience for a source that sends nothing.
    #[must_use]
    pub fn silence_max(mut self, silence_max: Duration) -> Self {
        self.silence_max = silence_max;
        self
    }

    fn request(&self, source: &Source, artifact: &ArtifactRef) -> reqwest::RequestBuilder {
        let request = self.client.get(format!("{}/{}", source.base, artifact.digest));
        match &source.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn fetch_from(&self, source: &Source, artifact: &ArtifactRef, to: &Path) -> Result<(), Trouble> {
        let request = self.request(source, artifact);
        let answer = self.patiently(request.send()).await.map_err(Trouble::Absent)?;
        if answer.status().is_server_error() {
            return Err(Trouble::Absent(self.refusal(answer).await));
        }
        if !answer.status().is_success() {
            return Err(self.refusal(answer).await.into());
        }
        let mut file = tokio::fs::File::create_new(to).await.map_err(disk::failed("create", to))?;
        let mut hasher = Hasher::default();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) =
            self.patiently(async { pieces.next().await.transpose() }).await.map_err(Trouble::Absent)?
        {
            hasher.push(&piece);
            if hasher.bytes() > artifact.bytes {
                let announced = artifact.bytes;
                return Err(format!("it sends more than the {announced} bytes that were announced").into());
            }
            file.write_all(&piece).await.map_err(disk::failed("write", to))?;
        }
        file.flush().await.map_err(disk::failed("write", to))?;
        match hasher.finish() {
            found if found == *artifact => Ok(()),
            found if found.bytes < artifact.bytes => {
                Err(format!("it sent {} of {} bytes", found.bytes, artifact.bytes).into())
            }
            found => Err(format!("it sent bytes of {}", found.digest).into()),
        }
    }

    /// Waits for the next sign of life from the other side.
    async fn patiently<T>(&self, step: impl Future<Output = Result<T, reqwest::Error>>) -> Result<T, String> {
        match tokio::time::timeout(self.silence_max, step).await {
            Ok(done) => done.map_err(|error| crate::chain(&error)),
            Err(_) => Err(format!("it sent nothing for {:?}", self.silence_max)),
        }
    }

    /// Returns what a server said when it said no; at most 200 characters of it.
    async fn refusal(&self, answer: reqwest::Response) -> String {
        let status = answer.status();
        let said = self.patiently(answer.text()).await.unwrap_or_else(|error| error);
        let said: String = said.trim().chars().take(200).collect();
        if said.is_empty() { format!("it says {status}") } else { format!("it says {status}: {said}") }
    }
}

#[async_trait]
impl Fetch for Http {
    async fn fetch(
        &self,
        artifact: &ArtifactRef,
        destination: &Path,
        stop: &CancellationToken,
    ) -> Result<(), FetchError> {
        let failed = |because: String, next: &str| FetchError {
            artifact: artifact.clone(),
            because,
            next: next.to_owned(),
            is_absence: false,
        };
        let on_disk = |error: DiskError| failed(crate::chain(&error), &error.next());
        let (mut reasons, mut absent) = (Vec::new(), 0);
        for source in &self.sources {
            let fetched = tokio::select! {
                () = stop.cancelled() => None,
                fetched = self.fetch_from(source, artifact, destination) => Some(fetched),
            };
            if let Some(Ok(())) = fetched {
                return Ok(());
            }
            disk::remove_file(destination).map_err(on_disk)?;
            match fetched {
                Some(Err(Trouble::Absent(because))) => {
                    absent += 1;
                    reasons.push(format!("{}: {because}", source.base));
                }
                Some(Err(Trouble::Source(because))) => reasons.push(format!("{}: {because}", source.base)),
                Some(Err(Trouble::Disk(error))) => return Err(on_disk(error)),
                _ => return Err(failed("it was stopped".to_owned(), "none; it was stopped on purpose")),
            }
        }
        if reasons.is_empty() {
            reasons.push("no source for artifacts is known".to_owned());
        }
        let next =
            "check that the controller runs and can be reached from this host; it is tried again by itself";
        let is_absence = absent > 0 && absent == self.sources.len();
        Err(FetchError { is_absence, ..failed(reasons.join("; "), next) })
    }
}
