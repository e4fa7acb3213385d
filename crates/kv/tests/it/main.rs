//! The store as its clients see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod differential;
mod fan_out;
mod full_disk;
mod linearizable;
mod listening;
mod model;
mod restore;
mod seed;
mod site;
mod smoke;
mod tokens;
