//! One host, one agent: holds the host's name in the store for as long as this agent lives.
//!
//! Invariants: an agent that does not hold the name writes nothing; one instance never takes a name that another
//! holds; the former session of the same instance is ended only when this process starts, so that two agents with
//! one (copied) state directory can not take the name from each other for ever; the name is taken in one transaction
//! with this agent's reports, so that a report under a living presence is never a former life's.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::failpoint;
use footplate_drivers::store::{
    Applied, Entry, Guard, Scope, SessionId, Store, StoreError, Transaction, Troubles, Write, transactions,
};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::reporter::{Reporter, Reports};

/// How long a session lives without being renewed.
pub const SESSION_TTL: Duration = Duration::from_secs(30);
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// Every so many renewals the key itself is read, in case somebody deleted it by hand.
const RENEWALS_PER_LOOK: u32 = 8;
/// Every so many renewals it is written instead, with what the machine is like now: every hour. Each such write wakes the
/// controller, which lists all agents, so that ten thousand idle ones cost it three lists a second.
const RENEWALS_PER_WORD: u32 = 240;
/// How long one wait for the name to become free lasts before it is asked for anew.
const FREE_PATIENCE: Duration = Duration::from_secs(60);

/// How long the announcement waits for the first look at every target.
const FIRST_REPORTS_PATIENCE: Duration = Duration::from_secs(2);

/// Whether this agent may speak for its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Not known: the store has not answered yet, or the session was lost.
    Seeking,
    /// It may, for as long as this session lives.
    Held(SessionId),
    /// Another agent does.
    Taken,
}

/// A test of a stored value.
pub type IsOurs = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Makes a value to store.
pub type MakeValue = Box<dyn Fn() -> Vec<u8> + Send + Sync>;

/// What is announced under the name, and by whom.
pub struct Announcement {
    /// The host, for people.
    pub host: String,
    /// `agents/<host>/alive`.
    pub key: String,
    /// `agents/<host>/`: the presence and the reports.
    pub prefix: String,
    /// Makes the presence record of this moment.
    pub value: MakeValue,
    /// Tells whether a stored presence record was written by this instance.
    pub is_ours: IsOurs,
}

/// Holds a host's name; made once for the life of an agent.
pub struct Presence {
    store: Arc<dyn Store>,
    troubles: Troubles,
    announcement: Announcement,
    reporter: Arc<Reporter>,
    membership: watch::Sender<Membership>,
    /// Somebody found the name not to be held.
    doubted: Arc<Notify>,
    /// Whether a former session of this instance may still be ended.
    fresh: bool,
}

impl Presence {
    /// Makes the loop and the place where others read whether the name is held, and where they raise doubts.
    pub fn new(
        store: Arc<dyn Store>,
        troubles: Troubles,
        announcement: Announcement,
        reporter: Arc<Reporter>,
    ) -> (Self, watch::Receiver<Membership>, Arc<Notify>) {
        let (membership, read) = watch::channel(Membership::Seeking);
        let doubted = Arc::new(Notify::new());
        let doubt = Arc::clone(&doubted);
        (Self { store, troubles, announcement, reporter, membership, doubted, fresh: true }, read, doubt)
    }

    /// Seeks the name, holds it, and seeks it again when it is lost. Ends only by being dropped.
    pub async fn run(mut self) {
        let mut trouble = self.troubles.of("announce this host");
        loop {
            match self.seek().await {
                Ok(Some(session)) => {
                    trouble.is_over();
                    self.fresh = false;
                    tracing::info!(
                        host = self.announcement.host,
                        "announced: this agent speaks for the host"
                    );
                    self.membership.send_replace(Membership::Held(session.clone()));
                    self.hold(&session).await;
                    self.membership.send_replace(Membership::Seeking);
                }
                Ok(None) => trouble.is_over(),
                Err(error) => tokio::time::sleep(trouble.failed(&error)).await,
            }
        }
    }

