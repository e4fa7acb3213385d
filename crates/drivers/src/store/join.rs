//! Exchanging a join token for a host's own credential: the embedded store's `POST /v1/acl/join`.

use serde::{Deserialize, Serialize};

use super::http::{self, ANSWER_WITHIN, excerpt};
use super::{Config, Secret, StoreError};

#[derive(Serialize)]
struct Wanted<'a> {
    name: &'a str,
}

#[derive(Deserialize)]
struct Given {
    token: String,
}

/// Joins the embedded store at `config` as `name`, and returns the credential that is good for that name alone.
///
/// Uses up one use of the join token. The credentials in `config` are not shown.
///
/// # Errors
/// [`StoreError::Denied`] when the join token is wrong, used up or expired, [`StoreError::Misconfigured`] when the store
/// is not the embedded one.
pub async fn join(config: &Config, name: &str, token: &Secret) -> Result<Secret, StoreError> {
    let http = http::open("embedded store", config)?;
    let request = http.client().post(format!("{}/v1/acl/join", http.url()));
    let body = serde_json::to_vec(&Wanted { name }).expect("a name is text");
    let request = request.header("X-Consul-Token", token.expose()).body(body);
    let answer = http.send(request, ANSWER_WITHIN).await?;
    let text = String::from_utf8_lossy(&answer.body);
    match answer.status.as_u16() {
        200 => match serde_json::from_str::<Given>(&text) {
            Ok(given) => Ok(Secret::new(given.token)),
            Err(_) => Err(http.unavailable("its answer to the join is none that we can read")),
        },
        401 | 403 => Err(http.denied(text)),
        400 | 404 | 405 => Err(StoreError::Misconfigured(format!(
            "{} takes no join token: {}",
            config.address,
            excerpt(&text)
        ))),
        _ => Err(http.unavailable(text)),
    }
}
