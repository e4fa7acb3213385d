//! Keys that say "I am here", kept for as long as this process lives: an agent's presence, a controller's lease.
//!
//! Invariants: the keys are bound to a session renewed at half its life; a session that is lost is replaced, and so are its
//! keys; who is told [`Hold::Held`] held them a moment ago, no more: fence every write with [`super::Guard::HeldBy`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::limits::{check_transaction, check_ttl};
use super::patient::{Patient, Waiting};
use super::watch::{WATCH_PATIENCE, Watch};
use super::{Applied, Scope, SessionId, StoreError, Transaction, Write};

/// Every so many renewals the keys are looked at, in case somebody deleted them by hand.
const RENEWALS_TO_A_LOOK: u32 = 4;

/// Keys below the root with their values.
pub type Keys = BTreeMap<String, Vec<u8>>;

/// Whether the keys are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Not yet, or no more: a session is being opened or the keys are being written.
    Opening,
    /// They are ours, with this session.
    Held(SessionId),
    /// Another session holds one of them; ours waits until it is gone.
    Contested,
    /// They were ours, but the session has not been renewed for its whole life: it may be dead.
    Doubtful(SessionId),
}

/// Keeps keys alive in a task of its own.
pub struct Presence {
    patient: Arc<Patient>,
    keys: watch::Sender<Keys>,
    hold: watch::Receiver<Hold>,
    session: watch::Receiver<Option<SessionId>>,
    task: JoinHandle<()>,
}

impl Presence {
    /// Begins to hold `keys`. `label` is for people; `ttl` is 10 s to 24 h.
    ///
    /// Idle it costs 2 requests a `ttl`, and one more for each key every other `ttl`.
    pub fn start(
        patient: Arc<Patient>,
        label: &str,
        ttl: Duration,
        keys: Keys,
    ) -> Result<Presence, StoreError> {
        check_ttl(ttl)?;
        check_transaction(&writes(&keys, &SessionId(String::new())))?;
        let (keys, wanted) = watch::channel(keys);
        let (sender, hold) = watch::channel(Hold::Opening);
        let (opened, session) = watch::channel(None);
        let label = label.to_owned();
        let keeper = Keeper { patient: Arc::clone(&patient), label, ttl, wanted, hold: sender, opened };
        Ok(Presence { patient, keys, hold, session, task: tokio::spawn(keeper.run()) })
    }

    /// Returns whether the keys are ours, now and whenever that changes.
    pub fn hold(&self) -> watch::Receiver<Hold> {
        self.hold.clone()
    }

    /// Gives a key a new value, or a first one; written at once, or as soon as that is possible.
    pub fn set(&self, key: &str, value: Vec<u8>) -> Result<(), StoreError> {
        let mut keys = self.keys.borrow().clone();
        keys.insert(key.to_owned(), value);
        check_transaction(&writes(&keys, &SessionId(String::new())))?;
        self.keys.send_if_modified(|now| {
            *now != keys && {
                *now = keys;
                true
            }
        });
        Ok(())
    }

    /// Ends the session, so that the keys vanish at once; gives up after `patience`, and then they expire.
    pub async fn stop(self, patience: Duration) {
        self.task.abort();
        let session = self.session.borrow().clone();
        let Some(session) = session else { return };
        let closed = timeout(patience, self.patient.store().close_session(&session)).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::warn!(session = session.0, "the session was not ended; its keys will expire");
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    patient: Arc<Patient>,
    label: String,
    ttl: Duration,
    wanted: watch::Receiver<Keys>,
    hold: watch::Sender<Hold>,
    opened: watch::Sender<Option<SessionId>>,
}

/// What one session's keeper remembers.
struct Life<'a> {
    session: SessionId,
    renewed: Instant,
    renew_at: Instant,
    renewals: u32,
    /// When the keys must be written, if they must.
    write_at: Option<Instant>,
    /// The key that another session holds, followed until it is free.
    rival: Option<Watch>,
    renewing: Waiting<'a>,
    writing: Waiting<'a>,
}

impl Keeper {
    async fn run(mut self) {
        let patient = Arc::clone(&self.patient);
        loop {
            match patient.open_session(&self.label, self.ttl).await {
                Ok(session) => {
                    self.opened.send_replace(Some(session.clone()));
                    let died = self.keep(&patient, session).await;
                    tracing::warn!(
                        session = died.0,
                        label = self.label,
                        "the session was lost; opening a new one"
                    );
                    tell(&self.hold, Hold::Opening);
                }
                Err(error) => {
                    // The length of its life was checked at the start, so this is a server of another mind.
                    tracing::error!(%error, "the store opens no session for us");
                    sleep(self.ttl).await;
                }
            }
        }
    }

    /// Keeps one session and its keys until it is gone; returns it.
    async fn keep(&mut self, patient: &Patient, session: SessionId) -> SessionId {
        let now = Instant::now();
        let mut life = Life {
            session,
            renewed: now,
            renew_at: now + self.ttl / 2,
            renewals: 0,
            write_at: Some(now),
            rival: None,
            renewing: patient.begin(&format!("renew the session of {}", self.label)),
            writing: patient.begin(&format!("announce {}", self.label)),
        };
        loop {
            let alive =
                match doubting(&self.hold, life.doubt(self.ttl), next_event(&mut life, &mut self.wanted))
                    .await
                {
                    Event::RenewalDue => self.renew(&mut life).await,
                    Event::WriteDue => self.write(&mut life).await,
                    Event::KeysChanged => {
                        life.write_at = Some(Instant::now());
                        true
                    }
                };
            if !alive {
                return life.session;
            }
        }
    }

