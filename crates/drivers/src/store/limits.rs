//! What every driver refuses before it asks anybody, so that all four refuse the same.
//!
//! Sources, measured: Consul cleans `a//b` and `a/../b` by a redirect to another key, takes 64 operations and 512 KiB of
//! JSON in one transaction, and 512 KiB in a value; etcd takes 1.5 MiB in a request and no key twice in a transaction.

use std::time::Duration;

use super::{
    Guard, OPERATIONS_MAX, Scope, StoreError, TRANSACTION_BYTES_MAX, Transaction, VALUE_BYTES_MAX, Write,
};

const KEY_BYTES_MAX: usize = 512;
/// The shortest life of a session that Consul takes.
pub(super) const TTL_MIN: Duration = Duration::from_secs(10);
/// The longest life of a session that Consul takes.
pub(super) const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Checks a key: segments of `[A-Za-z0-9._~-]+` between slashes, none of them `.` or `..`.
pub fn check_key(key: &str) -> Result<(), StoreError> {
    let fine = key.len() <= KEY_BYTES_MAX
        && key.split('/').all(|segment| !segment.is_empty() && is_segment(segment));
    if fine { Ok(()) } else { refuse_key(key) }
}

/// Checks a prefix: empty, or a key that may end in `/` or in the middle of a segment.
pub fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" if prefix.is_empty() => Ok(()),
        key => check_key(key),
    }
}

pub(super) fn check_scope(scope: &Scope) -> Result<(), StoreError> {
    match scope {
        Scope::Key(key) => check_key(key),
        Scope::Prefix(prefix) => check_prefix(prefix),
    }
}

pub(super) fn check_ttl(ttl: Duration) -> Result<(), StoreError> {
    if (TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Ok(());
    }
    Err(StoreError::Refused(format!("a session lives 10 s to 24 h without renewal, not {ttl:?}")))
}

/// Checks keys, sizes and the number of operations, and that no two writes touch the same key.
pub(super) fn check_transaction(transaction: &Transaction) -> Result<(), StoreError> {
    let operations = transaction.guards.len() + transaction.writes.len();
    if operations > OPERATIONS_MAX {
        return refuse(format!("{operations} operations in one transaction; at most {OPERATIONS_MAX} fit"));
    }
    for guard in &transaction.guards {
        let (Guard::Absent(key) | Guard::Unchanged(key, _) | Guard::HeldBy(key, _)) = guard;
        check_key(key)?;
    }
    let mut bytes = 0;
    for write in &transaction.writes {
        bytes += check_write(write)?;
    }
    if bytes > TRANSACTION_BYTES_MAX {
        return refuse(format!("{bytes} bytes in one transaction; at most {TRANSACTION_BYTES_MAX} fit"));
    }
    check_overlaps(&transaction.writes)
}

fn check_write(write: &Write) -> Result<usize, StoreError> {
    match write {
        Write::DeletePrefix(prefix) if prefix.is_empty() => return refuse("to delete everything".to_owned()),
        Write::DeletePrefix(prefix) => check_prefix(prefix)?,
        Write::Put(key, _) | Write::PutEphemeral(key, _, _) | Write::Delete(key) => check_key(key)?,
    }
    if let Write::Put(key, value) | Write::PutEphemeral(key, value, _) = write
        && value.len() > VALUE_BYTES_MAX
    {
        return refuse(format!(
            "a value of {} bytes for `{key}`; at most {VALUE_BYTES_MAX} fit",
            value.len()
        ));
    }
    Ok(write.bytes())
}

fn check_overlaps(writes: &[Write]) -> Result<(), StoreError> {
    for (at, write) in writes.iter().enumerate() {
        if let Some(other) = writes[..at].iter().find(|other| overlap(write, other)) {
            return refuse(format!("two writes touch `{}` in one transaction", other.key()));
        }
    }
    Ok(())
}

fn overlap(one: &Write, other: &Write) -> bool {
    match (one, other) {
        (Write::DeletePrefix(one), Write::DeletePrefix(other)) => {
            one.starts_with(other) || other.starts_with(one)
        }
        (Write::DeletePrefix(prefix), key) | (key, Write::DeletePrefix(prefix)) => {
            key.key().starts_with(prefix)
        }
        (one, other) => one.key() == other.key(),
    }
}

fn is_segment(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    segment.bytes().all(plain) && segment != "." && segment != ".."
}

fn refuse_key(key: &str) -> Result<(), StoreError> {
    refuse(format!(
        "`{}` is not a key; expected at most {KEY_BYTES_MAX} bytes in segments of letters, digits, `.`, `_`, `~` and `-`",
        key.escape_debug()
    ))
}

fn refuse<T>(why: String) -> Result<T, StoreError> {
    Err(StoreError::Refused(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_a_server_would_read_differently_are_refused() {
        for key in ["", "/a", "a/", "a//b", "a/../b", "./a", "a b", "a\n", "ü", "a%2Fb", "a?b", "a#b", "a\\b"]
        {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        for key in ["a", "a/b.c-d_e~2F", "...", "a/.b"] {
            check_key(key).unwrap();
        }
        for prefix in ["", "a/", "a/b", "a/b/"] {
            check_prefix(prefix).unwrap();
        }
        for prefix in ["/", "a//", "a/.", "a/../"] {
            assert!(check_prefix(prefix).is_err(), "{prefix:?}");
        }
    }

    #[test]
    fn two_writes_to_one_key_are_refused() {
        let put = |key: &str| Write::Put(key.to_owned(), Vec::new());
        let delete_prefix = |key: &str| Write::DeletePrefix(key.to_owned());
        for writes in [
            vec![put("a"), put("a")],
            vec![put("a"), Write::Delete("a".to_owned())],
            vec![delete_prefix("a/"), put("a/b")],
            vec![put("a/b"), delete_prefix("a/")],
            vec![delete_prefix("a/b/"), delete_prefix("a/")],
        ] {
            assert!(check_transaction(&Transaction { guards: Vec::new(), writes }).is_err());
        }
        let writes = vec![put("a"), put("ab"), delete_prefix("a/"), delete_prefix("b/")];
        check_transaction(&Transaction { guards: Vec::new(), writes }).unwrap();
    }
}
