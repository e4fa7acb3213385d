//! Whether a version may be switched to, and whether the switch has ended: pure functions of what the nodes say.
//!
//! Invariants: readiness is judged over all nodes of the listing, changed or not (the original looked only at those
//! that had just changed, and so switched too early); an unknown word is not ready; a failed node fails the deploy.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Node, Prefix, Standings, State, Version};

/// What `deploy` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The version to run.
    pub version: Version,
    /// At least so many nodes must have it.
    pub nodes_min: usize,
}

/// Whether all nodes have the version on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// Not yet. Nothing may switch.
    Waiting(Waiting),
    /// These nodes failed.
    Failed(Vec<Node>),
    /// These nodes have it, and they are all.
    Ready(BTreeSet<Node>),
}

/// What a deploy waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Nodes that said something else than what is waited for, and what.
    pub unready: Vec<(Node, State)>,
    /// Nodes that live under another version, or were there before, and said nothing.
    pub silent: Vec<Node>,
    /// How many nodes, of unknown names, are missing.
    pub missing: usize,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unready = self.unready.iter().map(|(node, state)| match state {
            State::Registered => format!("{node} (registered)"),
            state => format!("{node} ({state})"),
        });
        let silent = self.silent.iter().map(|node| format!("{node} (silent)"));
        let mut parts: Vec<String> = unready.chain(silent).collect();
        match self.missing {
            0 => {}
            1 => parts.push("1 more node".to_owned()),
            many => parts.push(format!("{many} more nodes")),
        }
        f.write_str(&parts.join(", "))
    }
}

/// Judges whether a version may be switched to. `expected` are the nodes that live under any version of the prefix.
pub fn prepared(goal: &Goal, standings: &Standings, expected: &BTreeSet<Node>) -> Prepared {
    let failed = failed(standings);
    if !failed.is_empty() {
        return Prepared::Failed(failed);
    }
    let waiting = Waiting {
        unready: unless(standings, State::is_ready),
        silent: expected.iter().filter(|node| !standings.contains_key(*node)).cloned().collect(),
        missing: goal.nodes_min.saturating_sub(standings.len()),
    };
    // The silent ones count towards the missing: they are the same nodes.
    let waiting = Waiting { missing: waiting.missing.saturating_sub(waiting.silent.len()), ..waiting };
    if waiting == Waiting::default() {
        Prepared::Ready(standings.keys().cloned().collect())
    } else {
        Prepared::Waiting(waiting)
    }
}

/// Whether the switch has reached every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activated {
    /// Not yet.
    Waiting(Waiting),
    /// All required nodes ended, these without success.
    Failed(Vec<Node>),
    /// All required nodes run the version.
    Everywhere,
}

/// Judges whether the switch has ended. `required` had the version when it began; `seen_active` are those that have
/// said `active` since: an original agent may say `available` again after it.
pub fn activated(
    standings: &Standings,
    required: &BTreeSet<Node>,
    seen_active: &BTreeSet<Node>,
) -> Activated {
    let failed: Vec<Node> =
        failed(standings).into_iter().filter(|node| !seen_active.contains(node)).collect();
    let open = |node: &&Node| !seen_active.contains(*node) && !failed.contains(node);
    let mut waiting = Waiting::default();
    for node in required.iter().filter(open) {
        match standings.get(node) {
            Some(state) => waiting.unready.push((node.clone(), state.clone())),
            None => waiting.silent.push(node.clone()),
        }
    }
    match (waiting == Waiting::default(), failed.is_empty()) {
        (false, _) => Activated::Waiting(waiting),
        (true, false) => Activated::Failed(failed),
        (true, true) => Activated::Everywhere,
    }
}

fn failed(standings: &Standings) -> Vec<Node> {
    standings.iter().filter(|(_, state)| **state == State::Failed).map(|(node, _)| node.clone()).collect()
}

fn unless(standings: &Standings, fine: impl Fn(&State) -> bool) -> Vec<(Node, State)> {
    standings
        .iter()
        .filter(|(_, state)| !fine(state))
        .map(|(node, state)| (node.clone(), state.clone()))
        .collect()
}

/// Returns the lines that tell people what changed between two listings of a version, in the original's forms.
pub fn progress(version: &Version, before: &Standings, now: &Standings) -> Vec<String> {
    let mut lines = Vec::new();
    for (node, state) in now {
        let old = before.get(node);
        match old {
            None if *state == State::Registered => lines.push(format!("+ {node}")),
            None => lines.push(format!("+ {node} #{state}")),
            Some(old) if old != state => lines.push(format!("> {node} #{old} -> #{state}")),
            Some(_) => continue,
        }
        if state.is_ready() && !old.is_some_and(|old| old.is_ready() || *old == State::Starting) {
            lines.push(format!("+ {version}@{node}"));
        }
        if *state == State::Failed {
            lines.push(format!("! {node} #failed"));
        }
    }
    let gone = before.iter().filter(|(node, _)| !now.contains_key(*node));
    lines.extend(gone.map(|(node, old)| format!("- {node} #{old}")));
    lines
}

/// A key of the tree as it was read: its name, its value, and whether a session holds it.
pub struct Stored<'a> {
    /// The full key.
    pub key: &'a str,
    /// Its value.
    pub value: &'a [u8],
    /// Whether it dies with an agent. One that does not may have been left behind by an original agent.
    pub held: bool,
}

