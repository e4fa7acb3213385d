//! The router as its clients, its endpoints and its operator see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod basics;
mod drawing;
mod failing;
mod framing;
mod limits;
mod memory;
mod retries;
mod secure;
mod site;
mod swaps;
mod upgrade;
