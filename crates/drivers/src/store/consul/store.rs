//! The store on Consul's KV API. Every method is one HTTP request, also a wait that ends with news; only a wait for an absent
//! key may be more, some a second at most, while others write: Consul wakes it each time, and it is no news.
//!
//! Guards are the checks of a transaction, and never compare `LockIndex`: a plain put on a held key sets it back to 0.
//! A session's death deletes its keys; a lock-delay of 1 ms lets the next holder in.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::client::{Blocking, Client, Indexed};
use super::quiet::Empties;
use super::wire::{Behavior, Operation, Pair, SessionRequest, TransactionOutcome};
use crate::store::backoff::Backoff;
use crate::store::limits::{check_scope, check_transaction, check_ttl};
use crate::store::{
    Applied, Config, Entry, Guard, Handler, Revision, Scope, SessionId, Snapshot, Store, StoreError,
    Transaction, Write,
};

/// The first pause after a wake-up without news, doubled up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A store on Consul, or on the embedded server.
pub struct Consul {
    client: Client,
    root: String,
    empties: Empties,
}

impl Consul {
    /// Prepares a store; sends nothing.
    pub fn open(config: &Config) -> Result<Consul, StoreError> {
        Ok(Consul { client: Client::open(config)?, root: config.root.clone(), empties: Empties::default() })
    }

    /// Hands all requests to a handler in this process from now on.
    pub fn answered_by(self, handler: Handler) -> Consul {
        Consul { client: self.client.answered_by(handler), ..self }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    async fn read_newer(&self, scope: &Scope, blocking: Blocking) -> Result<Indexed<Vec<Pair>>, StoreError> {
        Ok(match scope {
            Scope::Key(key) => listed(self.client.get(&self.key(key), Some(blocking)).await?),
            Scope::Prefix(prefix) => self.client.list(&self.key(prefix), Some(blocking)).await?,
        })
    }

    fn snapshot(&self, read: Indexed<Vec<Pair>>) -> Snapshot {
        let entries = read.value.into_iter().filter_map(|pair| {
            let key = pair.key.strip_prefix(&self.root)?.to_owned();
            let (revision, session) = (Revision(pair.modify_index), pair.holder());
            Some((key, Entry { value: pair.value, revision, session }))
        });
        Snapshot { revision: Revision(read.index), entries: entries.collect() }
    }

    fn guard(&self, guard: &Guard) -> Operation {
        match guard {
            Guard::Absent(key) => Operation::check_not_exists(self.key(key)),
            Guard::Unchanged(key, revision) => Operation::check_index(self.key(key), revision.0),
            Guard::HeldBy(key, session) => Operation::check_session(self.key(key), session),
        }
    }

    fn write(&self, write: &Write) -> Operation {
        match write {
            Write::Put(key, value) => Operation::set(self.key(key), value.clone()),
            Write::PutEphemeral(key, value, session) => {
                Operation::lock(self.key(key), value.clone(), session)
            }
            Write::Delete(key) => Operation::delete(self.key(key)),
            Write::DeletePrefix(prefix) => Operation::delete_tree(self.key(prefix)),
        }
    }
}

fn listed(read: Indexed<Option<Pair>>) -> Indexed<Vec<Pair>> {
    Indexed { index: read.index, value: read.value.into_iter().collect() }
}

#[async_trait]
impl Store for Consul {
    fn describe(&self) -> String {
        self.client.describe()
    }

    async fn read(&self, scope: &Scope) -> Result<Snapshot, StoreError> {
        check_scope(scope)?;
        let read = match scope {
            Scope::Key(key) => listed(self.client.get_consistent(&self.key(key)).await?),
            Scope::Prefix(prefix) => self.client.list_consistent(&self.key(prefix)).await?,
        };
        self.empties.note(scope, read.index, read.index, read.value.is_empty());
        Ok(self.snapshot(read))
    }

    async fn wait(
        &self,
        scope: &Scope,
        seen: Revision,
        patience: Duration,
    ) -> Result<Option<Snapshot>, StoreError> {
        check_scope(scope)?;
        let deadline = Instant::now() + patience;
        let mut pause = Backoff::new(PAUSE_FIRST, PAUSE_MAX, seen.0);
        let mut index = self.empties.newest(scope, seen.0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let read = self.read_newer(scope, Blocking { index, wait: left }).await?;
            let is_quiet = read.index == index && index != 0;
            // A lower index is news: the server was restored, and the next wait must start from there.
            if !is_quiet && !self.empties.note(scope, index, read.index, read.value.is_empty()) {
                return Ok(Some(self.snapshot(read)));
            }
            index = read.index;
            let pause = pause.step();
            if is_quiet || deadline.saturating_duration_since(Instant::now()) <= pause {
                return Ok(None);
            }
            sleep(pause).await;
        }
    }

    async fn apply(&self, transaction: &Transaction) -> Result<Applied, StoreError> {
        check_transaction(transaction)?;
        let guards = transaction.guards.iter().map(|guard| self.guard(guard));
        let writes = transaction.writes.iter().map(|write| self.write(write));
        let operations: Vec<Operation> = guards.chain(writes).collect();
        if operations.is_empty() {
            return Ok(Applied::Yes);
        }
        match self.client.transact(&operations).await? {
            TransactionOutcome::Applied => Ok(Applied::Yes),
            TransactionOutcome::Conflict(failures) => {
                tracing::debug!(?failures, "the store refused a transaction");
                Ok(Applied::No)
            }
        }
    }

    async fn open_session(&self, label: &str, ttl: Duration) -> Result<SessionId, StoreError> {
        check_ttl(ttl)?;
        let lock_delay = Duration::from_millis(1);
        let request = SessionRequest { name: label.to_owned(), ttl, lock_delay, behavior: Behavior::Delete };
        self.client.create_session(&request).await
    }

    async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.client.renew_session(session).await
    }

    async fn close_session(&self, session: &SessionId) -> Result<(), StoreError> {
        self.client.destroy_session(session).await
    }
}