    /// Tries to take the name; `None` when it was not free and another try is due.
    async fn seek(&mut self) -> Result<Option<SessionId>, StoreError> {
        // First, so that a former life's session, and what it said of a router, stands until ours can follow at once.
        self.reporter.first_reports(FIRST_REPORTS_PATIENCE).await;
        let mut seen = self.store.read(&Scope::Prefix(self.announcement.prefix.clone())).await?;
        if let Some(entry) = seen.entries.remove(&self.announcement.key) {
            return self.wait_until_free(&entry).await.map(|()| None);
        }
        let held: Reports = seen.entries.into_iter().map(|(key, entry)| (key, entry.value)).collect();
        let session = self.store.open_session(&self.announcement.host, SESSION_TTL).await?;
        let claimed = self.claim(&session, held).await;
        if matches!(claimed, Ok(Applied::Yes)) {
            return Ok(Some(session));
        }
        // A claim whose answer was lost may have been applied; its session must not keep the name from us.
        if let Err(error) = self.store.close_session(&session).await {
            tracing::debug!("the session {session:?} ends by itself: {error}");
        }
        claimed.map(|_| None)
    }

    /// Writes this agent's reports instead of a former life's, and its presence with the last of them.
    async fn claim(&self, session: &SessionId, held: Reports) -> Result<Applied, StoreError> {
        let key = &self.announcement.key;
        let presence = self.say(session);
        let reports = self.reporter.settle_accounts(&held);
        let mut writes = reports.clone();
        writes.push(presence);
        for transaction in transactions(&[Guard::Absent(key.clone())], writes) {
            if self.store.apply(&transaction).await? == Applied::No {
                return Ok(Applied::No);
            }
        }
        failpoint!("agent.announced");
        self.reporter.note_settled(held, reports);
        Ok(Applied::Yes)
    }

    fn say(&self, session: &SessionId) -> Write {
        let Announcement { key, value, .. } = &self.announcement;
        Write::PutEphemeral(key.clone(), value(), session.clone())
    }

    fn scope(&self) -> Scope {
        Scope::Key(self.announcement.key.clone())
    }

    async fn wait_until_free(&self, entry: &Entry) -> Result<(), StoreError> {
        let ours = (self.announcement.is_ours)(&entry.value);
        match &entry.session {
            Some(former) if ours && self.fresh => {
                tracing::debug!(
                    host = self.announcement.host,
                    "ending the session of this agent's former life"
                );
                return self.store.close_session(former).await;
            }
            Some(_) => self.say_it_is_taken(ours),
            None => self.say_it_has_no_session(),
        }
        let seen = self.store.read(&self.scope()).await?;
        if seen.entries.is_empty() {
            return Ok(());
        }
        self.store.wait(&self.scope(), seen.revision, FREE_PATIENCE).await.map(drop)
    }

    fn say_it_is_taken(&self, ours: bool) {
        if self.membership.send_replace(Membership::Taken) == Membership::Taken {
            return;
        }
        let because = if ours {
            "another agent with a copy of this agent's state directory runs under this name"
        } else {
            "another agent already runs under this name"
        };
        tracing::error!(
            host = self.announcement.host,
            "cannot act for host `{}`\n  because: {because}\n  next: stop one of them, or give this one another name \
             (`host` in agent.toml); this agent changes nothing and goes on when the name is free",
            self.announcement.host
        );
    }

    fn say_it_has_no_session(&self) {
        if self.membership.send_replace(Membership::Taken) == Membership::Taken {
            return;
        }
        tracing::error!(
            host = self.announcement.host,
            "cannot act for host `{}`\n  because: somebody wrote its presence by hand, without a session\n  next: \
             delete the key `{}` in the store",
            self.announcement.host,
            self.announcement.key
        );
    }

