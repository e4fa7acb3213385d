//! Real processes that are killed, cut off and starved in the middle of deployments.
//!
//! What must hold at every instant: `live` is the old or the new release, whole. What must hold at the end: the rollout
//! is over, and every host runs what it says. `FOOTPLATE_PROVE_PROCESSES=1` makes everything longer.

mod crowded_disk;
mod cut_network;
mod killed;
mod lost_store;
mod quiet;
mod site;

/// Whether this is the long run of `cargo xtask prove processes`.
fn is_long() -> bool {
    std::env::var_os("FOOTPLATE_PROVE_PROCESSES").is_some()
}
