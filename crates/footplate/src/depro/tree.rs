//! Depro's tree in the store: its keys, its state words, and a snapshot of one prefix as people and agents read it.
//!
//! Invariants: keys and words are the original's to the byte (`docs/reference/depro.md`); nothing else is ever written
//! below a prefix; a name that could leave its folder does not parse.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::failure::printable_line;

/// The last segment of the key that says which version is to run.
const CURRENT: &str = "current";

/// Why a text cannot stand in the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a valid {kind}: {why}", .text.escape_debug())]
pub struct InvalidName {
    /// "version", "agent name", "prefix".
    pub kind: &'static str,
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

macro_rules! segment {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns the name as typed.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                match segment_fault(text) {
                    None => Ok(Self(text.to_owned())),
                    Some(why) => Err(InvalidName { kind: $kind, text: text.to_owned(), why }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

segment!(
    /// A version: one segment of a key and the name of a directory. Stored and shown exactly as typed.
    Version, "version"
);
segment!(
    /// An agent's name: the last segment of its state keys.
    Node, "agent name"
);

/// Returns what is wrong with one segment of a key, if anything.
fn segment_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > 200 {
        return Some("it is longer than 200 bytes");
    }
    if text.contains(['/', '\\']) {
        return Some("it holds a slash, which would make it two segments of a key");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("it holds a space or a control character");
    }
    if text.starts_with('.') || text.starts_with('-') {
        return Some("it begins with a dot or a dash");
    }
    (text == CURRENT).then_some("`current` is the key that names the version to run")
}

/// Where one deployment's tree stands, without outer slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

impl FromStr for Prefix {
    type Err = InvalidName;

    /// Takes the prefix with or without outer slashes, as the original's configurations have it.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let inner = text.trim_matches('/');
        let refuse = |why| Err(InvalidName { kind: "prefix", text: text.to_owned(), why });
        if inner.is_empty() {
            return refuse("it is empty");
        }
        if inner.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return refuse("it holds a space or a control character");
        }
        if inner.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return refuse("it has a segment that is empty, `.` or `..`");
        }
        Ok(Self(inner.to_owned()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Prefix {
    /// Returns `P/`: what the version list is read below.
    pub fn folder(&self) -> String {
        format!("{}/", self.0)
    }

    /// Returns `P/current`.
    pub fn current(&self) -> String {
        format!("{}/{CURRENT}", self.0)
    }

    /// Returns `P/V/`: the key whose appearance means "version added", and the folder of its states.
    pub fn version(&self, version: &Version) -> String {
        format!("{}/{version}/", self.0)
    }

    /// Returns `P/V/N`: where an agent says how far it is with a version.
    pub fn state(&self, version: &Version, node: &Node) -> String {
        format!("{}/{version}/{node}", self.0)
    }

    /// Returns the versions that a list of keys names, `current` left out. Names that cannot be a directory are skipped:
    /// an agent that obeyed them could be led out of its path.
    pub fn versions<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> BTreeSet<Version> {
        let folder = self.folder();
        keys.into_iter()
            .filter_map(|key| key.strip_prefix(&folder))
            .filter_map(|rest| rest.split_once('/'))
            .filter_map(|(version, _)| version.parse().ok())
            .collect()
    }

    /// Parses `P/V/N` into the version and the node; `None` for every other key.
    pub fn parse_state(&self, key: &str) -> Option<(Version, Node)> {
        let (version, node) = key.strip_prefix(&self.folder())?.split_once('/')?;
        Some((version.parse().ok()?, node.parse().ok()?))
    }
}

/// How far a node is with a version: the word under `P/V/N`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Seen, nothing done yet: the empty value.
    Registered,
    /// The deploy script runs.
    Deploying,
    /// Complete on disk.
    Available,
    /// The deploy or the rollout failed.
    Failed,
    /// The rollout script runs.
    Starting,
    /// Rolled out.
    Active,
    /// A word of somebody else's: `ready` and `busy` of the original's README, or anything.
    Other(String),
}

impl State {
    /// Parses a value.
    pub fn parse(value: &[u8]) -> Self {
        match value {
            b"" => State::Registered,
            b"deploying" => State::Deploying,
            b"available" => State::Available,
            b"failed" => State::Failed,
            b"starting" => State::Starting,
            b"active" => State::Active,
            other => State::Other(String::from_utf8_lossy(other).into_owned()),
        }
    }

    /// Returns the word as it is stored.
    pub fn as_str(&self) -> &str {
        match self {
            State::Registered => "",
            State::Deploying => "deploying",
            State::Available => "available",
            State::Failed => "failed",
            State::Starting => "starting",
            State::Active => "active",
            State::Other(word) => word,
        }
    }

    /// Tells whether the node has the whole version on disk.
    pub fn is_ready(&self) -> bool {
        match self {
            State::Available | State::Active => true,
            State::Other(word) => word == "ready",
            State::Registered | State::Deploying | State::Failed | State::Starting => false,
        }
    }

    /// Tells whether the state is one that passes by itself: nobody is harmed when it is never written.
    pub fn is_transient(&self) -> bool {
        matches!(self, State::Deploying | State::Starting)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&printable_line(self.as_str()))
    }
}

/// What the nodes say about one version.
pub type Standings = BTreeMap<Node, State>;

/// What an agent needs to see of a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The versions that have a folder.
    pub versions: BTreeSet<Version>,
    /// The version that is to run.
    pub current: Option<Version>,
}

impl Tree {
    /// Tells whether a version is to be on disk here.
    pub fn wants(&self, version: &Version) -> bool {
        self.versions.contains(version) || self.current.as_ref() == Some(version)
    }

