//! What a token may do: rules by key prefix, the longest match decides. Without a match nothing is allowed.

use serde::{Deserialize, Serialize};

/// What a rule allows below its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Nothing.
    Deny,
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The keys it is about: all that begin with this text. In a join token `{name}` stands for the name that joins.
    pub prefix: String,
    /// What is allowed there.
    pub access: Access,
}

/// What a token may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// By key prefix; the longest prefix of a key decides.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Sessions: read, or create and end them.
    #[serde(default)]
    pub sessions: Option<Access>,
}

impl Rights {
    /// Tells whether one key may be accessed so.
    pub fn allow_key(&self, key: &str, wanted: Access) -> bool {
        let matching = self.rules.iter().filter(|rule| key.starts_with(&rule.prefix));
        let decides = matching.max_by_key(|rule| rule.prefix.len());
        decides.is_some_and(|rule| rule.access >= wanted)
    }

    /// Tells whether every key below a prefix may be accessed so: the prefix itself, and no rule below takes it back.
    pub fn allow_tree(&self, prefix: &str, wanted: Access) -> bool {
        let mut below = self.rules.iter().filter(|rule| rule.prefix.starts_with(prefix));
        self.allow_key(prefix, wanted) && below.all(|rule| rule.access >= wanted)
    }

    /// Tells whether sessions may be accessed so.
    pub fn allow_sessions(&self, wanted: Access) -> bool {
        self.sessions.is_some_and(|access| access >= wanted)
    }

    /// Returns these rights with `{name}` filled in.
    pub fn for_name(&self, name: &str) -> Rights {
        let rules = self.rules.iter();
        let rules =
            rules.map(|rule| Rule { prefix: rule.prefix.replace("{name}", name), access: rule.access });
        Rights { rules: rules.collect(), sessions: self.sessions }
    }
}

/// Checks that a name can be one segment of a key.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '~');
    if name.is_empty() || name.len() > 128 {
        return Err(format!("a name has 1 to 128 bytes, {name:?} has {}", name.len()));
    }
    if name == "." || name == ".." || !name.chars().all(fine) {
        return Err(format!("{name:?} is no key segment: letters, digits and . _ - ~ only, and not . or .."));
    }
    Ok(())
}
