//! An order that is not carried out, as a value: what, because of what, and what to do next.

/// Why a person's order is refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {because}; next: {next}")]
pub struct Refusal {
    /// What is not done: "cannot promote `production.shop`".
    pub what: String,
    /// Why not, in a sentence without a full stop.
    pub because: String,
    /// What the person can do instead.
    pub next: String,
}

impl Refusal {
    /// Returns the refusal with these three parts.
    pub fn new(what: impl Into<String>, because: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), because: because.into(), next: next.into() }
    }
}
