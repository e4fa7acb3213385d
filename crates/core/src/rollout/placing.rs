//! Where the hosts of a rollout in steps stand: who is next, who moves on, who is passed over.
//!
//! Invariant: a position changes together with the generation of its order, unless the order stays the same.

use std::collections::BTreeSet;

use super::course::{At, Position};
use super::{Observation, Outcome, Rollout};
use crate::moment::Moment;
use crate::name::HostName;

impl Rollout {
    /// Leaves hosts alone that were cordoned before it came to them.
    pub(super) fn skip_cordoned(&mut self, seen: &Observation) {
        let is_old = |host: &HostName| !self.course().positions.contains_key(host);
        let cordoned: Vec<HostName> =
            self.hosts.iter().filter(|host| is_old(host) && seen.is_cordoned(host)).cloned().collect();
        if cordoned.len() == self.hosts.len() {
            return;
        }
        for host in cordoned {
            self.generation = self.generation.after(seen.now);
            self.hosts.remove(&host);
            self.set_aside.insert(host, self.generation);
        }
    }

    /// Goes on without hosts that are away. One that has the new release alone, or that users have already, keeps it.
    pub(super) fn skip(&mut self, hosts: BTreeSet<HostName>, now: Moment) {
        let positions = &self.course().positions;
        let at = |host: &HostName| positions.get(host).map(|position| position.at);
        let back = |host: &&HostName| matches!(at(host), None | Some(At::Emptied | At::Renewed | At::Beside));
        let back: Vec<HostName> = hosts.iter().filter(back).cloned().collect();
        self.position(back, At::Skipped, now);
        self.excuse(hosts);
    }

    /// Takes along hosts that were set aside and are free now: they run what ran before until the end.
    pub(super) fn skip_freed(&mut self, freed: Vec<HostName>, now: Moment) {
        let arrived = self.outcome().is_some_and(Outcome::keeps_forward_orders);
        if self.course.is_some() && !arrived {
            self.position(freed, At::Skipped, now);
        }
    }

    /// Tells whether it moves what this host runs: until it has come there, the host stays as it was.
    pub(crate) fn has_come_to(&self, host: &HostName) -> bool {
        self.course.as_ref().is_some_and(|course| course.positions.contains_key(host))
    }

    /// Tells whether users have nothing of its release on this host by its doing: it has not come there, or was not let in.
    pub(crate) fn has_yet_to_let_in(&self, host: &HostName) -> bool {
        let position = self.course.as_ref().and_then(|course| course.positions.get(host));
        position.is_none_or(|position| matches!(position.at, At::Beside | At::Failed | At::Skipped))
    }

    /// Lists so many hosts that it has not come to, so that `up` of all have a position.
    pub(super) fn next_hosts(&self, up: usize) -> Vec<HostName> {
        let positions = &self.course().positions;
        let has_it =
            |host: &&HostName| positions.get(*host).is_some_and(|position| position.at <= At::Returned);
        let more = up.saturating_sub(self.hosts.iter().filter(has_it).count());
        self.hosts.iter().filter(|host| !positions.contains_key(*host)).take(more).cloned().collect()
    }

    /// Lists the hosts that must start the new release without the old one beside it.
    pub(super) fn pending(&self, up: usize) -> Vec<HostName> {
        let emptied = self.course().positions.iter().filter(|(_, position)| position.at == At::Emptied);
        emptied.map(|(host, _)| host.clone()).chain(self.next_hosts(up)).collect()
    }

    pub(super) fn position(&mut self, hosts: Vec<HostName>, at: At, now: Moment) {
        if hosts.is_empty() {
            return;
        }
        let since = match at {
            At::Emptied => self.course().base,
            _ => {
                self.generation = self.generation.after(now);
                self.generation
            }
        };
        self.course_mut().positions.extend(hosts.into_iter().map(|host| (host, Position { at, since })));
    }

    /// Moves the hosts at one position, as many as may reach the other, and tells whether there were any. One that is away
    /// and waited for no more keeps its position.
    pub(super) fn replace(&mut self, before: At, after: At, at_most: usize, now: Moment) -> bool {
        let beyond = |position: &Position| position.at >= after && position.at <= At::Over;
        let positions = self.course().positions.iter().filter(|(host, _)| self.hosts.contains(*host));
        let more = at_most.saturating_sub(positions.clone().filter(|(_, position)| beyond(position)).count());
        let moved: Vec<HostName> = positions
            .filter(|(_, position)| position.at == before)
            .map(|(host, _)| host.clone())
            .take(more)
            .collect();
        let any = !moved.is_empty();
        let keeps_order = matches!(
            (before, after),
            (At::Beside, At::Admitted) | (At::Admitted, At::Leaving) | (At::Renewed, At::Over)
        );
        if keeps_order {
            for host in moved {
                if let Some(position) = self.course_mut().positions.get_mut(&host) {
                    position.at = after;
                }
            }
        } else {
            self.position(moved, after, now);
        }
        any
    }

    /// Demands that routers follow what is so from now on.
    pub(super) fn mark(&mut self, now: Moment) {
        self.generation = self.generation.after(now);
        let mark = self.generation;
        self.course_mut().mark = mark;
    }
}
