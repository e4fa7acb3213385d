//! Where a KPI comes from: what is asked, of whom. Only data; the drivers ask.
//!
//! Invariants: no source holds a secret, only the name of one that the controller's own file knows; a source asks either for a number
//! of each version or for four counters, never for half of either.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::reading::KpiName;
use crate::name::{AppPath, GroupName, ReleaseId};

/// The KPIs that a router tells of by itself: it counts failed attempts and how long answers take.
pub const OF_ROUTER: [&str; 4] = ["errors", "latency.p50", "latency.p90", "latency.p99"];
/// The most bytes that one query, address or pointer may have.
pub const TEXT_BYTES_MAX: usize = 4096;
/// The most arguments that a command may have.
pub const ARGUMENTS_MAX: usize = 32;

/// Where a KPI comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// The routers' own counts, whichever router it is: one of [`OF_ROUTER`].
    Router,
    /// A Prometheus server, or whatever answers its instant queries.
    Prometheus(Prometheus),
    /// An address that answers with JSON.
    Http(Http),
    /// A program beside the controller, which prints JSON.
    Command(Command),
    /// What the agents see of the services themselves.
    Service {
        /// What of them.
        what: OfService,
    },
}

/// A Prometheus server and what it is asked. The queries are filled by [`Names::fill`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prometheus {
    /// Its address, before `/api/v1/query`: `http://127.0.0.1:9090`.
    pub url: String,
    /// The queries, each of which has one value.
    pub ask: Asked,
    /// The name of the token that it wants, as the controller's file knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// An address that answers with JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Which; asked with GET. Filled by [`Names::fill`], each name percent-encoded.
    pub url: String,
    /// JSON pointers (RFC 6901) to the numbers in its answer.
    pub ask: Asked,
    /// See [`Prometheus::token`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A program of the controller's folder for such, which prints one JSON object: `canary` and `baseline`, and for events
/// `canary_of` and `baseline_of` beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its name: that of a file, without a folder.
    pub name: String,
    /// Its arguments, filled by [`Names::fill`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// A number of each version; of the canary alone where a fixed limit judges.
    Number {
        /// The canary's.
        canary: String,
        /// The baseline's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        baseline: Option<String>,
    },
    /// Four counters that only grow: how often it happened on each version, and of how many.
    Counters {
        /// How often on the canary.
        canary: String,
        /// Of how many of its requests or jobs.
        canary_of: String,
        /// How often on the baseline.
        baseline: String,
        /// Of how many of its requests or jobs.
        baseline_of: String,
    },
}

/// What agents see of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfService {
    /// How often they were started again, on average.
    Restarts,
    /// By how many bytes a second their memory grows, on average.
    MemorySlope,
}

impl Source {
    /// Tells whether what it says is events, and not numbers. Nothing where the KPI decides: a command says either.
    pub fn says_events(&self) -> Option<bool> {
        match self {
            Source::Router => Some(true),
            Source::Prometheus(Prometheus { ask, .. }) | Source::Http(Http { ask, .. }) => {
                Some(ask.is_of_events())
            }
            Source::Command(_) => None,
            Source::Service { .. } => Some(false),
        }
    }

    /// Tells whether it has a number of the baseline, when it says numbers.
    pub fn knows_the_baseline(&self) -> bool {
        match self {
            Source::Prometheus(Prometheus { ask, .. }) | Source::Http(Http { ask, .. }) => {
                !matches!(ask, Asked::Number { baseline: None, .. })
            }
            Source::Router | Source::Command(_) | Source::Service { .. } => true,
        }
    }

    /// Returns why nobody can ask it for this KPI, in a sentence; nothing when somebody can.
    pub fn fault(&self, kpi: &KpiName) -> Option<String> {
        match self {
            Source::Router => (!OF_ROUTER.contains(&kpi.as_str()))
                .then(|| format!("a router does not count it; it tells of {}", OF_ROUTER.join(", "))),
            Source::Prometheus(Prometheus { url, ask, .. }) => {
                fault_of_url(url).or_else(|| fault_of_texts(ask.texts())).or_else(|| {
                    ask.texts().any(|text| text.trim().is_empty()).then(|| "a query is empty".into())
                })
            }
            Source::Http(Http { url, ask, .. }) => {
                let is_pointer = |text: &str| text.is_empty() || text.starts_with('/');
                fault_of_url(url).or_else(|| fault_of_texts(ask.texts())).or_else(|| {
                    let wrong = ask.texts().find(|text| !is_pointer(text))?;
                    Some(format!("`{}` is no JSON pointer; it begins with a slash", wrong.escape_debug()))
                })
            }
            Source::Command(command) => command.fault(),
            Source::Service { .. } => None,
        }
    }
}

impl Asked {
    /// Tells whether it asks for counters.
    pub fn is_of_events(&self) -> bool {
        matches!(self, Asked::Counters { .. })
    }

    /// Lists its texts: canary, baseline, and of how many each.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = match self {
            Asked::Number { canary, baseline } => [Some(canary), baseline.as_ref(), None, None],
            Asked::Counters { canary, canary_of, baseline, baseline_of } => {
                [canary, baseline, canary_of, baseline_of].map(Some)
            }
        };
        texts.into_iter().flatten().map(String::as_str)
    }

    /// Returns the same with every text changed.
    #[must_use]
    pub fn map(&self, change: impl Fn(&str) -> String) -> Asked {
        match self {
            Asked::Number { canary, baseline } => {
                Asked::Number { canary: change(canary), baseline: baseline.as_deref().map(change) }
            }
            Asked::Counters { canary, canary_of, baseline, baseline_of } => Asked::Counters {
                canary: change(canary),
                canary_of: change(canary_of),
                baseline: change(baseline),
                baseline_of: change(baseline_of),
            },
        }
    }
}