    /// Returns false when the session is gone.
    async fn renew(&self, life: &mut Life<'_>) -> bool {
        let started = Instant::now();
        let renewal = self.patient.store().renew_session(&life.session);
        match doubting(&self.hold, life.doubt(self.ttl), renewal).await {
            Ok(()) => {
                life.renewing.over();
                (life.renewed, life.renew_at) = (started, started + self.ttl / 2);
                life.renewals += 1;
                if matches!(&*self.hold.borrow(), Hold::Doubtful(_))
                    || life.renewals.is_multiple_of(RENEWALS_TO_A_LOOK)
                {
                    self.look(life).await;
                }
                true
            }
            Err(StoreError::SessionGone(_)) => false,
            Err(error) => {
                // Sooner than the back-off of others: this one has a deadline.
                life.renew_at = Instant::now() + life.renewing.after(&error).min(self.ttl / 8);
                true
            }
        }
    }

    /// Returns false when the session is gone.
    async fn write(&mut self, life: &mut Life<'_>) -> bool {
        let keys = self.wanted.borrow_and_update().clone();
        let transaction = writes(&keys, &life.session);
        match doubting(&self.hold, life.doubt(self.ttl), self.patient.store().apply(&transaction)).await {
            Ok(applied) => {
                life.writing.over();
                self.judge(applied, &keys, life);
                true
            }
            Err(StoreError::SessionGone(_)) => false,
            Err(error) => {
                life.write_at = Some(Instant::now() + life.writing.after(&error));
                true
            }
        }
    }

    fn judge(&self, applied: Applied, keys: &Keys, life: &mut Life<'_>) {
        match applied {
            Applied::Yes => {
                (life.write_at, life.rival) = (None, None);
                tell(&self.hold, Hold::Held(life.session.clone()));
            }
            Applied::No => {
                // Tried again when the first key moves, and in any case now and then: another may be the one.
                life.write_at = Some(Instant::now() + self.ttl / 2);
                let first = keys.keys().next().cloned();
                if let Some(key) = first.filter(|_| life.rival.is_none()) {
                    life.rival =
                        Some(Watch::start(Arc::clone(&self.patient), Scope::Key(key), WATCH_PATIENCE));
                }
                tell(&self.hold, Hold::Contested);
            }
        }
    }

    /// Has the keys written again when one of them is not as it should be. Not retried: the next look does it.
    async fn look(&self, life: &mut Life<'_>) {
        let keys = self.wanted.borrow().clone();
        for key in keys.into_keys() {
            let found = self.patient.store().read(&Scope::Key(key.clone())).await;
            let ours = found.is_ok_and(|found| {
                found.entries.get(&key).is_some_and(|entry| entry.session.as_ref() == Some(&life.session))
            });
            if !ours {
                life.write_at = Some(Instant::now());
                return;
            }
        }
        if matches!(&*self.hold.borrow(), Hold::Doubtful(_)) {
            tell(&self.hold, Hold::Held(life.session.clone()));
        }
    }
}

enum Event {
    RenewalDue,
    WriteDue,
    /// We want others, or the rival's moved.
    KeysChanged,
}

impl Life<'_> {
    /// Returns when the session may be dead for all we know: a life after the last renewal was *sent*.
    fn doubt(&self, ttl: Duration) -> (Instant, SessionId) {
        (self.renewed + ttl, self.session.clone())
    }
}

async fn next_event(life: &mut Life<'_>, wanted: &mut watch::Receiver<Keys>) -> Event {
    let write_at = life.write_at;
    let write_due = async {
        match write_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let rival_moved = async {
        match &mut life.rival {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = sleep_until(life.renew_at) => Event::RenewalDue,
        () = write_due => Event::WriteDue,
        // An error means that the owner was dropped, and then this task is being aborted.
        changed = wanted.changed() => if changed.is_ok() { Event::KeysChanged } else { std::future::pending().await },
        _ = rival_moved => Event::KeysChanged,
    }
}

/// Awaits `work`; tells the world when the moment of doubt comes meanwhile.
async fn doubting<T>(
    hold: &watch::Sender<Hold>,
    (at, session): (Instant, SessionId),
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = sleep_until(at) => (),
    }
    if matches!(&*hold.borrow(), Hold::Held(_)) {
        tell(hold, Hold::Doubtful(session));
    }
    work.await
}

fn tell(hold: &watch::Sender<Hold>, now: Hold) {
    hold.send_if_modified(|before| {
        let is_news = *before != now;
        *before = now;
        is_news
    });
}

fn writes(keys: &Keys, session: &SessionId) -> Transaction {
    let write =
        |(key, value): (&String, &Vec<u8>)| Write::PutEphemeral(key.clone(), value.clone(), session.clone());
    Transaction { guards: Vec::new(), writes: keys.iter().map(write).collect() }
}
