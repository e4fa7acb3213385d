//! The store family against real servers: one contract for all drivers, and what happens when the weather is bad.

#![allow(clippy::unwrap_used)]

mod contract;
mod drivers;
mod faults;
mod presence;
mod site;
