//! What the judge is told: what happened on both versions in one stretch of time, by KPI. Kept as it was heard, so that a verdict
//! can be replayed.
//!
//! Invariants: whole numbers wherever something is counted; a KPI that nothing was heard of is not there, or says why: it is never zero.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cause::Cause;
use crate::moment::Moment;
use crate::release::duration_millis;
use crate::traffic::Share;

/// The name of a KPI: `errors`, `latency.p99`, `orders_per_minute`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KpiName(String);

/// A text that names no KPI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a valid KPI name: expected 1 to 63 letters, digits, `_`, `-` or `.`", .0.escape_debug())]
pub struct NotAKpiName(pub String);

impl KpiName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KpiName {
    type Err = NotAKpiName;

    fn from_str(text: &str) -> Result<Self, NotAKpiName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_name = (1..=63).contains(&text.len()) && text.bytes().all(allowed);
        if is_name { Ok(Self(text.to_owned())) } else { Err(NotAKpiName(text.to_owned())) }
    }
}

impl TryFrom<String> for KpiName {
    type Error = NotAKpiName;

    fn try_from(text: String) -> Result<Self, NotAKpiName> {
        text.parse()
    }
}

impl From<KpiName> for String {
    fn from(name: KpiName) -> String {
        name.0
    }
}

impl fmt::Display for KpiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What was heard of one stretch of time: a second, as a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When it ended.
    pub at: Moment,
    /// How long it was.
    #[serde(with = "duration_millis")]
    pub over: Duration,
    /// The canary's share, where requests (or clients) were drawn at random by it and it was the same all the time. Nothing where
    /// nobody knows it: then what each version got is its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// What each source said.
    pub kpis: BTreeMap<KpiName, Said>,
}

/// What a source said of one KPI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// How often something happened.
    Events(Split),
    /// A number of each version, at the end of the stretch.
    Numbers {
        /// The canary's.
        canary: Number,
        /// The baseline's; nothing where the KPI has a fixed bound.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        baseline: Option<Number>,
    },
    /// It could not be asked, or did not know: why, in a sentence.
    Nothing(String),
}

impl Said {
    /// Adds what the same source said later, of the stretch after this one: events add up, and of numbers the later ones count. Where the
    /// later one knows nothing, events before it are not lost.
    pub fn add(&mut self, later: Said) {
        match (self, later) {
            (Said::Events(before), Said::Events(later)) => before.add(later),
            (Said::Events(_), Said::Nothing(_)) => {}
            (before, later) => *before = later,
        }
    }
}

/// Events of both versions: of attempts that ended in this stretch, before anything was tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// What came to the canary.
    #[serde(rename = "c")]
    pub canary: Side,
    /// What came to the baseline.
    #[serde(rename = "b")]
    pub baseline: Side,
    /// The client keys that it happened to, each once, with the version that served the first. Nothing when the source knows no keys.
    /// A source that has very many takes those with the smallest hash of key and some salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causes: Option<Vec<Cause>>,
    /// How many of both versions' requests were of the ten busiest keys. Nothing when the source does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest: Option<u64>,
}

impl Split {
    /// Adds a later stretch's. Keys are known where both know them.
    fn add(&mut self, later: Split) {
        self.canary.add(later.canary);
        self.baseline.add(later.baseline);
        self.causes = self.causes.take().zip(later.causes).map(|(before, later)| [before, later].concat());
        self.busiest = self.busiest.zip(later.busiest).map(|(before, later)| before + later);
    }
}

/// One version's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// How many requests (or jobs) ended.
    #[serde(rename = "n")]
    pub of: u64,
    /// To how many of them it happened.
    #[serde(rename = "k")]
    pub events: u64,
}

impl Side {
    /// Adds another stretch's.
    pub fn add(&mut self, other: Side) {
        self.of += other.of;
        self.events += other.events;
    }

    /// Returns the part that it happened to; nothing without requests.
    pub fn part(self) -> Option<f64> {
        (self.of > 0).then(|| self.events as f64 / self.of as f64)
    }
}

