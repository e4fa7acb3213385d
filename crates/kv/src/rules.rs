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

#[cfg(test)]
mod tests {
    use super::{Access, Rights, Rule, check_name};

    fn rights(rules: &[(&str, Access)]) -> Rights {
        let rules = rules.iter().map(|(prefix, access)| Rule { prefix: (*prefix).into(), access: *access });
        Rights { rules: rules.collect(), sessions: None }
    }

    #[test]
    fn the_longest_prefix_decides_and_without_one_nothing_is_allowed() {
        let rights = rights(&[("", Access::Read), ("a/", Access::Write), ("a/b/", Access::Deny)]);
        assert!(rights.allow_key("x", Access::Read) && !rights.allow_key("x", Access::Write));
        assert!(rights.allow_key("a/x", Access::Write) && !rights.allow_key("a/b/x", Access::Read));
        assert!(rights.allow_key("a/b", Access::Write), "the rule is about what lies below the slash");
        assert!(rights.allow_tree("a/c/", Access::Write) && !rights.allow_tree("a/", Access::Read));
        assert!(!Rights::default().allow_key("x", Access::Read));
    }

    #[test]
    fn a_name_fills_a_template_and_cannot_leave_its_segment() {
        let template = rights(&[("agents/{name}/", Access::Write)]);
        let own = template.for_name("host7");
        assert!(
            own.allow_key("agents/host7/x", Access::Write) && !own.allow_key("agents/host70/x", Access::Read)
        );
        assert!(check_name("web-1.example~20").is_ok());
        for name in ["", ".", "..", "a/b", "a b", "\n", "{name}", "ü", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
