//! Which requests a service answers: by host and the beginning of the path. And by what a client stays with its version.
//!
//! Invariants: hosts are in lower case; a path begins with a slash, ends with one only when it is nothing else, and is compared by
//! whole segments as it is sent; two entrances that take the same requests are equal.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::requests::Requests;

/// The longest entrance, in bytes.
const BYTES_MAX: usize = 1024;

/// The requests that belong to a service: `shop.example.com/`, `*.shop.example.com/api`, `*/api`. Of several that fit, the
/// most exact host wins, then the longest path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entrance {
    host: String,
    path: String,
}

impl Entrance {
    /// Returns the one that takes every request that no other takes.
    pub fn any() -> Self {
        Self { host: "*".to_owned(), path: "/".to_owned() }
    }

    /// Returns the host: a name, `*.` and a name for every host below it, or `*` for any.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the beginning of the path, by whole segments.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

/// A text that names no requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no route: {why}; expected HOST/PATH, such as \"shop.example.com/\", \"*.example.com/api\" or \"*/api\"", .text.escape_debug())]
pub struct NotAnEntrance {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for Entrance {
    type Err = NotAnEntrance;

    /// Reads `HOST/PATH`; without a path it is all of the host, and `/PATH` is any host's.
    fn from_str(text: &str) -> Result<Self, NotAnEntrance> {
        let refuse = |why| NotAnEntrance { text: text.to_owned(), why };
        if text.is_empty() || text.len() > BYTES_MAX {
            return Err(refuse("it is empty or too long"));
        }
        if text.contains("://") {
            return Err(refuse("a scheme does not belong to it"));
        }
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let host = if host.is_empty() { "*" } else { host };
        if path.chars().any(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '*' | '"' | '\\')) {
            return Err(refuse("a path is plain text without `*`, query and spaces"));
        }
        if path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
            return Err(refuse("a path has no empty parts and no `..`"));
        }
        check_host(host).map_err(refuse)?;
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { host: host.to_ascii_lowercase(), path: path.to_owned() })
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_part = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(fits)
    };
    match host {
        "*" => Ok(()),
        _ if name.contains(':') => Err("a host is named without its port"),
        _ if name.split('.').all(is_part) => Ok(()),
        _ => Err("a host is a name, `*.` and a name, or `*`"),
    }
}

impl Serialize for Entrance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Entrance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// By what a client stays with its version while a new one has a share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Sticky {
    /// The value of a cookie.
    Cookie {
        /// Its name.
        name: String,
        /// Whether the router gives one to a client that has none; else each of its requests is a draw of its own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        give: bool,
    },
    /// The value of a header.
    Header {
        /// Its name.
        name: String,
    },
    /// The client's address.
    Address,
}

/// How the users of one process group reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The requests that belong to it; none when no router sends it any.
    #[serde(rename = "routes")]
    pub entrances: BTreeSet<Entrance>,
    /// By what a client stays with its version; every request is a draw of its own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// What a request may take.
    #[serde(default, skip_serializing_if = "Requests::are_usual")]
    pub requests: Requests,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_by_host_and_path() {
        for (text, host, path) in [
            ("shop.example.com/", "shop.example.com", "/"),
            ("Shop.Example.com", "shop.example.com", "/"),
            ("*.shop.example.com/api/", "*.shop.example.com", "/api"),
            ("*/api/v1", "*", "/api/v1"),
            ("/api", "*", "/api"),
            ("*", "*", "/"),
            ("/", "*", "/"),
        ] {
            let entrance: Entrance = text.parse().unwrap();
            assert_eq!((entrance.host(), entrance.path()), (host, path), "{text}");
            assert_eq!(entrance.to_string().parse(), Ok(entrance), "{text}");
        }
        assert_eq!("/".parse(), Ok(Entrance::any()));
        for text in [
            "",
            "https://shop.example.com/",
            "shop:8080/",
            "shop..com/",
            "*shop.com/",
            "a b/",
            "shop/a b",
            "shop/../x",
            "shop//x",
            "shop/?q",
            "shop/*",
            ".com/",
            "[::1]/",
            "*.",
            "*./x",
        ] {
            assert!(text.parse::<Entrance>().is_err(), "{text:?}");
        }
    }
}