    /// Returns every version that is to be on disk here.
    pub fn wanted(&self) -> BTreeSet<Version> {
        self.versions.iter().chain(&self.current).cloned().collect()
    }

    /// Tells whether there is nothing at all. A lost or emptied store looks like this, and so it is never an order.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.current.is_none()
    }
}

/// Parses the value of `P/current`. An empty one, or one that cannot be a directory, names nothing.
pub fn parse_current(value: &[u8]) -> Option<Version> {
    std::str::from_utf8(value).ok()?.trim_end_matches(['\r', '\n']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a valid version")
    }

    #[test]
    fn the_keys_are_the_originals() {
        let prefix: Prefix = "/api/version/".parse().expect("outer slashes are fine");
        let node: Node = "worker-1".parse().expect("a valid name");
        assert_eq!(prefix.folder(), "api/version/");
        assert_eq!(prefix.current(), "api/version/current");
        assert_eq!(prefix.version(&version("1.0")), "api/version/1.0/");
        assert_eq!(prefix.state(&version("1.0"), &node), "api/version/1.0/worker-1");
        assert_eq!(prefix.parse_state("api/version/1.0/worker-1"), Some((version("1.0"), node)));
    }

    #[test]
    fn a_version_list_skips_current_and_names_that_are_no_directory() {
        let prefix: Prefix = "p".parse().expect("a valid prefix");
        let keys =
            ["p/1/", "p/10/", "p/current", "p/current/", "p/../", "p//", "p/.depro/", "p/loose", "q/2/"];
        let versions: Vec<String> = prefix.versions(keys).iter().map(ToString::to_string).collect();
        assert_eq!(versions, ["1", "10"]);
    }

    #[test]
    fn a_version_that_could_leave_its_folder_does_not_parse() {
        for text in ["", "..", ".", "a/b", "a b", "a\n", "current", "-prefix", "\u{7}", "a\\b", ".depro"] {
            assert!(text.parse::<Version>().is_err(), "{text:?} must be refused");
        }
        for text in ["1", "1.0-rc.1+build~2", "585ecfabf5b41bae1db7bd566ce984d77568987d", "größe"] {
            assert!(text.parse::<Version>().is_ok(), "{text:?} must be taken");
        }
    }

    #[test]
    fn a_prefix_is_stripped_of_outer_slashes_and_has_no_empty_segment() {
        assert_eq!("//a/b/".parse::<Prefix>().map(|p| p.to_string()), Ok("a/b".to_owned()));
        for text in ["", "/", "a//b", "a/../b", "a b"] {
            assert!(text.parse::<Prefix>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn every_state_word_survives_the_store() {
        for word in ["", "deploying", "available", "failed", "starting", "active", "ready", "busy", "?"] {
            assert_eq!(State::parse(word.as_bytes()).as_str(), word);
        }
        assert!(State::parse(b"ready").is_ready());
        assert!(!State::parse(b"busy").is_ready());
        assert!(!State::parse(b"failed: disk full").is_ready());
    }

    #[test]
    fn a_foreign_word_is_shown_without_what_steers_a_terminal() {
        assert_eq!(State::parse(b"\x1b[2Jfine\n! x").to_string(), "\u{fffd}[2Jfine ! x");
    }

    #[test]
    fn current_is_read_without_its_newline() {
        assert_eq!(parse_current(b"1.0\n"), Some(version("1.0")));
        assert_eq!(parse_current(b""), None);
        assert_eq!(parse_current(b"../x"), None);
    }
}
