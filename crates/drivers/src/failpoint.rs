//! Named places where a test may kill the process, to prove that the next one repairs what it left.
//!
//! Compiled always, inert unless the environment variable `FOOTPLATE_FAILPOINTS` names them (separated by commas)
//! when the process first passes one. The action is always the same: abort, as `kill -9` or a crash would.

use std::sync::OnceLock;

/// The environment variable that arms failpoints.
pub const VARIABLE: &str = "FOOTPLATE_FAILPOINTS";

/// Every failpoint there is, in the order in which a deployment passes them; a test can walk them all.
pub const NAMES: [&str; 24] = [
    "controller.lease_taken",
    "agent.announced",
    "controller.records_written",
    "controller.orders_written",
    "agent.order_heard",
    "agent.order_remembered",
    "prepare.begun",
    "prepare.leftover_removed",
    "prepare.fetched",
    "prepare.unpacked",
    "prepare.hook_done",
    "prepare.synced",
    "prepare.marked",
    "agent.acted",
    "agent.report_written",
    "agent.barrier_seen",
    "activate.begun",
    "activate.pending_marked",
    "activate.link_made",
    "activate.link_renamed",
    "activate.link_synced",
    "activate.hook_done",
    "clean.unmarked",
    "clean.removed",
];

/// Aborts the process when the environment names this failpoint; otherwise does nothing.
///
/// # Panics
/// In builds with debug assertions, when `name` is missing from [`NAMES`].
pub fn pass(name: &'static str) {
    static ARMED: OnceLock<Vec<String>> = OnceLock::new();
    debug_assert!(NAMES.contains(&name), "the failpoint `{name}` is not listed in failpoint::NAMES");
    let armed = ARMED.get_or_init(|| {
        let names = std::env::var(VARIABLE).unwrap_or_default();
        names.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    });
    if armed.iter().any(|armed| armed == name) {
        tracing::warn!(name, "failpoint reached: aborting");
        std::process::abort();
    }
}

/// Names a place where a test may kill the process: `failpoint!("prepare.unpacked")`.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::pass($name)
    };
}
