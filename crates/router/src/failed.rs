//! Requests that failed by their version's fault: a short record of each such attempt, for whoever judges the version.
//!
//! Invariants: a request that did not fail costs nothing here; what is kept is bounded; which are kept when too many fail depends on
//! the clients' keys alone, never on the version; a record's number only rises within a line of routers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::{Method, Uri};
use serde::{Deserialize, Serialize};

use crate::count::{CLASSES, End, Fault, class};

/// How many records are kept of all services together.
pub const KEPT_MAX: usize = 2_048;
/// How many of one second of one service.
pub const OF_SECOND_MAX: usize = 128;
/// How many of those are of one client.
pub const OF_KEY_MAX: usize = 4;
/// How much is kept of a path, in bytes.
pub const PATH_BYTES_MAX: usize = 200;
/// How much is kept of a method, in bytes.
const METHOD_BYTES_MAX: usize = 20;

/// One attempt that failed by its version's fault: it was answered 5xx, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRequest {
    /// Rises by one with each that is kept, over upgrades as well.
    pub number: u64,
    /// When it ended, in milliseconds since 1970.
    pub at_ms: u64,
    /// The service.
    pub service: String,
    /// The version.
    pub version: String,
    /// The client's key, hashed: see [`crate::key::Client`].
    #[serde(with = "hexadecimal")]
    pub key: u64,
    /// The request's method.
    pub method: String,
    /// Its path without the query, at most [`PATH_BYTES_MAX`] bytes of it.
    pub path: String,
    /// How it failed.
    #[serde(flatten)]
    pub how: How,
    /// From the choice of the endpoint until then, in microseconds.
    pub time_us: u64,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// With an answer of this status.
    Status(u16),
    /// Without one.
    Fault(Fault),
}

impl How {
    /// Returns how this end of an attempt is a failure by the version's fault. A connection that had rested too long, a client that
    /// left, and every answer but 5xx are none.
    pub fn of(end: End) -> Option<How> {
        match end {
            End::Answer { status, .. } => (class(status) == CLASSES - 1).then_some(How::Status(status)),
            End::Fault(Fault::Stale) | End::Left => None,
            End::Fault(fault) => Some(How::Fault(fault)),
        }
    }
}

/// The records of one router process, and of those whose place it took.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Ledger>);

/// What the next router goes on from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The number of the newest.
    pub last: u64,
    /// The records, by number.
    pub records: VecDeque<FailedRequest>,
}

#[derive(Debug, Default)]
struct Ledger {
    kept: Kept,
    second: u64,
    /// What is kept of this second by service: mixed keys, with the records' numbers.
    fresh: BTreeMap<String, BTreeSet<(u64, u64)>>,
}

impl Failures {
    /// Makes a record of a failure of this client at a service, `at_ms` milliseconds after 1970, unless there are too many. It is given
    /// its number.
    pub fn note(&self, service: &str, key: u64, at_ms: u64, record: impl FnOnce(u64) -> FailedRequest) {
        self.ledger().note(service, key, at_ms, record);
    }

    /// Returns the records that came after this number, by number.
    pub fn after(&self, number: u64) -> Vec<FailedRequest> {
        let ledger = self.ledger();
        let records = &ledger.kept.records;
        let first = records.partition_point(|record| record.number <= number);
        records.range(first..).cloned().collect()
    }

    /// Returns everything, for the next router.
    pub fn kept(&self) -> Kept {
        self.ledger().kept.clone()
    }

    /// Goes on from what the router before had.
    pub fn go_on(&self, kept: Kept) {
        self.ledger().kept = kept;
    }