    /// Renews the session until it is gone or the key is.
    async fn hold(&self, session: &SessionId) {
        let mut trouble = self.troubles.of("renew this host's session");
        let mut pause = RENEW_EVERY;
        let mut renewals = head_start(&self.announcement.host);
        loop {
            let doubted = timeout(pause, self.doubted.notified()).await.is_ok();
            renewals = renewals.wrapping_add(1);
            let renewal = match doubted {
                false if renewals.is_multiple_of(RENEWALS_PER_WORD) => Renewal::Speaking,
                false if !renewals.is_multiple_of(RENEWALS_PER_LOOK) => Renewal::Plain,
                _ => Renewal::Looking,
            };
            match self.renew(session, renewal).await {
                Ok(true) => {
                    trouble.is_over();
                    pause = RENEW_EVERY;
                }
                Ok(false) | Err(StoreError::SessionGone(_)) => {
                    tracing::info!(
                        host = self.announcement.host,
                        "the session was lost; a new one is opened"
                    );
                    return;
                }
                Err(error) => pause = trouble.failed(&error),
            }
        }
    }

    /// Renews the session, and tells whether the name is still held by it.
    async fn renew(&self, session: &SessionId, renewal: Renewal) -> Result<bool, StoreError> {
        self.store.renew_session(session).await?;
        let is_held = match renewal {
            Renewal::Plain => true,
            Renewal::Looking => {
                let seen = self.store.read(&self.scope()).await?;
                let entry = seen.entries.get(&self.announcement.key);
                entry.is_some_and(|entry| entry.session.as_ref() == Some(session))
            }
            Renewal::Speaking => {
                let held = Guard::HeldBy(self.announcement.key.clone(), session.clone());
                let word = Transaction { guards: vec![held], writes: vec![self.say(session)] };
                self.store.apply(&word).await? == Applied::Yes
            }
        };
        if !is_held {
            self.store.close_session(session).await?;
        }
        Ok(is_held)
    }
}

/// Returns by how many renewals a host speaks earlier than after a whole hour, once: many that were started together must
/// not speak together for ever.
fn head_start(host: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    u32::try_from(hasher.finish() % u64::from(RENEWALS_PER_WORD)).expect("it is below the number of renewals")
}

/// What a renewal does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    /// Nothing.
    Plain,
    /// Reads whether the name is still held.
    Looking,
    /// Says anew how the machine is, which also tells whether the name is still held.
    Speaking,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use footplate_drivers::store::memory::Memory;

    use super::*;

    #[test]
    fn hosts_speak_spread_over_the_hour() {
        let mut by_minute = [0; 60];
        for host in 0..6000 {
            by_minute[(head_start(&format!("web-{host}")) / 4) as usize] += 1;
        }
        assert!(by_minute.iter().all(|hosts| (50..200).contains(hosts)), "{by_minute:?}");
    }

    #[tokio::test]
    async fn a_name_is_spoken_for_anew_while_it_is_held_and_never_after() {
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let said = AtomicU32::new(0);
        let value: MakeValue =
            Box::new(move || format!("word {}", said.fetch_add(1, Ordering::Relaxed)).into_bytes());
        let key = "agents/web-1/alive".to_owned();
        let announcement = Announcement {
            host: "web-1".to_owned(),
            key: key.clone(),
            prefix: "agents/web-1/".to_owned(),
            value,
            is_ours: Box::new(|_| false),
        };
        let reporter = Arc::new(Reporter::new(0));
        let (mut presence, ..) = Presence::new(store.clone(), Troubles::default(), announcement, reporter);
        let session = presence.seek().await.expect("the store answers").expect("the name is free");
        let stored = || async {
            let seen = store.read(&Scope::Key(key.clone())).await.expect("it answers");
            seen.entries.get(&key).map(|entry| (entry.value.clone(), entry.session.clone()))
        };
        assert_eq!(stored().await, Some((b"word 0".to_vec(), Some(session.clone()))));
        assert!(presence.renew(&session, Renewal::Speaking).await.expect("it answers"));
        assert_eq!(stored().await, Some((b"word 1".to_vec(), Some(session.clone()))));
        let deleted = Transaction { guards: Vec::new(), writes: vec![Write::Delete(key.clone())] };
        store.apply(&deleted).await.expect("it answers");
        assert!(!presence.renew(&session, Renewal::Speaking).await.expect("it answers"));
        assert_eq!(stored().await, None, "who lost the name does not write it back");
    }
}
