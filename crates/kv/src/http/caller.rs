//! Who asks, and what they may do.

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use crate::rules::Access;
use crate::shared::Shared;
use crate::token::{Kind, Token, id_of};

/// Consul's words for a token that may not do what it asks.
pub const DENIED: &str = "Permission denied";

/// The one who makes a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Tokens are off: everybody may do everything.
    Anybody,
    /// No token came with the request.
    Nobody,
    /// The holder of this token.
    Holder(Arc<Token>),
}

impl Caller {
    /// Finds out who makes a request with these headers.
    ///
    /// # Errors
    /// A token came that is not known, in Consul's words.
    pub fn of(shared: &Shared, headers: &HeaderMap) -> Result<Caller, &'static str> {
        if !shared.tokens {
            return Ok(Caller::Anybody);
        }
        let Some(text) = token(headers) else {
            return Ok(Caller::Nobody);
        };
        let state = shared.read();
        let known = id_of(text).and_then(|id| state.token(id)).filter(|token| token.is(text));
        known.map(|token| Caller::Holder(token.clone())).ok_or("ACL not found")
    }

    /// Tells whether tokens and everything else are open to it.
    pub fn is_root(&self) -> bool {
        match self {
            Caller::Anybody => true,
            Caller::Nobody => false,
            Caller::Holder(token) => token.kind == Kind::Root,
        }
    }

    /// Tells whether it may access one key so.
    pub fn may_key(&self, key: &str, wanted: Access) -> bool {
        self.is_root() || self.rights().is_some_and(|rights| rights.allow_key(key, wanted))
    }

    /// Tells whether it may access everything below a prefix so.
    pub fn may_tree(&self, prefix: &str, wanted: Access) -> bool {
        self.is_root() || self.rights().is_some_and(|rights| rights.allow_tree(prefix, wanted))
    }

    /// Tells whether it may access sessions so.
    pub fn may_sessions(&self, wanted: Access) -> bool {
        self.is_root() || self.rights().is_some_and(|rights| rights.allow_sessions(wanted))
    }

    /// Tells whether it may read what belongs to no key: metrics and the server's description.
    pub fn is_known(&self) -> bool {
        self.is_root() || self.rights().is_some()
    }

    /// Returns the id of its token.
    pub fn token_id(&self) -> Option<&str> {
        match self {
            Caller::Holder(token) => Some(&token.id),
            _ => None,
        }
    }

    fn rights(&self) -> Option<&crate::rules::Rights> {
        match self {
            Caller::Holder(token) => match &token.kind {
                Kind::Client(rights) => Some(rights),
                Kind::Root | Kind::Join { .. } => None,
            },
            _ => None,
        }
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get("x-consul-token").and_then(|value| value.to_str().ok());
    let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
    own.or_else(bearer).map(str::trim).filter(|text| !text.is_empty())
}
