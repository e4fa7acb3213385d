//! The store on Consul's KV API. Every method is exactly one HTTP request, also a wait that ends with news.
//!
//! Guards are the checks of a transaction, and never compare `LockIndex`: a plain put on a held key sets it back to 0.
//! A session's death deletes its keys; a lock-delay of 1 ms lets the next holder in.

use std::time::Duration;

use async_trait::async_trait;

use super::client::{Blocking, Client, Indexed};
use super::wire::{Behavior, Operation, Pair, SessionRequest, TransactionOutcome};
use crate::store::limits::{check_scope, check_transaction, check_ttl};
use crate::store::{
    Applied, Config, Entry, Guard, Handler, Revision, Scope, SessionId, Snapshot, Store, StoreError,
    Transaction, Write,
};

/// A store on Consul, or on the embedded server.
pub struct Consul {
    client: Client,
    root: String,
}

impl Consul {
    /// Prepares a store; sends nothing.
    pub fn open(config: &Config) -> Result<Consul, StoreError> {
        Ok(Consul { client: Client::open(config)?, root: config.root.clone() })
    }

    /// Hands all requests to a handler in this process from now on.
    pub fn answered_by(self, handler: Handler) -> Consul {
        Consul { client: self.client.answered_by(handler), ..self }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
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
        Ok(self.snapshot(read))
    }

    async fn wait(
        &self,
        scope: &Scope,
        seen: Revision,
        patience: Duration,
    ) -> Result<Option<Snapshot>, StoreError> {
        check_scope(scope)?;
        let blocking = Some(Blocking { index: seen.0, wait: patience });
        let read = match scope {
            Scope::Key(key) => listed(self.client.get(&self.key(key), blocking).await?),
            Scope::Prefix(prefix) => self.client.list(&self.key(prefix), blocking).await?,
        };
        // A lower index is news too: the server was restored, and the next wait must start from there.
        Ok((read.index != seen.0).then(|| self.snapshot(read)))
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
