//! What Footplate decides: who is required, what a rollout becomes, what a target does next.
//!
//! Invariants: no IO, no clock, no async, no randomness, no `HashMap` order. Time comes in as [`moment::Moment`].
//! The same input gives the same answer on every machine.
//! The modules stand in reading order (the empty lines keep it); each may import only those above it.

pub mod name;

pub mod moment;

pub mod refusal;

pub mod generation;

pub mod artifact;

pub mod release;

pub mod health;

pub mod target;

pub mod selector;

pub mod retention;

pub mod traffic;

pub mod usage;

pub mod verdict;

pub mod gate;

pub mod rollout;

pub mod fleet;

pub mod train;

pub mod record;
