//! Names: parsed once at the edge, valid ever after.
//!
//! Invariant: every name type can stand in a store key or a path after [`key_segment`], and none can leave its folder.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a name. The message says what was wrong and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a valid {kind}: {why}", .text.escape_debug())]
pub struct InvalidName {
    /// What it should have been: "app name", "version", …
    pub kind: &'static str,
    /// The text as given.
    pub text: String,
    /// What is wrong with it and what would be right.
    pub why: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(why) => Err(InvalidName { kind: $kind, text: text.to_owned(), why }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// What we deploy: `shop`.
    AppName, "app name", check_label
);
name!(
    /// A named place for an app: `production`, or a pull request's own.
    EnvironmentName, "environment name", check_label
);
name!(
    /// A part of an app that runs on its own: `web`, `worker`, `files`.
    GroupName, "process group name", check_label
);
name!(
    /// A set of apps that only one deployment may move at a time.
    LaneName, "lane name", check_label
);
name!(
    /// A freeze window of a gate: `weekend`.
    WindowName, "window's name", check_label
);
name!(
    /// A machine with an agent; a host name or any other unique label.
    HostName, "host name", check_host
);
name!(
    /// The name people give to a commit's code: a commit id, a tag, `2026-11-21`.
    Version, "version", check_version
);
name!(
    /// What a target runs: `VERSION`, or `VERSION+N` for the N-th later settings of the same code.
    ReleaseId, "release", check_release
);
name!(
    /// What wants to ship, by the name that its source gives it: a pull request's number, a branch.
    ChangeId, "change", check_host
);
name!(
    /// Who gave an order: a user's name, `footplate up`, a token's label.
    Actor, "actor", check_actor
);

impl From<&Version> for ReleaseId {
    /// Returns the release of a version with its first settings.
    fn from(version: &Version) -> Self {
        ReleaseId(version.as_str().to_owned())
    }
}

impl ReleaseId {
    /// Returns the version that it is of: all before a `+` and a number at the end.
    pub fn version(&self) -> &str {
        match self.0.rsplit_once('+') {
            Some((version, tail)) if !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit()) => {
                version
            }
            _ => &self.0,
        }
    }
}

/// An app in one environment: the unit that has one current release and at most one rollout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppPath {
    /// Where: `production`.
    pub environment: EnvironmentName,
    /// What: `shop`.
    pub app: AppName,
}

impl fmt::Display for AppPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.environment, self.app)
    }
}

/// A target's name on its host: environment, app and process group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetName {
    /// The app and its environment.
    pub path: AppPath,
    /// The process group; `files` for an app without services.
    pub group: GroupName,
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.path, self.group)
    }
}

impl FromStr for TargetName {
    type Err = InvalidName;

    /// Parses `ENVIRONMENT.APP.GROUP`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let mut parts = text.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(environment), Some(app), Some(group), None) => Ok(Self {
                path: AppPath { environment: environment.parse()?, app: app.parse()? },
                group: group.parse()?,
            }),
            _ => Err(InvalidName {
                kind: "target",
                text: text.to_owned(),
                why: "expected ENVIRONMENT.APP.GROUP".to_owned(),
            }),
        }
    }
}

/// What a rollout moves: one process group of an app on one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The machine.
    pub host: HostName,
    /// The process group.
    pub group: GroupName,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.group)
    }
}

/// Returns `text` as one segment of a store key: `[A-Za-z0-9._-]` stay, any other byte becomes `~HH`.
///
/// `.` and `..` are written `~2E` and `~2E~2E`, so that no segment means "here" or "above".
pub fn key_segment(text: &str) -> String {
    let dots_only = text == "." || text == "..";
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'.' if dots_only => segment.push_str("~2E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => segment.push(char::from(byte)),
            other => segment.push_str(&format!("~{other:02X}")),
        }
    }
    segment
}

