//! The roles together: a real controller and real agents in one process, on the memory store, used through the API.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accepting;
mod asking;
mod counting;
mod deploying;
mod discovering;
mod forgetting;
mod grouped;
mod guarding;
mod keeping;
mod reached;
mod recorded;
mod seconds;
mod serving;
mod site;
mod steering;
mod taking_over;
