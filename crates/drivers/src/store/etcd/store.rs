//! The store on etcd. Requests per call: read 1 (one more for each 500 entries); wait 1, and a read when there is
//! news below a prefix (of one key the watch itself says what stands there); apply 1, and 1 more when a key that it puts lives with a session already; sessions 1. A login is 1, every few minutes at most.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::client::Client;
use super::transaction;
use super::watch::{Heard, listen};
use super::wire::{
    Change, ChangeKind, Header, KeyValue, LeaseAnswer, RangeAnswer, Streamed, TransactionAnswer, base64,
    range_of,
};
use crate::store::limits::{check_scope, check_transaction, check_ttl};
use crate::store::{
    Applied, Config, Entry, Revision, Scope, SessionId, Snapshot, Store, StoreError, Transaction, Write,
};

/// Entries a page: at 2 KiB each well below the 4 MiB that gRPC takes by default.
const PAGE: usize = 500;
/// How often a transaction is tried again because somebody took or left a key that it puts.
const ATTEMPTS_MAX: usize = 8;

/// A store on etcd's JSON gateway.
pub struct Etcd {
    client: Client,
    root: String,
    /// The cluster that gave us revisions last; 0 before the first answer.
    cluster: AtomicU64,
}

impl Etcd {
    /// Prepares a store; sends nothing.
    pub fn open(config: &Config) -> Result<Etcd, StoreError> {
        config.check()?;
        Ok(Etcd { client: Client::open(config)?, root: config.root.clone(), cluster: AtomicU64::new(0) })
    }

    fn range(&self, scope: &Scope) -> Value {
        match scope {
            Scope::Key(key) => json!({ "key": base64(format!("{}{key}", self.root)) }),
            Scope::Prefix(prefix) => range_of(&format!("{}{prefix}", self.root)),
        }
    }

    /// Reads all pages at the revision of the first, so that they are one state.
    async fn read_pages(&self, scope: &Scope) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot::default();
        let mut range = self.range(scope);
        range["limit"] = json!(PAGE.to_string());
        loop {
            let page: RangeAnswer = self.client.post("kv/range", &range, None).await?;
            if snapshot.revision == Revision(0) {
                snapshot.revision = Revision(page.header.revision.0);
                range["revision"] = json!(page.header.revision.0.to_string());
                self.remember(&page.header);
            }
            let Some(last) = page.kvs.last() else { break };
            // The next page begins with the first key after the last one.
            range["key"] = json!(base64([last.key.as_slice(), &[0]].concat()));
            snapshot.entries.extend(page.kvs.into_iter().filter_map(|pair| self.entry(pair)));
            if !page.more {
                break;
            }
        }
        Ok(snapshot)
    }

    /// Returns how the changes of one key, oldest first, left it.
    fn last_state(&self, changes: Vec<Change>) -> Option<Snapshot> {
        let Change { kind, pair } = changes.into_iter().next_back()?;
        let revision = Revision(pair.mod_revision.0);
        let entry = match kind {
            ChangeKind::Put => self.entry(pair),
            ChangeKind::Delete => None,
        };
        Some(Snapshot { revision, entries: entry.into_iter().collect() })
    }

    fn entry(&self, pair: KeyValue) -> Option<(String, Entry)> {
        let key = String::from_utf8(pair.key).ok()?.strip_prefix(&self.root)?.to_owned();
        let session = (pair.lease.0 != 0).then(|| SessionId(pair.lease.0.to_string()));
        Some((key, Entry { value: pair.value, revision: Revision(pair.mod_revision.0), session }))
    }

    fn remember(&self, header: &Header) {
        self.cluster.store(header.cluster_id.0, Ordering::Relaxed);
    }
}

#[async_trait]
impl Store for Etcd {
    fn describe(&self) -> String {
        self.client.http().describe()
    }

    async fn read(&self, scope: &Scope) -> Result<Snapshot, StoreError> {
        check_scope(scope)?;
        self.read_pages(scope).await
    }

    async fn wait(
        &self,
        scope: &Scope,
        seen: Revision,
        patience: Duration,
    ) -> Result<Option<Snapshot>, StoreError> {
        check_scope(scope)?;
        if seen != Revision(0) {
            let is_ours = |header: &Header| header.cluster_id.0 == self.cluster.load(Ordering::Relaxed);
            match (listen(&self.client, &self.range(scope), seen, patience, is_ours).await?, scope) {
                (Heard::Silence, _) => return Ok(None),
                (Heard::Changes(changes), Scope::Key(_)) => return Ok(self.last_state(changes)),
                (Heard::Changes(_), Scope::Prefix(_)) | (Heard::Unknown, _) => (),
            }
        }
        self.read_pages(scope).await.map(Some)
    }

    async fn apply(&self, transaction: &Transaction) -> Result<Applied, StoreError> {
        check_transaction(transaction)?;
        if transaction.guards.is_empty() && transaction.writes.is_empty() {
            return Ok(Applied::Yes);
        }
        let session = transaction.writes.iter().find_map(|write| match write {
            Write::PutEphemeral(_, _, session) => Some(session),
            _ => None,
        });
        let mut leases = transaction::free(transaction);
        for _ in 0..ATTEMPTS_MAX {
            let request = transaction::request(&self.root, transaction, &leases);
            let answer: TransactionAnswer = self.client.post("kv/txn", &request, session).await?;
            if answer.succeeded {
                return Ok(Applied::Yes);
            }
            let seen = transaction::seen(&leases, &answer);
            // The keys were as we thought, so a guard failed; or they are somebody else's.
            if seen == leases || transaction::held_by_others(transaction, &seen) {
                return Ok(Applied::No);
            }
            leases = seen;
        }
        Err(self.client.http().unavailable("others take and leave the same keys all the time"))
    }

    async fn open_session(&self, _label: &str, ttl: Duration) -> Result<SessionId, StoreError> {
        check_ttl(ttl)?;
        // A lease has whole seconds, and no place for a label.
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let body = json!({ "TTL": seconds.to_string(), "ID": "0" });
        let lease: LeaseAnswer = self.client.post("lease/grant", &body, None).await?;
        Ok(SessionId(lease.id.0.to_string()))
    }

    async fn renew_session(&self, session: &SessionId) -> Result<(), StoreError> {
        let body = json!({ "ID": session.0 });
        let answer: Streamed<LeaseAnswer> = self.client.post("lease/keepalive", &body, Some(session)).await?;
        match answer {
            Streamed { result: Some(lease), .. } if lease.ttl.0 > 0 => Ok(()),
            Streamed { result: Some(_), .. } => Err(StoreError::SessionGone(session.clone())),
            Streamed { error, .. } => {
                Err(self.client.http().unavailable(error.unwrap_or_default().to_string()))
            }
        }
    }

    async fn close_session(&self, session: &SessionId) -> Result<(), StoreError> {
        let body = json!({ "ID": session.0 });
        match self.client.post::<serde::de::IgnoredAny>("lease/revoke", &body, Some(session)).await {
            Ok(_) | Err(StoreError::SessionGone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
