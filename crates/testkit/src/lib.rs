//! Real servers for tests: Consul, etcd, HAProxy and Prometheus, each on free ports in a folder of its own, gone when the test is. Beside them what a
//! proxy is tested between: services (`backend`) and clients under load (`load`).
//!
//! Invariants: everything listens on loopback only; a server dies with the test, even when the test is killed;
//! a missing program is an error that says how to install it, never a skip.

pub mod backend;
mod brood;
mod certificate;
mod consul;
pub mod crowd;
mod elder;
mod etcd;
mod haproxy;
pub mod load;
pub mod long;
mod port;
pub mod process;
mod prometheus;
mod proxy;
mod server;
pub mod wire;

pub use brood::Brood;
pub use certificate::Certificates;
pub use consul::{Consul, ConsulSetup};
pub use elder::Elder;
pub use etcd::{Access, Etcd};
pub use haproxy::{haproxy, start_haproxy, wait_for_haproxy};
pub use port::free_port;
pub use prometheus::Prometheus;
pub use proxy::Proxy;
pub use server::{Server, cached_program};

use std::time::{Duration, Instant};

/// Polls `holds` every 10 ms until it says yes; panics with `what` when `patience` is over.
///
/// What a test uses in place of a sleep.
pub async fn eventually<F, C>(what: &str, patience: Duration, mut holds: F)
where
    F: FnMut() -> C,
    C: Future<Output = bool>,
{
    let deadline = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
