//! What Footplate decides: who is required, what a rollout becomes, what a target does next.
//!
//! Invariants: no IO, no clock, no async, no randomness, no `HashMap` order. Time comes in as [`moment::Moment`].
//! The same input gives the same answer on every machine.
//! The modules stand in reading order; each may import only those above it.

pub mod artifact;
pub mod fleet;
pub mod generation;
pub mod moment;
pub mod name;
pub mod record;
pub mod release;
pub mod retention;
pub mod rollout;
pub mod target;
