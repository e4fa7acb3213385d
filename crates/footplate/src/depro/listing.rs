//! What the nodes say, from the keys of the tree as the store lists them.

use std::collections::BTreeSet;

use footplate_drivers::store::consul::Pair;

use super::readiness::{self, Stored};
use super::tree::{Node, Prefix, Standings, Version};

fn stored(pair: &Pair) -> Stored<'_> {
    Stored { key: &pair.key, value: &pair.value, held: pair.holder().is_some() }
}

/// Returns what the nodes say about a version.
pub fn standings(prefix: &Prefix, version: &Version, pairs: &[Pair]) -> Standings {
    readiness::standings(prefix, pairs.iter().map(stored)).remove(version).unwrap_or_default()
}

/// Returns the nodes that live.
pub fn alive(prefix: &Prefix, pairs: &[Pair]) -> BTreeSet<Node> {
    readiness::alive(prefix, pairs.iter().map(stored))
}

/// Returns names as people write them: `a, b, c`.
pub fn said(nodes: &[Node]) -> String {
    nodes.iter().map(Node::as_str).collect::<Vec<_>>().join(", ")
}