impl Command {
    fn fault(&self) -> Option<String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = !self.name.is_empty()
            && self.name.len() <= 63
            && !self.name.starts_with('.')
            && self.name.bytes().all(allowed);
        if !is_name {
            let name = self.name.escape_debug();
            return Some(format!(
                "`{name}` names no program of the controller's folder; write its file name alone"
            ));
        }
        if self.arguments.len() > ARGUMENTS_MAX {
            return Some(format!("it has more than {ARGUMENTS_MAX} arguments"));
        }
        fault_of_texts(self.arguments.iter().map(String::as_str))
    }
}

fn fault_of_texts<'a>(mut texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let wrong = texts.find(|text| text.len() > TEXT_BYTES_MAX || text.contains('\0'))?;
    Some(match wrong.len() > TEXT_BYTES_MAX {
        true => format!("a text has {} bytes; at most {TEXT_BYTES_MAX} are taken", wrong.len()),
        false => "a text has a zero byte in it".to_owned(),
    })
}

/// What an address is, is found by whoever asks; what can only be a mistake, or would show a password, is found here.
fn fault_of_url(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host {
        _ if url.len() > TEXT_BYTES_MAX => Some(format!("its address has more than {TEXT_BYTES_MAX} bytes")),
        None | Some("") => Some("its address does not begin with http://HOST or https://HOST".to_owned()),
        Some(host) if host.contains('@') => {
            Some("its address has a name or password in it; name a `token` instead".to_owned())
        }
        Some(_) => None,
    }
}

/// What the texts of a source are filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The app and its environment: `{app}`, `{environment}`.
    pub path: AppPath,
    /// The process groups that are judged: `{group}`, several with `|` between them, as a regular expression wants it.
    pub groups: BTreeSet<GroupName>,
    /// The release that is judged: `{canary}`.
    pub canary: ReleaseId,
    /// The one that it is held against: `{baseline}`.
    pub baseline: ReleaseId,
}

impl Names {
    /// Returns the text with `{canary}`, `{baseline}`, `{app}`, `{environment}` and `{group}` replaced, each name as `written` writes
    /// it. All other braces stay: PromQL is full of them. What was filled in is not looked at again.
    pub fn fill(&self, text: &str, written: impl Fn(&str) -> String) -> String {
        let groups: Vec<&str> = self.groups.iter().map(GroupName::as_str).collect();
        let names = [
            ("{canary}", self.canary.to_string()),
            ("{baseline}", self.baseline.to_string()),
            ("{app}", self.path.app.to_string()),
            ("{environment}", self.path.environment.to_string()),
            ("{group}", groups.join("|")),
        ];
        let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let name = names.iter().find(|(word, _)| rest.starts_with(word));
            let (piece, length) =
                name.map_or_else(|| ("{".to_owned(), 1), |(word, name)| (written(name), word.len()));
            filled.push_str(&piece);
            rest = &rest[length..];
        }
        filled + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kpi(name: &str) -> KpiName {
        name.parse().unwrap()
    }

    fn names() -> Names {
        Names {
            path: AppPath { environment: "production".parse().unwrap(), app: "shop".parse().unwrap() },
            groups: ["web", "api"].map(|group| group.parse().unwrap()).into(),
            canary: "1.3+2".parse().unwrap(),
            baseline: "1.2".parse().unwrap(),
        }
    }

    #[test]
    fn a_query_keeps_its_own_braces_and_gets_the_names() {
        let query = r#"sum(failed{release="{canary}",group=~"{group}"}) - x{release="{baseline}"} + {{app}} {nobody} {"#;
        let expected =
            r#"sum(failed{release="1.3+2",group=~"api|web"}) - x{release="1.2"} + {shop} {nobody} {"#;
        assert_eq!(names().fill(query, str::to_owned), expected);
        let encoded = names().fill("/of/{canary}?e={environment}", |name| name.replace('+', "%2B"));
        assert_eq!(encoded, "/of/1.3%2B2?e=production");
    }

    #[test]
    fn what_cannot_be_asked_is_found_before_anybody_asks() {
        let fault = |source: &Source, name: &str| source.fault(&kpi(name)).unwrap_or_default();
        assert_eq!(fault(&Source::Router, "errors"), "");
        assert!(fault(&Source::Router, "orders").contains("it tells of errors, latency.p50"));
        let number = |canary: &str| Asked::Number { canary: canary.to_owned(), baseline: None };
        let prometheus =
            |url: &str, ask| Source::Prometheus(Prometheus { url: url.to_owned(), ask, token: None });
        assert_eq!(fault(&prometheus("https://prometheus", number("up")), "x"), "");
        assert!(fault(&prometheus("prometheus:9090", number("up")), "x").contains("http://HOST"));
        assert!(fault(&prometheus("http://ann:hunter2@host", number("up")), "x").contains("`token`"));
        assert!(fault(&prometheus("http://host", number(" ")), "x").contains("query is empty"));
        assert!(fault(&prometheus("http://host", number(&"x".repeat(5000))), "x").contains("5000 bytes"));
        let http =
            |pointer: &str| Source::Http(Http { url: "http://h/".into(), ask: number(pointer), token: None });
        assert_eq!(fault(&http("/canary/0"), "x"), "");
        assert!(fault(&http("canary"), "x").contains("no JSON pointer"));
        for name in ["", "../evil", "/bin/sh", ".hidden", "a b"] {
            let command = Source::Command(Command { name: name.to_owned(), arguments: Vec::new() });
            assert!(fault(&command, "x").contains("names no program"), "{name}");
        }
    }
}
