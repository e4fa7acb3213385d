//! Depro's agent and commands: the original's tree, configuration and command line, with its faults repaired.
//!
//! A role of its own on the store: it knows neither the controller nor our own layout. Pure parts first ([`tree`],
//! [`duration`], [`config`], [`plan`], [`pace`], [`readiness`]), then what touches the world.
//! `docs/reference/depro.md` is the protocol, `docs/guide/from-depro.md` says what differs from the original on purpose.

pub mod agent;
pub mod config;
pub mod deploy;
pub mod duration;
mod folder;
mod job;
mod listing;
pub mod pace;
pub mod plan;
mod publisher;
pub mod query;
pub mod readiness;
mod script;
mod session;
pub mod stop;
pub mod talk;
pub mod tree;
mod watcher;
mod wire;
mod worker;
