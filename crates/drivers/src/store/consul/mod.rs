//! Consul's KV API: a low-level [`Client`], and the [`Consul`] store on it. The embedded server speaks the same API.

mod client;
mod quiet;
mod store;
mod wire;

pub use client::{Blocking, Client, Indexed};
pub use store::Consul;
pub use wire::{Behavior, Condition, Failure, Operation, Pair, Removal, SessionRequest, TransactionOutcome};