/// Returns the text that [`key_segment`] wrote as `segment`, or `None` when it wrote no such segment.
pub fn from_key_segment(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'~' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (key_segment(&text) == segment).then_some(text)
}

const LABEL_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 128;

fn check_label(text: &str) -> Result<(), String> {
    check_length(text, LABEL_BYTES_MAX)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    check_chars(text, fits, "lower-case letters, digits, `-` and `_`")?;
    check_first(text)
}

fn check_host(text: &str) -> Result<(), String> {
    check_length(text, NAME_BYTES_MAX)?;
    check_chars(
        text,
        |c| c.is_ascii_alphanumeric() || "._-".contains(c),
        "letters, digits, `.`, `_` and `-`",
    )?;
    check_dots(text)?;
    check_first(text)
}

fn check_version(text: &str) -> Result<(), String> {
    check_code(text)?;
    match text.rsplit_once('+') {
        Some((_, tail)) if !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit()) => {
            Err("a `+` and a number at the end is kept for later settings of a version".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_release(text: &str) -> Result<(), String> {
    check_code(text)
}

fn check_code(text: &str) -> Result<(), String> {
    check_length(text, NAME_BYTES_MAX)?;
    check_chars(
        text,
        |c| c.is_ascii_alphanumeric() || "._+-".contains(c),
        "letters, digits, `.`, `_`, `+` and `-`",
    )?;
    check_dots(text)?;
    check_first(text)
}

fn check_actor(text: &str) -> Result<(), String> {
    check_length(text, NAME_BYTES_MAX)?;
    check_chars(text, |c| !c.is_control(), "text without control characters")
}

fn check_length(text: &str, bytes_max: usize) -> Result<(), String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        length if length > bytes_max => Err(format!("it has {length} bytes, and {bytes_max} is the most")),
        _ => Ok(()),
    }
}

fn check_chars(text: &str, fits: impl Fn(char) -> bool, allowed: &str) -> Result<(), String> {
    match text.chars().find(|c| !fits(*c)) {
        Some(wrong) => Err(format!("`{}` may not stand in it; use {allowed}", wrong.escape_debug())),
        None => Ok(()),
    }
}

fn check_dots(text: &str) -> Result<(), String> {
    if text.contains("..") { Err("`..` may not stand in it".to_owned()) } else { Ok(()) }
}

fn check_first(text: &str) -> Result<(), String> {
    match text.chars().next() {
        Some(first) if first.is_ascii_alphanumeric() => Ok(()),
        _ => Err("it must begin with a letter or a digit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_segment_says_no_path_and_comes_back() {
        for (text, segment) in
            [("1.2", "1.2"), ("..", "~2E~2E"), (".", "~2E"), ("a/b", "a~2Fb"), ("1+2", "1~2B2"), ("~", "~7E")]
        {
            assert_eq!(key_segment(text), segment);
            assert_eq!(from_key_segment(segment).as_deref(), Some(text));
        }
        assert_eq!(from_key_segment("a~2"), None, "a cut escape is not a segment");
        assert_eq!(from_key_segment("~41"), None, "an escape that nobody writes is not a segment");
    }

    #[test]
    fn a_release_knows_its_version() {
        for (release, version) in
            [("1.2", "1.2"), ("1.2+3", "1.2"), ("1+b", "1+b"), ("1+b+4", "1+b"), ("1+", "1+")]
        {
            assert_eq!(release.parse::<ReleaseId>().unwrap().version(), version);
        }
    }

    #[test]
    fn a_bad_version_says_what_is_wrong() {
        for bad in ["", "a/b", "..", "1..2", "a b", "a\n", "-rf", "1+2", "é"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?} must be refused");
        }
        let refusal = "a/b".parse::<Version>().expect_err("a slash leaves the folder");
        assert_eq!(
            refusal.to_string(),
            "`a/b` is not a valid version: `/` may not stand in it; use letters, digits, `.`, `_`, `+` and `-`"
        );
    }
}
