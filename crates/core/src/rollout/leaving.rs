//! What each process group leaves behind: the same release for all of them, unless some were deployed on their own before.
//!
//! Invariant: what a target goes back to is what its own process group ran.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Rollout, distinct};
use crate::name::{AppPath, GroupName, ReleaseId};
use crate::release::Release;

/// What a process group ran before, and what stays prepared besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// What ran before; nothing where the process group is new to the app.
    pub from: Option<Release>,
    /// Further releases that stay prepared meanwhile.
    pub keep: Vec<Release>,
}

impl Rollout {
    /// Returns what this process group ran before; nothing where it is new to the app.
    pub fn from_of(&self, group: &GroupName) -> Option<&Release> {
        self.apart.get(group).map_or(self.from.as_ref(), |leaving| leaving.from.as_ref())
    }

    /// Returns what stays prepared besides on targets of this process group.
    pub(crate) fn keep_of(&self, group: &GroupName) -> &[Release] {
        self.apart.get(group).map_or(&self.keep, |leaving| &leaving.keep)
    }

    /// Lists what ran before on its targets.
    pub fn all_from(&self) -> impl Iterator<Item = &Release> {
        self.from.iter().chain(self.apart.values().flat_map(|leaving| &leaving.from))
    }

    /// Tells whether it is an app's first: nothing of it ran before, so there is nothing to go back to.
    pub fn is_first(&self) -> bool {
        !self.joins && self.all_from().next().is_none()
    }

    /// Lists every release that its orders name; one may stand there more than once.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        let apart = self.apart.values().flat_map(|leaving| &leaving.keep);
        self.all_from().chain([&self.to]).chain(&self.keep).chain(apart)
    }

    /// Tells whether this release is what all its targets ran before that ran anything.
    pub fn goes_back_to(&self, id: &ReleaseId) -> bool {
        !self.is_first() && self.all_from().all(|from| from.id == *id)
    }

    /// Lists what its forward orders keep on targets of this process group, most urgent first.
    pub(crate) fn kept_forward(&self, group: &GroupName) -> Vec<Release> {
        distinct([&self.to].into_iter().chain(self.from_of(group)).chain(self.keep_of(group)))
    }

    /// Lists what its orders back keep on targets of this process group.
    pub(crate) fn kept_back(&self, group: &GroupName) -> Vec<Release> {
        distinct(self.from_of(group).into_iter().chain(self.keep_of(group)))
    }

    /// Names what ran before: `` `1` ``, or `` `1` and `2` `` when its process groups ran different releases.
    pub fn former(&self) -> Option<String> {
        let named = self.former_ids().into_iter().map(|id| format!("`{id}`")).collect::<Vec<_>>();
        (!named.is_empty()).then(|| listed(&named))
    }

    /// Says what is so of what ran before, in the words for one release or for several: `` `1` stays ``, `` `1` and `2` stay ``.
    pub(super) fn former_does(&self, one: &str, several: &str) -> Option<String> {
        self.former().map(|former| format!("{former} {}", self.of_former(one, several)))
    }

    /// Returns the words for one release that ran before, or for several.
    pub(super) fn of_former<'a>(&self, one: &'a str, several: &'a str) -> &'a str {
        if self.former_ids().len() == 1 { one } else { several }
    }

    fn former_ids(&self) -> BTreeSet<&ReleaseId> {
        self.all_from().map(|release| &release.id).collect()
    }

    /// Names what it moves: `` `production.shop` ``, or `` process group `worker` of `production.shop` `` when it was ordered for some
    /// alone, or only brings some.
    pub fn subject(&self) -> String {
        subject(&self.path, self.named_groups())
    }

    /// Says what is so of what it moves, in the words for one or for several: `` `production.shop` runs ``, `` process groups `web` and
    /// `worker` of `production.shop` run ``.
    pub(super) fn subject_does(&self, one: &str, several: &str) -> String {
        let is_one = self.named_groups().is_none_or(|groups| groups.len() == 1);
        format!("{} {}", self.subject(), if is_one { one } else { several })
    }

    fn named_groups(&self) -> Option<&BTreeSet<GroupName>> {
        (self.is_partial || self.joins).then_some(&self.groups)
    }
}

/// Names an app, or some of its process groups.
pub(crate) fn subject(path: &AppPath, only: Option<&BTreeSet<GroupName>>) -> String {
    match only {
        None => format!("`{path}`"),
        Some(groups) => format!("{} of `{path}`", named_groups(groups)),
    }
}

/// Names process groups: `` process groups `poller` and `worker` ``.
pub(crate) fn named_groups<'a>(groups: impl IntoIterator<Item = &'a GroupName>) -> String {
    let named: Vec<String> = groups.into_iter().map(|group| format!("`{group}`")).collect();
    let noun = if named.len() == 1 { "process group" } else { "process groups" };
    format!("{noun} {}", listed(&named))
}

fn listed(names: &[String]) -> String {
    match names.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Divides what process groups leave into what the first of them does that ran anything, and what differs from that.
pub fn divided(leaving: BTreeMap<GroupName, Leaving>) -> (Leaving, BTreeMap<GroupName, Leaving>) {
    let ran = leaving.values().find(|leaving| leaving.from.is_some());
    let first = ran.or(leaving.values().next()).cloned();
    let first = first.unwrap_or(Leaving { from: None, keep: Vec::new() });
    let apart = leaving.into_iter().filter(|(_, one)| *one != first).collect();
    (first, apart)
}
