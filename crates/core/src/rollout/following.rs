//! What a rollout in steps waits for of routers: that they follow, and that they have nothing in flight on what leaves.
//!
//! Invariants: a router whose agent is away is waited for like any other, as it may serve on and cut off what stops, unless it did
//! not answer the roll call before the first step.

use std::collections::BTreeSet;

use super::outcome::Few;
use super::{Observation, OnVanished, Rollout, RouterSeen};
use crate::generation::Generation;
use crate::name::HostName;

impl Rollout {
    /// Tells whether requests go to what the rollout moves.
    pub(super) fn is_routed(&self) -> bool {
        self.to.has_services() || self.leaves_services()
    }

    /// Lists the routers that matter: the living, and those whose agents went away since the roll call.
    fn routers<'a>(
        &self,
        seen: &'a Observation,
    ) -> impl Iterator<Item = (&'a HostName, &'a RouterSeen)> + use<'a> {
        let roll_call = self.roll_call;
        seen.routers.iter().filter(move |(_, router)| router.alive || router.followed.revision >= roll_call)
    }

    /// Lists the routers that do not follow yet what was marked last.
    fn behind<'a>(
        &self,
        seen: &'a Observation,
    ) -> impl Iterator<Item = (&'a HostName, &'a RouterSeen)> + use<'a> {
        let mark = if self.is_routed() { self.course().mark } else { Generation::default() };
        self.routers(seen).filter(move |(_, router)| router.followed.revision < mark)
    }

    /// Tells whether the roll call is still open to those whose agents are away.
    pub(super) fn awaits_the_absent(&self) -> bool {
        self.roll_call < self.course().mark
    }

    /// From now on only routers are waited for whose agents live, or that follow what was marked last.
    pub(super) fn give_up_the_absent(&mut self) {
        self.roll_call = self.course().mark;
    }

    /// Tells whether every router follows what was marked last.
    pub(super) fn is_followed(&self, seen: &Observation) -> bool {
        self.behind(seen).next().is_none()
    }

    /// Tells whether routers could not follow, as the store does not hold yet what was marked last: the controller was away. Then
    /// their time begins anew.
    pub(super) fn is_untold(&self, seen: &Observation) -> bool {
        self.is_routed() && seen.told.is_some_and(|told| told < self.course().mark)
    }

    /// Tells whether no router has requests in flight on what leaves these hosts.
    pub(super) fn is_let_go<'a>(
        &self,
        seen: &Observation,
        hosts: impl Iterator<Item = &'a HostName>,
    ) -> bool {
        let hosts: BTreeSet<&HostName> = hosts.collect();
        let busy = |(_, router): (&HostName, &RouterSeen)| {
            router
                .followed
                .busy
                .iter()
                .any(|busy| hosts.contains(&busy.target.host) && self.groups.contains(&busy.target.group))
        };
        self.is_followed(seen) && !self.routers(seen).any(busy)
    }

    /// Tells whether the rollout goes on without the routers that are behind: it may, and the agents of all of them are away.
    pub(super) fn may_give_up(&self, seen: &Observation) -> bool {
        let goes_on = self.policy.on_vanished == OnVanished::GoOn;
        goes_on && !self.is_followed(seen) && self.behind(seen).all(|(_, router)| !router.alive)
    }

    /// Names the routers that do not follow yet.
    pub(super) fn laggards(&self, seen: &Observation) -> Few {
        let name = |(host, router): (&HostName, &RouterSeen)| match router.alive {
            true => format!("the router on {host}"),
            false => format!("the router on {host}, whose agent is away,"),
        };
        Few::new(self.behind(seen).map(name), 0)
    }
}
