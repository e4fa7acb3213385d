//! Clients of every kind at work, none of which may notice anything.

use std::net::SocketAddr;
use std::time::Duration;

use footplate_testkit::crowd;
use footplate_testkit::load::{Outcome, Running};
use footplate_testkit::process::eventually;
use tokio::runtime::{Builder, Runtime};

/// All of it, on a thread of its own.
pub struct Traffic {
    pub runtime: Runtime,
    running: Vec<(&'static str, Running)>,
}

impl Traffic {
    /// Starts clients of every kind.
    pub fn start(address: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        let running = crowd::start(address, Duration::ZERO);
        drop(_inside);
        Self { runtime, running }
    }

    /// Returns how many requests have ended so far.
    pub fn done(&self) -> u64 {
        self.running.iter().map(|(_, running)| running.done()).sum()
    }

    /// Waits for so many more requests.
    pub fn wait_for(&self, more: u64) {
        let wanted = self.done() + more;
        eventually(&format!("{more} more requests"), || self.done() >= wanted);
    }

    /// Lets every client finish, and fails unless each had all its requests answered.
    pub fn must_be_whole(self) -> Outcome {
        let mut all = Outcome::default();
        let mut said = Vec::new();
        for (name, running) in self.running {
            let outcome = self.runtime.block_on(running.stop());
            assert!(outcome.requests > 10, "{name}: {} requests", outcome.requests);
            if outcome.failed > 0 {
                said.push(format!(
                    "{name}: {} of {}: {:?}",
                    outcome.failed, outcome.requests, outcome.failures
                ));
            }
            println!("{name}: {} requests, p99 {:?}", outcome.requests, outcome.quantile(0.99));
            all.add(outcome);
        }
        assert!(said.is_empty(), "requests failed:\n{}", said.join("\n"));
        all
    }
}