/// Returns what the nodes say, by version, from all keys of a prefix.
pub fn standings<'a>(
    prefix: &Prefix,
    keys: impl IntoIterator<Item = Stored<'a>>,
) -> BTreeMap<Version, Standings> {
    let mut found: BTreeMap<Version, Standings> = BTreeMap::new();
    for stored in keys {
        if let Some((version, node)) = prefix.parse_state(stored.key) {
            found.entry(version).or_default().insert(node, State::parse(stored.value));
        }
    }
    found
}

/// Returns the nodes that live: those with a key that a session holds, under any version of the prefix.
pub fn alive<'a>(prefix: &Prefix, keys: impl IntoIterator<Item = Stored<'a>>) -> BTreeSet<Node> {
    let held = keys.into_iter().filter(|stored| stored.held);
    held.filter_map(|stored| prefix.parse_state(stored.key)).map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(nodes_min: usize) -> Goal {
        Goal { version: "1".parse().expect("valid"), nodes_min }
    }

    fn nodes(names: &[&str]) -> BTreeSet<Node> {
        names.iter().map(|name| name.parse().expect("valid")).collect()
    }

    fn said(states: &[(&str, &str)]) -> Standings {
        states.iter().map(|(n, s)| (n.parse().expect("valid"), State::parse(s.as_bytes()))).collect()
    }

    fn is_ready(nodes_min: usize, states: &[(&str, &str)], expected: &[&str]) -> bool {
        matches!(prepared(&goal(nodes_min), &said(states), &nodes(expected)), Prepared::Ready(_))
    }

    #[test]
    fn one_unready_node_holds_everybody_back() {
        assert!(is_ready(2, &[("a", "available"), ("b", "ready")], &[]));
        for word in ["", "deploying", "starting", "busy", "failed: disk full"] {
            assert!(!is_ready(2, &[("a", "available"), ("b", word), ("c", "active")], &[]), "{word:?}");
        }
    }

    #[test]
    fn fewer_nodes_than_asked_for_are_waited_for() {
        assert!(!is_ready(3, &[("a", "available"), ("b", "available")], &[]));
        assert!(!is_ready(1, &[], &[]));
    }

    #[test]
    fn a_node_that_lives_under_another_version_is_waited_for() {
        let verdict = prepared(&goal(1), &said(&[("a", "available")]), &nodes(&["a", "b"]));
        let Prepared::Waiting(waiting) = verdict else { panic!("{verdict:?}") };
        assert_eq!(waiting.to_string(), "b (silent)");
        let verdict = prepared(&goal(4), &said(&[("a", "deploying")]), &nodes(&["a", "b"]));
        let Prepared::Waiting(waiting) = verdict else { panic!("{verdict:?}") };
        assert_eq!(waiting.to_string(), "a (deploying), b (silent), 2 more nodes");
    }

    #[test]
    fn one_failed_node_fails_the_deploy() {
        let verdict = prepared(&goal(1), &said(&[("a", "available"), ("b", "failed")]), &nodes(&[]));
        assert_eq!(verdict, Prepared::Failed(vec!["b".parse().expect("valid")]));
    }

    #[test]
    fn a_switch_ends_when_every_required_node_has_been_active() {
        let required = nodes(&["a", "b"]);
        let now = said(&[("a", "active"), ("b", "starting")]);
        assert!(matches!(activated(&now, &required, &nodes(&["a"])), Activated::Waiting(_)));
        let now = said(&[("a", "available"), ("b", "active"), ("joined-later", "deploying")]);
        assert_eq!(activated(&now, &required, &nodes(&["a", "b"])), Activated::Everywhere);
        let now = said(&[("a", "active"), ("b", "failed")]);
        assert_eq!(
            activated(&now, &required, &nodes(&["a"])),
            Activated::Failed(vec!["b".parse().expect("valid")])
        );
    }

    #[test]
    fn a_node_that_vanishes_during_the_switch_is_waited_for() {
        let verdict = activated(&said(&[("a", "active")]), &nodes(&["a", "b"]), &nodes(&["a"]));
        let Activated::Waiting(waiting) = verdict else { panic!("{verdict:?}") };
        assert_eq!(waiting.to_string(), "b (silent)");
    }

    #[test]
    fn progress_is_told_in_the_originals_lines() {
        let version = "1".parse().expect("valid");
        let before =
            said(&[("b", ""), ("c", "deploying"), ("d", "available"), ("e", "available"), ("f", "")]);
        let now = said(&[
            ("a", ""),
            ("b", "available"),
            ("c", "failed"),
            ("e", "starting"),
            ("f", ""),
            ("g", "deploying"),
        ]);
        assert_eq!(
            progress(&version, &before, &now),
            [
                "+ a",
                "> b # -> #available",
                "+ 1@b",
                "> c #deploying -> #failed",
                "! c #failed",
                "> e #available -> #starting",
                "+ g #deploying",
                "- d #available",
            ]
        );
    }

    #[test]
    fn a_version_is_not_confused_with_a_longer_one() {
        let prefix: Prefix = "p".parse().expect("valid");
        let stored = |key, held| Stored { key, value: b"available", held };
        let keys = || {
            [stored("p/1/", false), stored("p/1/a", true), stored("p/10/b", true), stored("p/1.1/c", false)]
        };
        let found = standings(&prefix, keys());
        assert_eq!(found[&"1".parse().expect("valid")].len(), 1);
        assert_eq!(alive(&prefix, keys()), nodes(&["a", "b"]), "a key without session may be a ghost's");
    }
}
