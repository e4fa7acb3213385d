//! The store family against real servers: one contract for all drivers, and what happens when the weather is bad.

mod contract;
mod drivers;
