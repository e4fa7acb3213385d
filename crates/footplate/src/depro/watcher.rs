//! The two long polls of a deployment: the list of versions, and `current`.
//!
//! Invariants: the store in trouble is asked again with growing pauses, for ever; an index that falls starts from 0; a
//! burst of others' writes costs few questions ([`Pace`]); `current` is never made to wait once it exists.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use footplate_drivers::store::Troubles;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::pace::{Brought, Pace};
use super::tree::{Prefix, Version};
use super::wire::{Wire, Wish};

/// How long to pause after a wake-up while `current` does not exist: until then it wakes for every write of the tree.
const ABSENT: Duration = Duration::from_millis(150);

/// What a watcher learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The list of versions, when it differs from the last one.
    Versions(BTreeSet<Version>),
    /// Somebody wrote below the prefix; the versions are the same.
    Stirred,
    /// What `current` says now.
    Current(Wish),
}

/// What a watcher needs.
#[derive(Clone)]
pub struct Watcher {
    /// The store.
    pub wire: Arc<Wire>,
    /// The tree.
    pub prefix: Prefix,
    /// How long a question may stay open.
    pub wait: Duration,
    /// Where it says that the store has trouble.
    pub troubles: Troubles,
    /// Set when `current` has changed: the burst is nearly done.
    pub switched: Arc<AtomicBool>,
    /// Who is told.
    pub news: mpsc::Sender<News>,
}

impl Watcher {
    /// Watches the list of versions until nobody listens any more.
    pub async fn versions(self) {
        let mut trouble = self.troubles.of(format!("list {}", self.prefix.folder()));
        let mut known: Option<BTreeSet<Version>> = None;
        let (mut seen, mut pace) = (0, Pace::default());
        loop {
            let asked = Instant::now();
            let answer = match self.wire.versions(&self.prefix, seen, self.wait).await {
                Ok(answer) => answer,
                Err(error) => {
                    seen = 0;
                    tokio::time::sleep(trouble.failed(&error)).await;
                    continue;
                }
            };
            trouble.is_over();
            let stirred = answer.index != seen;
            seen = if answer.index < seen { 0 } else { answer.index };
            let brought = compare(known.as_ref(), &answer.value);
            let news = match brought {
                Brought::Added | Brought::Removed => News::Versions(answer.value.clone()),
                Brought::Nothing => News::Stirred,
            };
            known = Some(answer.value);
            if stirred && self.news.send(news).await.is_err() {
                return;
            }
            if self.switched.swap(false, Ordering::Relaxed) {
                pace.reset();
            }
            if stirred || asked.elapsed() < self.wait / 2 {
                tokio::time::sleep(pace.after(brought, asked.elapsed())).await;
            }
        }
    }

    /// Watches `current` until nobody listens any more.
    pub async fn current(self) {
        let mut trouble = self.troubles.of(format!("read {}", self.prefix.current()));
        let mut known: Option<Wish> = None;
        let mut seen = 0;
        loop {
            let asked = Instant::now();
            let answer = match self.wire.current(&self.prefix, seen, self.wait).await {
                Ok(answer) => answer,
                Err(error) => {
                    seen = 0;
                    tokio::time::sleep(trouble.failed(&error)).await;
                    continue;
                }
            };
            trouble.is_over();
            let woken = answer.index != seen;
            seen = if answer.index < seen { 0 } else { answer.index };
            let absent = answer.value.index == 0;
            if known.as_ref() != Some(&answer.value) {
                self.switched.store(true, Ordering::Relaxed);
                known = Some(answer.value.clone());
                if self.news.send(News::Current(answer.value)).await.is_err() {
                    return;
                }
            }
            if (absent && woken) || (!woken && asked.elapsed() < self.wait / 2) {
                tokio::time::sleep(ABSENT).await;
            }
        }
    }
}

fn compare(known: Option<&BTreeSet<Version>>, now: &BTreeSet<Version>) -> Brought {
    match known {
        None => Brought::Added,
        Some(known) if known == now => Brought::Nothing,
        Some(known) if now.is_subset(known) => Brought::Removed,
        Some(_) => Brought::Added,
    }
}
