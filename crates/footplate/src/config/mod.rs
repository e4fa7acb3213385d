//! The files people write: `footplate.toml` in an app's repository, `agent.toml`, `controller.toml`, and the context
//! file that `footplate up` leaves for the command line.
//!
//! Invariants: a file is read whole and every mistake in it is shown at once, underlined; an unknown key is a mistake;
//! whoever gets a configuration gets only valid values.

pub mod agent;
pub mod app;
pub mod context;
pub mod controller;
pub mod discovery;
pub mod duration;
mod gate;
mod kpi;
pub mod mistake;
mod reach;
mod requests;
pub mod role;
mod rollout;
mod router;
mod service;
pub mod store;
pub mod table;
