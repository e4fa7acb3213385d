//! Asks one address by HTTP: with its token, within the deadline of whoever asks, without a redirect, and never for an endless answer.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use serde_json::Value;

use super::{ASK_WITHIN, KpiError, KpiOpenError, Settings, Token};
use crate::http::excerpt;
use crate::secret::Secret;
use crate::trust;

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One address, and the token that it gets.
pub(super) struct Address {
    client: Client,
    pub url: Url,
    token: Option<Token>,
}

impl Address {
    /// Prepares to ask `url`; asks nothing.
    pub fn open(url: &str, token: Option<&str>, settings: &Settings) -> Result<Self, KpiOpenError> {
        let url = Url::parse(url).map_err(|error| KpiOpenError::Address(error.to_string()))?;
        let client = |error: Box<dyn std::error::Error + Send + Sync>| KpiOpenError::Client(error);
        let roots =
            trust::at(url.as_str(), settings.ca_file.as_deref()).map_err(|error| client(error.into()))?;
        let token = token.map(|name| find(name, &url, settings)).transpose()?;
        let built = trust::client(roots).build().map_err(|error| client(error.into()))?;
        Ok(Self { client: built, url, token })
    }

    /// Returns scheme, host and port: all of the address that a reason may show.
    pub fn name(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Asks with GET.
    pub async fn get(&self, url: Url) -> Result<Value, KpiError> {
        self.send(self.client.get(url)).await
    }

    /// Asks with POST and a form, which has no bound on its length.
    pub async fn post(&self, url: Url, form: &[(&str, &str)]) -> Result<Value, KpiError> {
        let written = form.iter().map(|(key, value)| format!("{key}={}", crate::http::encoded(value, "")));
        let body = written.collect::<Vec<_>>().join("&");
        let request = self.client.post(url).header("Content-Type", "application/x-www-form-urlencoded");
        self.send(request.body(body)).await
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<Value, KpiError> {
        let token = match &self.token {
            None => None,
            Some(Token { file, .. }) => {
                let file = file.clone();
                Some(crate::blocking(move || Secret::read(&file)).await?)
            }
        };
        if let Some(token) = &token {
            let header = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut header = header.map_err(|_| self.nonsense("the token cannot stand in a header"))?;
            header.set_sensitive(true);
            request = request.header(AUTHORIZATION, header);
        }
        let unreachable = |error: reqwest::Error| KpiError::Unreachable {
            address: self.name(),
            source: error.without_url(),
        };
        let patience: Duration = ASK_WITHIN;
        let mut response = request.timeout(patience).send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(self.nonsense("its answer is longer than 4 MiB"));
            }
        }
        if !status.is_success() {
            // A server may repeat what it was shown.
            let text = String::from_utf8_lossy(&body);
            let shown = token.map_or_else(|| text.to_string(), |token| text.replace(token.expose(), "…"));
            let answer = excerpt(&shown);
            return Err(KpiError::Refused { address: self.name(), status: status.as_u16(), answer });
        }
        serde_json::from_slice(&body).map_err(|_| self.nonsense("its answer is no JSON"))
    }

    /// Returns the error that its answer is of no use.
    pub fn nonsense(&self, why: impl Into<String>) -> KpiError {
        KpiError::Nonsense { address: self.name(), why: why.into() }
    }
}

/// Finds a token by its name, if it is for this address.
fn find(name: &str, url: &Url, settings: &Settings) -> Result<Token, KpiOpenError> {
    let token = settings.tokens.get(name).ok_or_else(|| KpiOpenError::NoToken(name.to_owned()))?;
    let not_for_it = |why| {
        let address = url.origin().ascii_serialization();
        KpiOpenError::NotForIt { token: name.to_owned(), address, why }
    };
    let own = Url::parse(&token.url).map_err(|error| KpiOpenError::Address(error.to_string()))?;
    if own.origin() != url.origin() {
        return Err(not_for_it("it is for another one"));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback());
    if url.scheme() != "https" && !is_here {
        return Err(not_for_it("without TLS the network would see it"));
    }
    Ok(token.clone())
}
