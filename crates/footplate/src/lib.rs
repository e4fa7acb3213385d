//! The roles of Footplate: agent, controller, depro, and the command line that starts them.
//!
//! Invariants: `agent` and `controller` never import each other; `cli` talks to the controller through `client`,
//! never to a store; only `main` and `cli` know all roles.

pub mod agent;
pub mod api;
pub mod cli;
pub mod client;
mod clock;
pub mod config;
pub mod controller;
pub mod depro;
pub mod evidence;
pub mod failure;
pub mod freeze;
pub mod keeper;
pub mod secret;
pub mod ship;
pub mod stores;
pub mod up;

pub use footplate_drivers::trust;

/// This build's version of Footplate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Installs ring as the one crypto provider of this process; call it first in `main` and in each test program.
///
/// Doing it twice is fine: the first one stays.
pub fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race against another thread that installs the same provider is no failure.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}
