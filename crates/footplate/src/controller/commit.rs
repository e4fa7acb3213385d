//! Writing to the store: in as few transactions as its limits allow, each guarded by the lease.

use footplate_core::record::Key;
use footplate_drivers::store::{Applied, OPERATIONS_MAX, Snapshot, StoreError, Transaction, Write};
use futures_util::StreamExt;

use super::act::Worker;
use super::site::Site;
use crate::api::{Problem, ProblemKind};

/// The most bytes of values in one transaction, well below what any store's request may hold.
const TRANSACTION_BYTES_MAX: usize = 192 * 1024;
/// How many transactions of one turn are under way at once.
const TRANSACTIONS_AT_ONCE: usize = 4;

impl Worker<'_> {
    /// Writes in as few transactions as the stores' limits allow, each guarded by the lease.
    ///
    /// Writes that fit into one transaction happen together or not at all.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<(), Trip> {
        let transactions = chunks(writes).into_iter().map(|writes| async {
            let transaction = Transaction { guards: vec![self.lease.guard()], writes };
            match self.shared.store.apply(&transaction).await.map_err(Trip::Store)? {
                Applied::Yes => Ok(transaction.writes),
                Applied::No => Err(Trip::Fenced),
            }
        });
        let mut results = futures_util::stream::iter(transactions).buffer_unordered(TRANSACTIONS_AT_ONCE);
        while let Some(written) = results.next().await {
            let written = written?;
            self.shared.change(|site| written.iter().for_each(|write| note(site, write)));
        }
        Ok(())
    }
}

/// Why a turn was cut short.
pub(super) enum Trip {
    /// The guard did not hold: somebody else may hold the lease.
    Fenced,
    /// The store could not do it.
    Store(StoreError),
}

impl Trip {
    /// Returns what a person is told whose order was cut short.
    pub(super) fn problem(&self, what: &str) -> Problem {
        match self {
            Trip::Fenced => Problem::new(
                ProblemKind::Unavailable,
                what,
                "this controller has lost its lease",
                "try again; the acting controller will answer",
            ),
            Trip::Store(error) => Problem::of_store(what, error),
        }
    }
}

pub(super) fn put(key: &Key, value: Vec<u8>) -> Write {
    Write::Put(key.to_string(), value)
}

fn note(site: &mut Site, write: &Write) {
    match write {
        Write::Put(key, value) | Write::PutEphemeral(key, value, _) => site.note(key, value),
        Write::Delete(key) => site.forget(key),
        Write::DeletePrefix(prefix) => drop(site.absorb(prefix, &Snapshot::default())),
    }
}

fn chunks(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut chunks: Vec<Vec<Write>> = Vec::new();
    let mut room = 0;
    for write in writes {
        let bytes = match &write {
            Write::Put(key, value) | Write::PutEphemeral(key, value, _) => key.len() + value.len(),
            Write::Delete(key) | Write::DeletePrefix(key) => key.len(),
        };
        match chunks.last_mut().filter(|chunk| chunk.len() < OPERATIONS_MAX - 1 && bytes <= room) {
            Some(chunk) => {
                chunk.push(write);
                room -= bytes;
            }
            None => {
                chunks.push(vec![write]);
                room = TRANSACTION_BYTES_MAX.saturating_sub(bytes);
            }
        }
    }
    chunks
}
