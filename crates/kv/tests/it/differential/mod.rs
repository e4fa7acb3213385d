//! The same requests to this store and to the real Consul 1.8.7: no difference inside the named subset.
//!
//! Indexes are numbers of two different counters. What is compared is their order: all pairs seen at the same place
//! of two answers must make one strictly increasing relation.

mod operations;
mod pair;
mod random;
mod scripts;
