//! What an operator does to a whole store: tokens of the embedded one, policies for the others, moving a site.
//!
//! Invariant: only these few things; whoever wants a key of a site asks the controller.

use std::fmt;
use std::time::Duration;

pub use footplate_drivers::discovery::consul::rights as services;
pub use footplate_drivers::store::policy::{Dialect, Role, policy};
pub use footplate_drivers::store::{Copied, CopyError, copy};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::store::StoreSettings;
use crate::failure::{Exit, Failure};
use crate::secret::Secret;
use crate::trust;

/// How long the store may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// A host's name that stands for whichever host joins.
const ANY_HOST: &str = "name-of-the-host-that-joins";

/// A token as the store lists it. `Debug` hides the token itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What `revoke` takes; not secret.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may do, as the store says it.
    pub kind: Value,
    /// Seconds since 1970 when it was made.
    pub created: u64,
    /// The token itself; only in the answer that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a new token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Everything, tokens included.
    Root,
    /// What a role may do.
    Role(Role),
    /// Each use makes a token of one agent.
    Join {
        /// How often it can be used.
        uses: u32,
        /// For how long.
        valid: Duration,
    },
}

/// The tokens of an embedded store, over its published API (`docs/reference/store-api.md`).
pub struct Tokens {
    http: reqwest::Client,
    url: String,
    root: String,
    credential: Option<Secret>,
}

impl Tokens {
    /// Prepares to ask the store; sends nothing.
    pub fn open(store: &StoreSettings) -> Result<Self, Failure> {
        let config = store.config()?;
        let credential = store.token_file.as_deref().map(Secret::read).transpose()?;
        let unusable = |error: &dyn std::error::Error| {
            Failure::new(Exit::Usage, "cannot prepare for TLS")
                .because(error)
                .next("name a PEM file with the authority's certificate, with `--store-ca-file`")
        };
        let roots = trust::at(config.address.url(), store.ca_file.as_deref());
        let http = trust::client(roots.map_err(|error| unusable(&error))?).build();
        let http = http.map_err(|error| unusable(&error))?;
        Ok(Self { http, url: config.address.url().to_owned(), root: config.root, credential })
    }

    /// Makes a token and returns it with its text.
    pub async fn create(&self, name: &str, purpose: &Purpose) -> Result<Token, Failure> {
        let wanted = match purpose {
            Purpose::Root => json!({ "kind": "root", "name": name }),
            Purpose::Role(role) => json!({ "kind": "client", "name": name, "rights": self.rights(role) }),
            Purpose::Join { uses, valid } => {
                let any = Role::Agent(ANY_HOST.parse().expect("it is a valid name"));
                let rights = self.rights(&any).to_string().replace(ANY_HOST, "{name}");
                let rights: Value = serde_json::from_str(&rights).expect("a name became another");
                json!({
                    "kind": "join", "name": name, "rights": rights, "uses": uses,
                    "expires_in_seconds": valid.as_secs(),
                })
            }
        };
        let text = self.ask(Method::POST, "/v1/acl/token", Some(&wanted), "cannot make a token").await?;
        self.understand(&text)
    }

    /// Lists the tokens, without their texts.
    pub async fn list(&self) -> Result<Vec<Token>, Failure> {
        let text = self.ask(Method::GET, "/v1/acl/tokens", None, "cannot list the tokens").await?;
        self.understand(&text)
    }

    /// Makes a token void.
    pub async fn revoke(&self, id: &str) -> Result<(), Failure> {
        let known = id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let what = format!("cannot revoke the token `{}`", id.escape_debug());
        if !known {
            return Err(Failure::new(Exit::Usage, what)
                .because_of("an id is hexadecimal digits")
                .next("see `footplate store token list`"));
        }
        self.ask(Method::DELETE, &format!("/v1/acl/token/{id}"), None, &what).await.map(drop)
    }

    fn rights(&self, role: &Role) -> Value {
        let text = policy(&self.root, Dialect::Embedded, role);
        serde_json::from_str(&text).expect("the rights are rendered as JSON")
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<String, Failure> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).timeout(ANSWER_DEADLINE);
        if let Some(credential) = &self.credential {
            request = request.header("X-Consul-Token", credential.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: reqwest::Error| {
            Failure::new(Exit::Unreachable, what)
                .because(&error.without_url())
                .next(format!("start the store, or correct `--store` (now {})", self.url))
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        if status.is_success() { Ok(text) } else { Err(refused(what, status, &text)) }
    }

    fn understand<T: for<'de> Deserialize<'de>>(&self, text: &str) -> Result<T, Failure> {
        serde_json::from_str(text).map_err(|error| {
            Failure::new(Exit::Unreachable, format!("cannot understand the store at {}", self.url))
                .because(&error)
                .next("tokens are the embedded store's; for Consul and etcd see `footplate store policy`")
        })
    }
}

fn refused(what: &str, status: StatusCode, text: &str) -> Failure {
    let next = match status {
        StatusCode::FORBIDDEN => "show the root token with `--store-token-file FOLDER/root.token`",
        StatusCode::UNAUTHORIZED => "start the store with `footplate store serve --tokens`",
        _ => "tokens are the embedded store's; for Consul and etcd see `footplate store policy`",
    };
    let said = text.chars().take(200).collect::<String>();
    Failure::new(Exit::Refused, what).because_of(format!("the store says {status}: {said}")).next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_token_does_not_print_its_text() {
        let token = Token {
            id: "0123".to_owned(),
            name: "controller".to_owned(),
            kind: Value::Null,
            created: 0,
            token: Some("hunter2".to_owned()),
        };
        assert_eq!(format!("{token:?}"), r#"Token { id: "0123", name: "controller", .. }"#);
    }
}