/// A measured number in the unit of its KPI, finite. Written as text, so that it is read back as the very same bits.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number(f64);

/// Every finite number is equal to itself.
impl Eq for Number {}

/// A text or a value that is no finite number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a finite number", .0.escape_debug())]
pub struct NotANumber(pub String);

impl Number {
    /// Returns the number; nothing for infinity and what is no number.
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// Returns the value.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for Number {
    type Err = NotANumber;

    fn from_str(text: &str) -> Result<Self, NotANumber> {
        let value = text.parse().ok().and_then(Self::new);
        value.ok_or_else(|| NotANumber(text.to_owned()))
    }
}

impl TryFrom<String> for Number {
    type Error = NotANumber;

    fn try_from(text: String) -> Result<Self, NotANumber> {
        text.parse()
    }
}

impl From<Number> for String {
    fn from(number: Number) -> String {
        number.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back_as_the_same_bits() {
        for value in [0.1, 1.0 / 3.0, -7.25e-12, 1e300, 123_456_789.123_456_78] {
            let number = Number::new(value).unwrap();
            let text = serde_json::to_string(&number).unwrap();
            let read: Number = serde_json::from_str(&text).unwrap();
            assert_eq!(read.value().to_bits(), value.to_bits(), "{text}");
        }
        assert!(
            Number::new(f64::NAN).is_none()
                && "inf".parse::<Number>().is_err()
                && "x".parse::<Number>().is_err()
        );
    }

    #[test]
    fn of_two_answers_events_add_up_and_of_numbers_the_later_one_counts() {
        let events = |canary: u64, baseline: u64| {
            let side = |events| Side { of: 10, events };
            Said::Events(Split {
                canary: side(canary),
                baseline: side(baseline),
                causes: None,
                busiest: None,
            })
        };
        let numbers = |canary: f64| Said::Numbers { canary: Number::new(canary).unwrap(), baseline: None };
        let nothing = || Said::Nothing("it does not answer".to_owned());
        let sum = |mut before: Said, later: Said| {
            before.add(later);
            before
        };
        let Said::Events(all) = sum(events(1, 2), events(3, 4)) else { panic!("they are events") };
        assert_eq!(
            (all.canary, all.baseline),
            (Side { of: 20, events: 4 }, Side { of: 20, events: 6 }),
            "nothing is lost"
        );
        assert_eq!(sum(events(1, 2), nothing()), events(1, 2));
        assert_eq!(sum(nothing(), events(1, 2)), events(1, 2));
        assert_eq!(sum(numbers(1.0), numbers(2.0)), numbers(2.0));
        assert_eq!(sum(numbers(1.0), nothing()), nothing(), "an old number is not the present one");
    }

    #[test]
    fn a_reading_is_written_sparsely() {
        let split = Split {
            canary: Side { of: 10, events: 1 },
            baseline: Side { of: 90, events: 0 },
            causes: Some(vec![Cause { key: 7, is_canarys: true }]),
            busiest: None,
        };
        let reading = Reading {
            at: Moment::from_millis(1000),
            over: Duration::from_secs(1),
            share: Some("10%".parse().unwrap()),
            kpis: [("errors".parse().unwrap(), Said::Events(split))].into(),
        };
        let written = serde_json::to_string(&reading).unwrap();
        let expected = r#"{"at":1000,"over":1000,"share":100000,"kpis":{"errors":{"events":{"c":{"n":10,"k":1},"b":{"n":90,"k":0},"causes":[{"k":7,"c":true}]}}}}"#;
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_str::<Reading>(expected).unwrap(), reading);
    }

    #[test]
    fn a_name_of_a_kpi_has_letters_digits_and_three_signs() {
        for name in ["errors", "latency.p99", "Queue-age_2"] {
            assert_eq!(name.parse::<KpiName>().unwrap().as_str(), name);
        }
        for text in ["", "a b", "ä", "x/y", &"x".repeat(64)] {
            assert!(text.parse::<KpiName>().is_err(), "{text}");
        }
    }
}
