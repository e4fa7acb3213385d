//! The query of a request, read as Go reads it: the first value of a name counts, and a name may come without one.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;

use super::reply;
use crate::duration;
use crate::shared::Blocking;

/// The parameters, in the order they came.
#[derive(Clone, Debug)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the query of a request.
    pub fn of(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Parameters(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Tells whether a name is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Returns the first value of a name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the number under a name, if the name is there.
    ///
    /// # Errors
    /// It is no number: 500 in Go's words, as Consul answers.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Response> {
        let Some(text) = self.first(name) else {
            return Ok(None);
        };
        let wrong = |why| {
            let message = format!("strconv.ParseUint: parsing {text:?}: {why}");
            reply::text(StatusCode::INTERNAL_SERVER_ERROR, message)
        };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong("invalid syntax"));
        }
        text.parse().map(Some).map_err(|_| wrong("value out of range"))
    }

    /// Refuses more than one of these names.
    ///
    /// # Errors
    /// Two of them are there: 400.
    pub fn refuse_two_of(&self, names: &[&str]) -> Result<(), Response> {
        if names.iter().filter(|name| self.has(name)).count() < 2 {
            return Ok(());
        }
        let mut sorted = self.0.clone();
        sorted.sort_by(|one, other| one.0.cmp(&other.0));
        let all = form_urlencoded::Serializer::new(String::new()).extend_pairs(sorted).finish();
        Err(reply::text(StatusCode::BAD_REQUEST, format!("Conflicting flags: {all}")))
    }

    /// Reads `index`, `wait` and the consistency words, which a single node needs not.
    ///
    /// # Errors
    /// One of them is malformed: 400.
    pub fn blocking(&self) -> Result<Blocking, Response> {
        let bad = |message: &'static str| reply::text(StatusCode::BAD_REQUEST, message);
        let given = |name| self.first(name).filter(|text: &&str| !text.is_empty());
        let patience = match given("wait") {
            Some(text) => Some(duration::parse(text).map_err(|_| bad("Invalid wait time"))?.or_zero()),
            None => None,
        };
        let seen = match given("index") {
            Some(text) if !text.starts_with('+') => text.parse().map_err(|_| bad("Invalid index"))?,
            Some(_) => return Err(bad("Invalid index")),
            None => 0,
        };
        if self.has("stale") && self.has("consistent") {
            return Err(bad("Cannot specify ?stale with ?consistent, conflicting semantics."));
        }
        Ok(Blocking { seen, patience })
    }
}
