//! The two long polls of a deployment: the list of versions, and `current`.
//!
//! Invariants: the store in trouble is asked again with growing pauses, for ever; an index that falls starts from 0; a
//! burst of others' writes costs few questions ([`Pace`]); `current` is never made to wait once it exists.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use footplate_drivers::store::consul::Indexed;
use footplate_drivers::store::{StoreError, Trouble, Troubles};
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
        let mut poll = Poll::new(self.troubles.of(format!("list {}", self.prefix.folder())));
        let mut known: Option<BTreeSet<Version>> = None;
        let mut pace = Pace::default();
        loop {
            let heard = poll.hear(|seen| self.wire.versions(&self.prefix, seen, self.wait)).await;
            let brought = compare(known.as_ref(), &heard.value);
            let news = match brought {
                Brought::Added | Brought::Removed => News::Versions(heard.value.clone()),
                Brought::Nothing => News::Stirred,
            };
            known = Some(heard.value);
            if heard.is_new && self.news.send(news).await.is_err() {
                return;
            }
            if self.switched.swap(false, Ordering::Relaxed) {
                pace.reset();
            }
            if heard.is_new || heard.after < self.wait / 2 {
                tokio::time::sleep(pace.after(brought, heard.after)).await;
            }
        }
    }

    /// Watches `current` until nobody listens any more.
    pub async fn current(self) {
        let mut poll = Poll::new(self.troubles.of(format!("read {}", self.prefix.current())));
        let mut known: Option<Wish> = None;
        loop {
            let heard = poll.hear(|seen| self.wire.current(&self.prefix, seen, self.wait)).await;
            let is_absent = heard.value.index == 0;
            if known.as_ref() != Some(&heard.value) {
                self.switched.store(true, Ordering::Relaxed);
                known = Some(heard.value.clone());
                if self.news.send(News::Current(heard.value)).await.is_err() {
                    return;
                }
            }
            if (is_absent && heard.is_new) || (!heard.is_new && heard.after < self.wait / 2) {
                tokio::time::sleep(ABSENT).await;
            }
        }
    }
}

/// One long poll: the index that was seen, and how trouble is borne.
struct Poll {
    seen: u64,
    trouble: Trouble,
}

/// What a long poll brought.
struct Heard<T> {
    value: T,
    /// Whether the index is another than the one before.
    is_new: bool,
    /// How long the answer took.
    after: Duration,
}

impl Poll {
    fn new(trouble: Trouble) -> Self {
        Self { seen: 0, trouble }
    }

    /// Asks for what is newer than what was seen, again and again until the store answers.
    async fn hear<T, A>(&mut self, ask: impl Fn(u64) -> A) -> Heard<T>
    where
        A: Future<Output = Result<Indexed<T>, StoreError>>,
    {
        loop {
            let asked = Instant::now();
            match ask(self.seen).await {
                Ok(Indexed { index, value }) => {
                    self.trouble.is_over();
                    let is_new = index != self.seen;
                    self.seen = if index < self.seen { 0 } else { index };
                    return Heard { value, is_new, after: asked.elapsed() };
                }
                Err(error) => {
                    self.seen = 0;
                    tokio::time::sleep(self.trouble.failed(&error)).await;
                }
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
