//! How long a canary may go on with its share, for everybody here who divides requests: the router and the catalog of services.
//!
//! Invariants: a canary that nobody was seen to renew within its validity gets nothing; so does one that was there when the app
//! was first seen, until it is renewed: how long ago it was, nobody says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use footplate_core::name::AppPath;
use footplate_core::traffic::{Canary, Share, Traffic};

/// When each app's canary was renewed last, as far as it was seen.
#[derive(Default)]
pub struct Renewals(BTreeMap<AppPath, Renewal>);

/// One app's.
struct Renewal {
    number: u64,
    /// Nothing for what was there when it was first seen.
    at: Option<Instant>,
}

impl Renewals {
    /// Notes whose number has changed, and forgets the apps that are not among these.
    pub fn note(&mut self, divisions: &BTreeMap<AppPath, Traffic>) {
        self.0.retain(|path, _| divisions.contains_key(path));
        for (path, traffic) in divisions {
            let number = traffic.canary.as_ref().map_or(0, |canary| canary.renewed);
            let known = self.0.entry(path.clone()).or_insert(Renewal { number, at: None });
            if known.number != number {
                *known = Renewal { number, at: Some(Instant::now()) };
            }
        }
    }

    /// Returns a division as it holds now: a canary that may not go on gets nothing.
    pub fn in_force(&self, path: &AppPath, traffic: &Traffic) -> Traffic {
        let mut traffic = traffic.clone();
        if let Some(canary) = &mut traffic.canary
            && self.left(path, canary).is_none()
        {
            canary.share = Share::NONE;
        }
        traffic
    }

    /// Returns how long it is until the first of these canaries may not go on if nobody renews it.
    pub fn next_end(&self, divisions: &BTreeMap<AppPath, Traffic>) -> Duration {
        let left = divisions.iter().filter_map(|(path, traffic)| self.left(path, traffic.canary.as_ref()?));
        left.min().unwrap_or(Duration::MAX)
    }

    /// Returns how long a canary may go on with its share; nothing once that is over.
    fn left(&self, path: &AppPath, canary: &Canary) -> Option<Duration> {
        let left = canary.validity.checked_sub(self.0.get(path)?.at?.elapsed())?;
        (!left.is_zero()).then_some(left)
    }
}
