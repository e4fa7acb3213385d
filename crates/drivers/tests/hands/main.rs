//! The hands on real files and real processes: one test binary for all families but the store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod archive;
mod artifact;
mod build;
mod catalog;
mod full;
mod health;
mod hostile;
mod kill;
mod ledger;
mod power;
mod shell;
mod source;
mod support;
mod workload;
