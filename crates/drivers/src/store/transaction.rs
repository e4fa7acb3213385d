//! All guards hold and all writes happen, or none does; and how many changes become few transactions.

use super::{Guard, OPERATIONS_MAX, TRANSACTION_BYTES_MAX, Write};

/// All guards hold and all writes happen, or none does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What changes.
    pub writes: Vec<Write>,
}

impl From<Write> for Transaction {
    fn from(write: Write) -> Transaction {
        Transaction { guards: Vec::new(), writes: vec![write] }
    }
}

impl Transaction {
    fn operations(&self) -> usize {
        self.guards.len() + self.writes.len()
    }

    fn bytes(&self) -> usize {
        self.writes.iter().map(Write::bytes).sum()
    }
}

/// Returns as few transactions as the limits allow, in the order of `parts`. Each has all of `guards` and some whole
/// parts; a part that fits into none is alone in one, for the store to refuse.
pub fn transactions<P: Into<Transaction>>(
    guards: &[Guard],
    parts: impl IntoIterator<Item = P>,
) -> Vec<Transaction> {
    let mut all: Vec<Transaction> = Vec::new();
    let mut room = 0;
    for part in parts {
        let part: Transaction = part.into();
        let bytes = part.bytes();
        let fits = |last: &&mut Transaction| {
            last.operations() + part.operations() <= OPERATIONS_MAX && bytes <= room
        };
        match all.last_mut().filter(fits) {
            Some(last) => {
                last.guards.extend(part.guards);
                last.writes.extend(part.writes);
                room -= bytes;
            }
            None => {
                let guards = guards.iter().cloned().chain(part.guards).collect();
                all.push(Transaction { guards, writes: part.writes });
                room = TRANSACTION_BYTES_MAX.saturating_sub(bytes);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::limits::check_transaction;
    use super::super::{SessionId, VALUE_BYTES_MAX};
    use super::*;

    fn put(number: usize, bytes: usize) -> Write {
        Write::Put(format!("a/{number:04}"), vec![0; bytes])
    }

    fn all_writes(transactions: Vec<Transaction>) -> Vec<Write> {
        transactions.into_iter().flat_map(|transaction| transaction.writes).collect()
    }

    #[test]
    fn many_writes_become_few_transactions_that_every_store_takes() {
        let guard = Guard::HeldBy("lease".to_owned(), SessionId("s".to_owned()));
        for (count, bytes, wanted) in
            [(0, 1, 0), (63, 1, 1), (64, 1, 2), (500, 1, 8), (5, VALUE_BYTES_MAX, 5)]
        {
            let writes: Vec<Write> = (0..count).map(|number| put(number, bytes)).collect();
            let split = transactions(std::slice::from_ref(&guard), writes.clone());
            assert_eq!(split.len(), wanted, "{count} writes of {bytes} bytes");
            for transaction in &split {
                assert_eq!(transaction.guards, std::slice::from_ref(&guard));
                check_transaction(transaction).unwrap();
            }
            assert_eq!(all_writes(split), writes, "in order, and each once");
        }
    }

    #[test]
    fn a_guard_stays_with_its_write() {
        let part = |number| Transaction {
            guards: vec![Guard::Absent(format!("a/{number:04}"))],
            writes: vec![put(number, 1)],
        };
        let split = transactions(&[], (0..100).map(part));
        assert_eq!(split.len(), 4, "32 pairs fit into one");
        for transaction in &split {
            check_transaction(transaction).unwrap();
            let guarded = transaction.writes.iter().map(|write| Guard::Absent(write.key().to_owned()));
            assert!(guarded.eq(transaction.guards.iter().cloned()));
        }
    }
}
