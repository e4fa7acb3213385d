//! Routers: one contract that all of them hold, and what each has for itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod builtin;
mod contract;
mod haproxy;
mod secure;
mod site;
mod staying;
mod template;
