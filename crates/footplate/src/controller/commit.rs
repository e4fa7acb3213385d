//! Writing to the store: in as few transactions as its limits allow, each guarded by the lease.

use std::sync::atomic::Ordering;

use footplate_core::record::{Key, TooLarge, check_size};
use footplate_drivers::store::{Applied, Snapshot, StoreError, Transaction, Write, transactions};
use futures_util::StreamExt;

use super::act::Worker;
use super::site::Site;
use crate::api::{Problem, ProblemKind};

/// How many transactions of one turn are under way at once.
const TRANSACTIONS_AT_ONCE: usize = 4;

impl Worker<'_> {
    /// Writes all of it in one transaction, guarded by the lease: together or not at all.
    pub(super) async fn write_together(&self, writes: Vec<Write>) -> Result<(), Trip> {
        if writes.is_empty() {
            return Ok(());
        }
        let written = self.apply(Transaction { guards: vec![self.lease.guard()], writes }).await?;
        self.shared.change(|site| written.iter().for_each(|write| note(site, write)));
        Ok(())
    }

    /// Writes in as few transactions as the stores' limits allow, in any order, each guarded by the lease.
    pub(super) async fn write_each(&self, writes: Vec<Write>) -> Result<(), Trip> {
        let transactions = transactions(&[self.lease.guard()], writes);
        let transactions = transactions.into_iter().map(|transaction| self.apply(transaction));
        let mut results = futures_util::stream::iter(transactions).buffer_unordered(TRANSACTIONS_AT_ONCE);
        while let Some(written) = results.next().await {
            let written = written?;
            self.shared.change(|site| written.iter().for_each(|write| note(site, write)));
        }
        Ok(())
    }

    async fn apply(&self, transaction: Transaction) -> Result<Vec<Write>, Trip> {
        for write in &transaction.writes {
            if let Write::Put(key, value) | Write::PutEphemeral(key, value, _) = write {
                check_size(key, value.len()).map_err(Trip::TooLarge)?;
            }
        }
        match self.shared.store.apply(&transaction).await {
            Ok(Applied::Yes) => Ok(transaction.writes),
            Ok(Applied::No) => Err(Trip::Fenced),
            Err(error) => {
                // The store may have taken it and lost the answer: only another look tells.
                self.doubts.store(true, Ordering::Relaxed);
                Err(Trip::Store(error))
            }
        }
    }
}

/// Why a turn was cut short.
pub(super) enum Trip {
    /// The guard did not hold: somebody else may hold the lease.
    Fenced,
    /// The store could not do it.
    Store(StoreError),
    /// A record is larger than any store takes; nothing of its transaction was written.
    TooLarge(TooLarge),
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
            Trip::TooLarge(error) => too_large(what, error),
        }
    }
}

/// Returns the refusal of what does not fit into a value of the store.
pub(super) fn too_large(what: &str, error: &TooLarge) -> Problem {
    let next = "let fewer hosts take part (an environment each for parts of them), or move long scripts into files of the app";
    Problem::new(ProblemKind::Refused, what, error, next)
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
