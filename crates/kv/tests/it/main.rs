//! The store as its clients see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod seed;
mod site;

mod differential;
mod smoke;
