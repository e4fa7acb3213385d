//! The store family against real servers: one contract for all drivers, and what happens when the weather is bad.

#![allow(clippy::unwrap_used)]

mod contract;
mod copies;
mod drivers;
mod faults;
mod policies;
mod site;
