//! A single-node key-value server that speaks a named subset of Consul's KV API.
//!
//! In reading order: `entry`, `state` (what is), `command` (what can be asked), `draft`, `transaction`, `timers` and
//! `machine` (what becomes of it: pure), `rules` and `token` (who may), `disk` and `writer` (durability), `watch` and
//! `shared` (blocking reads), `http` (the API), `server` (all together). `docs/reference/store-api.md` is the contract.

pub mod backup;
pub mod command;
pub mod config;
mod disk;
mod draft;
mod duration;
pub mod entry;
pub mod failure;
mod http;
mod listen;
mod lock;
pub mod machine;
mod metrics;
mod root;
pub mod rules;
pub mod server;
mod shared;
pub mod slow;
pub mod state;
pub mod timers;
pub mod token;
pub mod transaction;
pub mod watch;
mod writer;

pub use config::{Config, Limits, Tls};
pub use failure::Failure;
pub use http::BODY_BYTES_MAX;
pub use listen::raise_open_files;
pub use root::FILE as ROOT_TOKEN_FILE;
pub use server::Server;
