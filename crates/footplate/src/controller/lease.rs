//! The right to be the acting controller of a lane.
//!
//! Invariants: at most one controller holds it; every write of the controller is guarded by it ([`Lease::guard`]), so one
//! that lost it changes nothing more, whatever it still believes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::LaneName;
use footplate_core::record::{self, Key};
use footplate_drivers::disk::{DiskError, HeldFolder};
use footplate_drivers::store::{
    Applied, Guard, Scope, SessionId, Store, StoreError, Transaction, WATCH_PATIENCE, Write,
};

use super::site::{decode, encode};

/// How long a controller that died keeps the lease: until twice this at the most.
pub const TTL: Duration = Duration::from_secs(30);

/// The lease, held. Taking `&Lease` means: only the acting controller can call this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    key: String,
    session: SessionId,
}

impl Lease {
    /// Returns the guard that every write of the controller carries.
    pub fn guard(&self) -> Guard {
        Guard::HeldBy(self.key.clone(), self.session.clone())
    }

    /// Renews the lease; an error of [`StoreError::SessionGone`] means that it is lost.
    pub async fn renew(&self, store: &Arc<dyn Store>) -> Result<(), StoreError> {
        store.renew_session(&self.session).await
    }

    /// Gives the lease up, so that another controller can take it at once.
    pub async fn release(self, store: &Arc<dyn Store>) -> Result<(), StoreError> {
        store.close_session(&self.session).await
    }
}

/// Remembers the session of the lease across a crash, so that the same controller need not wait for itself.
pub struct Memory {
    folder: HeldFolder,
}

impl Memory {
    /// Takes the controller's folder, making it when it is missing, and opens the memory in it. `None` when another
    /// controller works there.
    pub fn open(data: &Path) -> Result<Option<Self>, DiskError> {
        Ok(HeldFolder::take(data)?.map(|folder| Self { folder }))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("session")
    }

    /// Closes the session that a controller in this folder had before it was killed. Nobody else can be using it.
    pub async fn close_former(&self, store: &Arc<dyn Store>) -> Result<(), StoreError> {
        match fs::read_to_string(self.file()) {
            Ok(session) if !session.is_empty() => store.close_session(&SessionId(session)).await,
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the former session is not known; its lease ends by itself");
                Ok(())
            }
        }
    }

    /// Remembers the session of a lease that was just taken. A loss costs only time, so it is not made durable.
    pub fn remember(&self, lease: &Lease) {
        if let Err(error) = fs::write(self.file(), &lease.session.0) {
            tracing::warn!(%error, "the lease's session could not be remembered");
        }
    }
}

/// Returns the key of a lane's lease.
fn key(lane: &LaneName) -> Key {
    Key::Lease(lane.clone())
}

/// Takes the lease, or returns who holds it.
pub async fn take(
    store: &Arc<dyn Store>,
    lane: &LaneName,
    holder: &record::Lease,
) -> Result<Result<Lease, Option<record::Lease>>, StoreError> {
    let key = key(lane).to_string();
    let session = store.open_session(&format!("footplate controller of {lane}"), TTL).await?;
    let value = encode(holder);
    let transaction = Transaction {
        guards: vec![Guard::Absent(key.clone())],
        writes: vec![Write::PutEphemeral(key.clone(), value, session.clone())],
    };
    match store.apply(&transaction).await {
        Ok(Applied::Yes) => Ok(Ok(Lease { key, session })),
        Ok(Applied::No) => {
            store.close_session(&session).await?;
            Ok(Err(read(store, lane).await?))
        }
        Err(error) => {
            // The write may have happened; without its session the key goes by itself.
            if let Err(leftover) = store.close_session(&session).await {
                tracing::debug!(%leftover, "the session of a failed lease was left to expire");
            }
            Err(error)
        }
    }
}

/// Waits until the lease may be free, on its key alone. A lease that is gone already, and a store that does not answer,
/// are waited out for `pause`.
pub async fn freed(store: &Arc<dyn Store>, lane: &LaneName, pause: Duration) {
    let scope = Scope::Key(key(lane).to_string());
    let Ok(mut snapshot) = store.read(&scope).await else { return tokio::time::sleep(pause).await };
    if snapshot.entries.is_empty() {
        return tokio::time::sleep(pause).await;
    }
    while !snapshot.entries.is_empty() {
        match store.wait(&scope, snapshot.revision, WATCH_PATIENCE).await {
            Ok(changed) => snapshot = changed.unwrap_or(snapshot),
            Err(_) => return tokio::time::sleep(pause).await,
        }
    }
}

/// Reads who holds the lease.
pub async fn read(store: &Arc<dyn Store>, lane: &LaneName) -> Result<Option<record::Lease>, StoreError> {
    let key = key(lane);
    let snapshot = store.read(&Scope::Key(key.to_string())).await?;
    let value = snapshot.entries.get(&key.to_string()).map(|entry| entry.value.as_slice());
    Ok(value.and_then(|value| decode(&key, value).ok()))
}
