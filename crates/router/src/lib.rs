//! An HTTP router for versions side by side: shares, drain without a lost request, counts for a verdict.
//!
//! In reading order: `table`, `check`, `route`, `choose`, `key`, `headers`, `framing`, `count`, `failed`, `busy`, `report` (what is decided: pure),
//! `live`, `board`, `line`, `pool`, `attempt`, `body`, `proxy`, `tunnel` (a request's way), `stream`, `taking`, `connection`, `tls`, `worker` (clients),
//! `control`, `folder`, `handover`, `family`, `server` (all together). `docs/reference/router-api.md` is the contract.

mod board;
pub mod busy;
pub mod check;
pub mod choose;
pub mod config;
pub mod control;
mod core;
pub mod count;
pub mod failed;
pub mod failure;
pub mod framing;
pub mod headers;
pub mod key;
pub mod report;
pub mod route;
pub mod server;
pub mod table;

mod attempt;
mod body;
mod clock;
mod connection;
mod family;
mod folder;
mod handover;
mod line;
mod live;
mod pool;
mod proxy;
mod reply;
mod stream;
mod taking;
mod tls;
mod tunnel;
mod worker;

pub use config::{Config, Limits, Listener, Tls};
pub use failure::Failure;
pub use server::Server;
pub use table::Table;
