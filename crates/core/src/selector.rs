//! Which hosts run an app, said by labels: `role=web`, `role=web,zone!=b`, `*`.
//!
//! The labels are the hosts' own (their agents report them), so a new host joins by itself. The label `host` is always
//! the host's name.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::HostName;

/// Labels of a host, as its agent reports them.
pub type Labels = BTreeMap<String, String>;

/// Conditions that all must hold; none matches every host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    label: String,
    equals: bool,
    value: String,
}

/// A text that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a host selector: {why}; expected `LABEL=VALUE` or `LABEL!=VALUE`, joined by commas, or `*`", .text.escape_debug())]
pub struct NotASelector {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Selector {
    /// Tells whether this host matches.
    pub fn matches(&self, host: &HostName, labels: &Labels) -> bool {
        self.conditions.iter().all(|condition| {
            let value = match condition.label.as_str() {
                "host" => Some(host.as_str()),
                label => labels.get(label).map(String::as_str),
            };
            (value == Some(condition.value.as_str())) == condition.equals
        })
    }
}

impl FromStr for Selector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, NotASelector> {
        if text.trim() == "*" {
            return Ok(Self::default());
        }
        let refuse = |why: String| NotASelector { text: text.to_owned(), why };
        let conditions = text.split(',').map(|part| parse(part.trim()).map_err(refuse));
        Ok(Self { conditions: conditions.collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_empty() {
            return f.write_str("*");
        }
        for (at, condition) in self.conditions.iter().enumerate() {
            let (comma, sign) = (if at > 0 { "," } else { "" }, if condition.equals { "=" } else { "!=" });
            write!(f, "{comma}{}{sign}{}", condition.label, condition.value)?;
        }
        Ok(())
    }
}

impl Serialize for Selector {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn parse(part: &str) -> Result<Condition, String> {
    let (label, value) = part.split_once('=').ok_or_else(|| match part {
        "" => "a condition is empty".to_owned(),
        _ => format!("`{}` has no `=`", part.escape_debug()),
    })?;
    let (label, equals) = label.strip_suffix('!').map_or((label, true), |label| (label, false));
    for (what, text) in [("label", label.trim()), ("value", value.trim())] {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        match text.chars().find(|c| !fits(*c)) {
            Some(wrong) => return Err(format!("`{}` may not stand in a {what}", wrong.escape_debug())),
            None if text.is_empty() => return Err(format!("a {what} is empty")),
            None => {}
        }
    }
    Ok(Condition { label: label.trim().to_owned(), equals, value: value.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_matches_by_label_and_by_name() {
        let host: HostName = "web-1".parse().unwrap();
        let labels =
            Labels::from([("role".to_owned(), "web".to_owned()), ("zone".to_owned(), "a".to_owned())]);
        for (text, matches) in [
            ("*", true),
            ("role=web", true),
            ("role=db", false),
            ("role=web,zone=a", true),
            ("role=web, zone!=a", false),
            ("zone!=b", true),
            ("disk!=slow", true),
            ("disk=fast", false),
            ("host=web-1", true),
            ("host=web-2", false),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.matches(&host, &labels), matches, "{text}");
            assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }
    }

    #[test]
    fn a_broken_selector_says_what_is_wrong() {
        for (text, why) in [
            ("", "a condition is empty"),
            ("web", "`web` has no `=`"),
            ("role=", "a value is empty"),
            ("=web", "a label is empty"),
            ("role=web,", "a condition is empty"),
            ("role=a b", "` ` may not stand in a value"),
        ] {
            assert_eq!(text.parse::<Selector>().expect_err(text).why, why);
        }
    }
}
