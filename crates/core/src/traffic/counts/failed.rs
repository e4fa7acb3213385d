//! Requests that failed by their release's fault, as routers tell them, and how much the busiest clients carry.
//!
//! Invariants: each is heard once, however often it is sent; what is kept is of the last minute and bounded, whatever comes.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Fault;
use crate::moment::Moment;
use crate::name::{ReleaseId, TargetName};

/// The most that are kept of one router.
pub const FAILED_MAX: usize = 4_096;
/// How long they are kept, by when they failed.
pub const FAILED_KEPT: Duration = Duration::from_secs(60);

/// One attempt that failed by its release's fault: it was answered 5xx, or not at all.
///
/// A router leaves out some when very many fail: those of clients that it chooses by their keys, never by the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRequest {
    /// Rises within the line of router processes that told it.
    pub number: u64,
    /// When it ended, by the router's clock.
    pub at: Moment,
    /// Whose request it was. Written `ENVIRONMENT.APP.GROUP`.
    #[serde(with = "named")]
    pub target: TargetName,
    /// The release that failed.
    pub release: ReleaseId,
    /// The client's key as a hash, the same at every router: of its cookie or header where those keep clients with a release, else of
    /// its address. Written as 16 hexadecimal digits, as not every reader of JSON keeps 64 bits of a number.
    #[serde(with = "hexadecimal")]
    pub key: u64,
    /// The request's method.
    pub method: String,
    /// Its path, without the query and not longer than 200 bytes.
    pub path: String,
    /// How it failed.
    #[serde(flatten)]
    pub how: How,
    /// From the choice of the endpoint until then. Written in microseconds.
    #[serde(rename = "time_us", with = "microseconds")]
    pub time: Duration,
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

/// How much a target's ten busiest clients carry: of so many requests that were looked at, of all releases in about the last ten
/// seconds, so many came from them. Clients who came once in that time are no busy ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busiest {
    /// The requests that were looked at.
    pub sampled: u64,
    /// Those of the ten busiest clients.
    pub of_ten: u64,
}

impl Busiest {
    /// Returns how many of so many requests came from them, if these are as those that were looked at. Nothing where none was.
    pub fn of(self, requests: u64) -> Option<u64> {
        let part = u128::from(requests) * u128::from(self.of_ten.min(self.sampled));
        u64::try_from(part.checked_div(u128::from(self.sampled))?).ok()
    }

    /// Adds what another router saw.
    pub fn add(&mut self, other: Busiest) {
        self.sampled += other.sampled;
        self.of_ten += other.of_ten;
    }
}

/// What was heard of one router's failures.
#[derive(Clone, Debug, Default)]
pub(super) struct Failed {
    /// The line that tells.
    line: String,
    /// The highest of its numbers that was heard.
    last: u64,
    /// How many have come in all.
    arrived: u64,
    /// The newest, the last `arrived` of all.
    kept: VecDeque<FailedRequest>,
}

impl Failed {
    /// Takes what a line of routers tells, at `now` by the clock beside it.
    pub(super) fn hear(&mut self, line: &str, now: Moment, told: Vec<FailedRequest>) {
        if self.line != line {
            (self.line, self.last) = (line.to_owned(), 0);
        }
        for failed in told {
            if failed.number > self.last {
                self.last = failed.number;
                self.arrived += 1;
                self.kept.push_back(failed);
            }
        }
        let is_old = |failed: &FailedRequest| failed.at + FAILED_KEPT < now;
        while self.kept.len() > FAILED_MAX || self.kept.front().is_some_and(is_old) {
            self.kept.pop_front();
        }
    }

    /// Returns the number of the newest, and all that came after number `n`.
    pub(super) fn after(&self, n: u64) -> (u64, Vec<FailedRequest>) {
        let news = self.arrived.checked_sub(n).unwrap_or(self.arrived);
        let news = usize::try_from(news).unwrap_or(usize::MAX).min(self.kept.len());
        (self.arrived, self.kept.range(self.kept.len() - news..).cloned().collect())
    }

