//! Services of real processes, swapped, killed and taken back while clients of every kind count each failure.
//!
//! Everything is written against [`front::Front`], whichever router it is.

mod bad;
mod cells;
mod front;
mod judged;
mod killed;
mod registry;
mod site;
mod traffic;
mod witness;
