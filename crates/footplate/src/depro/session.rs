//! Keeps the agent's one session alive, and opens another when it is lost. Never gives up.

use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::store::{SessionId, StoreError, Troubles};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::folder::Folder;
use super::tree::Node;
use super::wire::{SESSION_TTL, Wire};

/// Half of the session's life.
const RENEW: Duration = Duration::from_millis(SESSION_TTL.as_millis() as u64 / 2);

/// What keeps the session.
pub struct Keeper {
    /// The store.
    pub wire: Arc<Wire>,
    /// The agent, after which the session is called.
    pub node: Node,
    /// Where the session is remembered for the next start.
    pub folders: Vec<Arc<Folder>>,
    /// Where it says that the store has trouble.
    pub troubles: Troubles,
    /// Set by whoever learns that the session is dead.
    pub dead: Arc<Notify>,
}

impl Keeper {
    /// Opens and renews sessions until `stop`, and shows the living one in `session`. Closes it at the end.
    pub async fn run(self, session: watch::Sender<Option<SessionId>>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep(&session) => {}
        }
        let last = session.borrow().clone();
        if let Some(last) = last {
            match tokio::time::timeout(Duration::from_secs(2), self.wire.close_session(&last)).await {
                Ok(Ok(())) => self.note(Folder::forget_session),
                Ok(Err(error)) => tracing::warn!("the session stays open until it expires: {error}"),
                Err(_) => {
                    tracing::warn!("the session stays open until it expires: the store does not answer")
                }
            }
        }
    }

    async fn keep(&self, session: &watch::Sender<Option<SessionId>>) {
        self.end_former_lives().await;
        let mut trouble = self.troubles.of("keep the session");
        loop {
            let living = session.borrow().clone();
            match self.open_or_renew(living.as_ref()).await {
                Ok(fresh) => {
                    trouble.is_over();
                    if living.as_ref() != Some(&fresh) {
                        self.note(|folder| folder.remember_session(&fresh.0));
                        session.send_replace(Some(fresh));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(RENEW) => {}
                        () = self.dead.notified() => {}
                    }
                }
                Err(StoreError::SessionGone(_)) => drop(session.send_replace(None)),
                Err(error) => tokio::time::sleep(trouble.failed(&error)).await,
            }
        }
    }

    async fn open_or_renew(&self, living: Option<&SessionId>) -> Result<SessionId, StoreError> {
        match living {
            None => self.wire.open_session(&self.node).await,
            Some(living) => self.wire.renew_session(living).await.map(|()| living.clone()),
        }
    }

    /// After a crash the old session would hold our keys for up to twenty seconds.
    async fn end_former_lives(&self) {
        let mut former: Vec<String> = Vec::new();
        for folder in &self.folders {
            match folder.last_session() {
                Ok(session) => former.extend(session),
                Err(error) => tracing::warn!("{}", footplate_drivers::chain(&error)),
            }
        }
        former.sort();
        former.dedup();
        for session in former.into_iter().map(SessionId) {
            let mut trouble = self.troubles.of("end the session of the last start");
            while let Err(error) = self.wire.close_session(&session).await {
                let pause = trouble.failed(&error);
                if !error.is_worth_a_retry() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
            trouble.is_over();
        }
    }

    fn note<E: std::error::Error>(&self, note: impl Fn(&Folder) -> Result<(), E>) {
        for folder in &self.folders {
            if let Err(error) = note(folder) {
                tracing::warn!("cannot note the session; after a crash its keys stay some seconds: {error}");
            }
        }
    }
}
