//! KPIs of other systems: one contract for all drivers, against a real Prometheus, a real HTTP server and real programs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod command;
mod contract;
mod http;
mod prometheus;
mod server;
