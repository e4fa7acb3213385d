//! The roles of Footplate: agent, controller, depro, and the command line that starts them.
//!
//! Invariants: `agent` and `controller` never import each other; `cli` talks to the controller through `client`,
//! never to a store; only `main` and `cli` know all roles.
