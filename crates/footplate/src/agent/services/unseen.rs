//! Services that do not let themselves be looked at: a keeper that stands still, a file that cannot be read.
//!
//! Invariant: each is said once when that begins and once when it is over, and hides none of the others.

use std::collections::BTreeSet;

use footplate_drivers::chain;
use footplate_drivers::service::{Look, ServiceName, Status};

/// The services that could not be looked at the last time.
#[derive(Default)]
pub struct Unseen(BTreeSet<ServiceName>);

impl Unseen {
    /// Takes a round of looks; returns how those stand that could be looked at.
    pub fn note(&mut self, looks: Vec<Look>) -> Vec<Status> {
        let mut seen = Vec::new();
        let mut unseen = BTreeSet::new();
        for (name, looked) in looks {
            match looked {
                Ok(status) => seen.push(status),
                Err(error) => {
                    if !self.0.contains(&name) {
                        let next = error.next();
                        tracing::error!(service = %name, "cannot see how it stands: {}\n  next: {next}", chain(&error));
                    }
                    unseen.insert(name);
                }
            }
        }
        for name in self.0.difference(&unseen) {
            tracing::info!(service = %name, "it is seen again how it stands");
        }
        self.0 = unseen;
        seen
    }
}
