//! Trouble with the store, said once when it begins and once when it is over, however many tasks have it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use footplate_drivers::store::StoreError;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Returns a number between 0 and 1, by which the pauses of a fleet spread.
pub fn chance() -> f64 {
    SmallRng::from_os_rng().random()
}

/// Who has trouble now.
#[derive(Debug, Default)]
pub struct Trouble {
    struck: Mutex<BTreeSet<String>>,
}

impl Trouble {
    /// Notes that `what` failed.
    pub fn strikes(&self, what: &str, error: &StoreError) {
        let mut struck = self.struck.lock().expect("no holder of this lock panics");
        if struck.is_empty() {
            let why = footplate_drivers::chain(error);
            tracing::warn!("{why}; what runs keeps running, and we keep trying");
        }
        if struck.insert(what.to_owned()) {
            tracing::debug!("cannot {what}: {error}");
        }
    }

    /// Notes that `what` worked.
    pub fn passes(&self, what: &str) {
        let mut struck = self.struck.lock().expect("no holder of this lock panics");
        if struck.remove(what) && struck.is_empty() {
            tracing::info!("the store answers again");
        }
    }
}