    /// Returns the newest, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &FailedRequest> {
        self.kept.iter().rev()
    }
}

/// A process group as its name.
mod named {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::name::TargetName;

    pub fn serialize<S: Serializer>(target: &TargetName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(target)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TargetName, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A number of 64 bits as hexadecimal digits.
mod hexadecimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub fn serialize<S: Serializer>(key: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{key:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

/// A duration in whole microseconds.
mod microseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(number: u64, at_ms: u64) -> FailedRequest {
        FailedRequest {
            number,
            at: Moment::from_millis(at_ms),
            target: "production.shop.web".parse().unwrap(),
            release: "1.2".parse().unwrap(),
            key: 255,
            method: "GET".to_owned(),
            path: "/cart".to_owned(),
            how: How::Status(502),
            time: Duration::from_micros(1_204),
        }
    }

    fn numbers(told: (u64, Vec<FailedRequest>)) -> (u64, Vec<u64>) {
        (told.0, told.1.iter().map(|failed| failed.number).collect())
    }

    #[test]
    fn each_is_told_once_under_the_number_of_its_arrival_whatever_comes_twice() {
        let (mut heard, now) = (Failed::default(), Moment::from_millis(1_000));
        heard.hear("a", now, (5..=7).map(|number| failed(number, 1_000)).collect());
        assert_eq!(numbers(heard.after(0)), (3, vec![5, 6, 7]));
        heard.hear("a", now, (6..=8).map(|number| failed(number, 1_000)).collect());
        assert_eq!(numbers(heard.after(3)), (4, vec![8]));
        heard.hear("b", now, vec![failed(1, 1_000)]);
        assert_eq!(numbers(heard.after(4)), (5, vec![1]), "another line has numbers of its own");
        assert_eq!(numbers(heard.after(5)), (5, vec![]));
        assert_eq!(numbers(heard.after(9)), (5, vec![5, 6, 7, 8, 1]), "that number is of another listener's");
    }

    #[test]
    fn what_is_kept_is_of_the_last_minute_and_bounded() {
        let mut heard = Failed::default();
        for second in 0..100 {
            let told = (0..100).map(|part| failed(second * 100 + part + 1, second * 1_000)).collect();
            heard.hear("a", Moment::from_millis(second * 1_000), told);
        }
        let (arrived, kept) = heard.after(0);
        assert_eq!((arrived, kept.len(), kept[0].number), (10_000, FAILED_MAX, 10_000 - 4_096 + 1));
        heard.hear("a", Moment::from_millis(99_000 + 60_001), vec![failed(10_001, 159_000)]);
        assert_eq!(numbers(heard.after(0)), (10_001, vec![10_001]));
    }

    #[test]
    fn it_is_written_with_its_status_or_its_fault() {
        let expected = r#"{"number":3,"at":9,"target":"production.shop.web","release":"1.2","key":"00000000000000ff","method":"GET","path":"/cart","status":502,"time_us":1204}"#;
        assert_eq!(serde_json::to_string(&failed(3, 9)).unwrap(), expected);
        assert_eq!(serde_json::from_str::<FailedRequest>(expected).unwrap(), failed(3, 9));
        let timeout = FailedRequest { how: How::Fault(Fault::Timeout), ..failed(3, 9) };
        assert!(serde_json::to_string(&timeout).unwrap().contains(r#""fault":"timeout""#));
    }

    #[test]
    fn the_busiest_carry_the_same_part_of_other_requests_and_nothing_is_known_without_a_sample() {
        let busiest = Busiest { sampled: 640, of_ten: 64 };
        assert_eq!((busiest.of(100), Busiest::default().of(100)), (Some(10), None));
        assert_eq!(Busiest { sampled: 1, of_ten: u64::MAX }.of(u64::MAX), Some(u64::MAX));
    }
}
