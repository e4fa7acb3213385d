//! Where an agent fetches artifacts from, and sends counts to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place that serves artifacts, `GET BASE/sha256:HEX`, or takes what routers counted, `POST BASE/HOST`. `Debug` hides the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The address up to the digest or the host, without a trailing slash.
    pub base: String,
    /// The bearer token to show; a secret, never logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "hidden");
        f.debug_struct("Source").field("base", &self.base).field("token", &token).finish()
    }
}