    /// Takes over what another process of the line has kept, under numbers of this one.
    pub fn take_over(&self, records: impl IntoIterator<Item = FailedRequest>) {
        let mut ledger = self.ledger();
        for record in records {
            ledger.push(|number| FailedRequest { number, ..record });
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn note(&mut self, service: &str, key: u64, at_ms: u64, record: impl FnOnce(u64) -> FailedRequest) {
        let second = at_ms / 1_000;
        if std::mem::replace(&mut self.second, second) != second {
            self.fresh.clear();
        }
        let mut fresh = self.fresh.get_mut(service).map(std::mem::take).unwrap_or_default();
        self.note_among(&mut fresh, mixed(key), record);
        match self.fresh.get_mut(service) {
            Some(place) => *place = fresh,
            None => drop(self.fresh.insert(service.to_owned(), fresh)),
        }
    }

    /// Of too many those stay whose mixed keys are the smallest: in another second, and at another router, the same clients'.
    fn note_among(
        &mut self,
        fresh: &mut BTreeSet<(u64, u64)>,
        mixed: u64,
        record: impl FnOnce(u64) -> FailedRequest,
    ) {
        if fresh.range((mixed, 0)..=(mixed, u64::MAX)).count() >= OF_KEY_MAX {
            return;
        }
        if let Some(largest) = fresh.last().copied().filter(|_| fresh.len() >= OF_SECOND_MAX) {
            if largest.0 <= mixed {
                return;
            }
            fresh.remove(&largest);
            if let Ok(place) = self.kept.records.binary_search_by_key(&largest.1, |record| record.number) {
                self.kept.records.remove(place);
            }
        }
        fresh.insert((mixed, self.push(record)));
    }

    fn push(&mut self, record: impl FnOnce(u64) -> FailedRequest) -> u64 {
        self.kept.last += 1;
        self.kept.records.push_back(record(self.kept.last));
        if self.kept.records.len() > KEPT_MAX {
            self.kept.records.pop_front();
        }
        self.kept.last
    }
}

/// Returns what is kept of a request's method and path.
pub fn said(method: &Method, uri: &Uri) -> (String, String) {
    (cut(method.as_str(), METHOD_BYTES_MAX), cut(uri.path(), PATH_BYTES_MAX))
}

/// Returns the beginning of a text, at most so many bytes of whole letters.
pub fn cut(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].to_owned()
}

/// Mixes a key, which may be what its version is drawn by: a small one must say nothing of the version. Source: the finaliser of
/// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
fn mixed(key: u64) -> u64 {
    let key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// A key as sixteen hexadecimal digits: not every reader of JSON keeps 64 bits of a number.
mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(key: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{key:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(service: &str, key: u64, number: u64) -> FailedRequest {
        FailedRequest {
            number,
            at_ms: 1_790_000_000_000,
            service: service.to_owned(),
            version: "1".to_owned(),
            key,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            how: How::Status(500),
            time_us: 7,
        }
    }

    fn note(failures: &Failures, service: &str, key: u64, at_ms: u64) {
        failures.note(service, key, at_ms, |number| record(service, key, number));
    }

    fn keys(failures: &Failures, service: &str) -> Vec<u64> {
        let records = failures.after(0).into_iter().filter(|record| record.service == service);
        records.map(|record| record.key).collect()
    }

    #[test]
    fn of_too_many_the_same_clients_stay_in_whatever_order_they_fail_and_whoever_else_does() {
        let (one, two) = (Failures::default(), Failures::default());
        for key in 0..10_000 {
            note(&one, "shop", key, 1_000);
            note(&two, "shop", 9_999 - key, 5_000);
            note(&two, "blog", key, 5_000);
        }
        note(&one, "rare", 7, 1_000);
        let (mut of_one, mut of_two) = (keys(&one, "shop"), keys(&two, "shop"));
        of_one.sort_unstable();
        of_two.sort_unstable();
        assert_eq!((of_one.len(), &of_one), (OF_SECOND_MAX, &of_two));
        assert_eq!(keys(&one, "rare"), [7]);
        assert!(of_one.iter().filter(|key| **key < 5_000).count() > 40, "a small key is not what counts");
    }

    #[test]
    fn one_client_leaves_room_for_others_and_a_record_is_told_once() {
        let failures = Failures::default();
        (0..1_000).for_each(|_| note(&failures, "shop", 7, 1_000));
        note(&failures, "shop", 8, 1_000);
        assert_eq!(keys(&failures, "shop"), [7, 7, 7, 7, 8]);
        let last = failures.after(0).last().expect("there are some").number;
        assert_eq!(failures.after(last), []);
        note(&failures, "shop", 7, 2_000);
        assert_eq!(failures.after(last).len(), 1, "it is another second");
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let failures = Failures::default();
        (0..100_000).for_each(|number| note(&failures, "shop", number, number * 10));
        let kept = failures.after(0);
        assert_eq!((kept.len(), kept.last().map(|record| record.number)), (KEPT_MAX, Some(100_000)));
        assert!(kept.is_sorted_by_key(|record| record.number));
    }

    #[test]
    fn a_record_is_short_and_written_with_its_status_or_its_fault() {
        let method = Method::from_bytes("M".repeat(99).as_bytes()).unwrap();
        let uri: Uri = format!("/{}?secret=1", "a".repeat(300)).parse().unwrap();
        let (method, path) = said(&method, &uri);
        assert_eq!((method.len(), path.len()), (20, 200));
        assert_eq!(said(&Method::GET, &"/cart?secret=1".parse().unwrap()).1, "/cart");
        assert_eq!(cut("aä", 2), "a", "no letter is cut in two");
        let written = serde_json::to_string(&record("shop", 255, 3)).unwrap();
        let expected = r#"{"number":3,"at_ms":1790000000000,"service":"shop","version":"1","key":"00000000000000ff","method":"GET","path":"/","status":500,"time_us":7}"#;
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_str::<FailedRequest>(expected).unwrap(), record("shop", 255, 3));
        let fault = FailedRequest { how: How::Fault(Fault::Timeout), ..record("shop", 1, 1) };
        assert!(serde_json::to_string(&fault).unwrap().contains(r#""fault":"timeout""#));
    }
}
