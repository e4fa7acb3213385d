//! How far the hosts of a rollout in steps are with the new release, by what they reported under the orders that they have.

use std::collections::BTreeSet;

use super::course::{At, Part, Position};
use super::{Observation, Rollout};
use crate::name::{GroupName, HostName, Target};
use crate::target::Report;

impl Rollout {
    /// Lists the targets that the part waits for.
    pub(super) fn late(&self, seen: &Observation, part: Part) -> BTreeSet<Target> {
        let course = self.course();
        let waits_for = |host: &HostName, position: &Position| match part {
            Part::Starting => {
                matches!(position.at, At::Beside | At::Renewed | At::Admitted) && !self.is_up(seen, host)
            }
            // What was accepted on one host may be ill by the time it is on the last.
            Part::Accepting => {
                let is_tried = self.accepting(course).any(|other| other == host);
                (is_tried && !self.has_accepted(seen, host))
                    || (matches!(position.at, At::Beside | At::Renewed) && !self.is_up(seen, host))
            }
            Part::Settling => {
                matches!(position.at, At::Admitted | At::Leaving | At::Over) && !self.is_up(seen, host)
            }
            Part::Stopping => position.at == At::Over && !self.is_alone(seen, host),
            // While nothing is tried again, the first host has accepted as often as it must.
            Part::Watching => course.first() == Some(host) && !self.has_accepted(seen, host),
            Part::Holding | Part::Calling | Part::Withdrawing => false,
            Part::Emptying | Part::Shifting | Part::Draining => false,
        };
        let late = course.positions.iter().filter(|(host, _)| self.hosts.contains(*host));
        let late = late.filter(|(host, position)| waits_for(host, position));
        late.flat_map(|(host, _)| super::targets_of(host, &self.groups)).collect()
    }

    /// Counts the hosts that have the new release and on which it is not ready.
    pub(super) fn unready(&self, seen: &Observation) -> usize {
        let late = self.late(seen, Part::Settling);
        late.iter().map(|target| &target.host).collect::<BTreeSet<_>>().len()
    }

    /// Returns how many hosts may be so when the next step begins; at the end none may.
    pub(super) fn unready_max(&self, step: u32) -> usize {
        let is_last = self.is_last(step);
        let most = self.policy.pace.unavailable_max.filter(|_| !is_last && self.runs_beside());
        most.map_or(0, |most| most.of(self.hosts.len()))
    }

    /// Tells whether this host runs the new release already, and nothing else is well there.
    pub(super) fn has_only_new(&self, seen: &Observation, host: &HostName) -> bool {
        seen.is_alive(host)
            && super::targets_of(host, &self.groups).all(|target| {
                seen.report(&target).is_some_and(|report| {
                    let is_up = !self.to.serves(&target.group) || report.is_ready(&self.to.id);
                    let others = || report.up.keys().filter(|id| **id != self.to.id);
                    is_up && report.runs(&self.to.id) && !others().any(|id| report.is_ready(id))
                })
            })
    }

    /// Lists the hosts that the acceptance hook is waited for on: those about to be let in, and the first of all.
    pub(super) fn accepting<'a>(&'a self, course: &'a super::Course) -> impl Iterator<Item = &'a HostName> {
        let first = course.first();
        let entering = |at: At| matches!(at, At::Beside | At::Renewed);
        course
            .positions
            .iter()
            .filter(move |(host, position)| entering(position.at) || Some(*host) == first)
            .map(|(host, _)| host)
            .filter(|host| self.hosts.contains(*host))
    }

    /// Tells whether this is so on all targets of this host, by what they reported under the order that it has.
    fn all_report(
        &self,
        seen: &Observation,
        host: &HostName,
        is_so: impl Fn(&GroupName, &Report) -> bool,
    ) -> bool {
        let since = self.course().positions.get(host).map_or(self.generation, |position| position.since);
        super::targets_of(host, &self.groups).all(|target| {
            let report = seen.report(&target).filter(|report| report.generation >= since);
            report.is_some_and(|report| is_so(&target.group, report))
        })
    }

    /// Tells whether the new release is up and healthy on this host, under the order that says so.
    pub(super) fn is_up(&self, seen: &Observation, host: &HostName) -> bool {
        let runs_it = self
            .course()
            .positions
            .get(host)
            .is_some_and(|position| matches!(position.at, At::Renewed | At::Over));
        self.all_report(seen, host, |group, report| {
            let ready = !self.to.serves(group) || report.is_ready(&self.to.id);
            ready && (!runs_it || report.runs(&self.to.id))
        })
    }

    pub(super) fn has_accepted(&self, seen: &Observation, host: &HostName) -> bool {
        let course = self.course();
        let round = self.acceptances(host, course);
        self.all_report(seen, host, |group, report| {
            let accepted = report.up.get(&self.to.id).is_some_and(|up| up.accepted >= round);
            !self.to.serves(group) || accepted
        })
    }

    /// Tells whether only the new release is up on this host.
    pub(super) fn is_alone(&self, seen: &Observation, host: &HostName) -> bool {
        self.all_report(seen, host, |_, report| {
            report.runs(&self.to.id) && report.up.keys().all(|id| *id == self.to.id)
        })
    }
}
