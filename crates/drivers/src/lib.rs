//! Footplate's hands: one folder per family of drivers, each a trait, a contract and an `open`.
//!
//! Invariants: a family never imports another, and none holds policy: it reports facts and does as told.

pub mod store;
