//! The router as its clients, its endpoints and its operator see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod basics;
mod site;
