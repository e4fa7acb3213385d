//! How a rollout in steps goes back: the old release up everywhere first, then the new one drained and stopped.

use std::collections::BTreeSet;

use super::course::{At, Position, WayBack};
use super::{Observation, Outcome, Phase, Rollout, Why};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{HostName, Target};

impl Rollout {
    /// Turns back from whatever step it is at. Hosts that users never had it on only get newer orders.
    pub(super) fn begin_return(&mut self, now: Moment, why: Why) {
        self.generation = self.generation.after(now);
        let since = self.generation;
        let (both, services) = (self.runs_beside(), self.to.has_services());
        let had_share = self.share().is_some();
        let hosts: BTreeSet<HostName> =
            self.hosts.iter().chain(self.course().positions.keys()).cloned().collect();
        let course = self.course_mut();
        for host in hosts {
            let at = match course.positions.get(&host).map(|position| position.at) {
                Some(At::Admitted | At::Leaving | At::Returning) => At::Returning,
                // Users have it, and nothing may run beside it: it finishes first.
                Some(At::Over) if services && !both => At::Returning,
                Some(At::Renewed | At::Over | At::Restoring) => At::Restoring,
                None | Some(At::Emptied | At::Beside | At::Returned | At::Failed | At::Skipped) => {
                    At::Returned
                }
            };
            course.positions.insert(host, Position { at, since });
        }
        course.mark = since;
        course.had_share = had_share;
        self.paused = None;
        self.go_back(WayBack::Restoring, why, now + self.policy.pace.step_deadline);
    }

    /// Takes a rollout in steps further back.
    pub(super) fn return_on(&mut self, seen: &Observation, why: Why, until: Moment) {
        let (now, is_late) = (seen.now, seen.now >= until);
        let (in_a_step, drained) = (now + self.policy.pace.step_deadline, now + self.policy.pace.drain);
        match self.course().way_back.unwrap_or(WayBack::Restoring) {
            WayBack::Restoring if is_late || self.unrestored(seen).next().is_none() => {
                self.generation = self.generation.after(now);
                self.course_mut().mark = self.generation;
                self.go_back(WayBack::Shifting, why, in_a_step);
            }
            WayBack::Shifting if until < in_a_step && self.is_untold(seen) => {
                self.go_back(WayBack::Shifting, why, in_a_step);
            }
            WayBack::Shifting if is_late || self.returning().next().is_none() || self.is_followed(seen) => {
                self.give_up_the_absent();
                self.go_back(WayBack::Draining, why, drained);
            }
            WayBack::Draining if is_late || self.is_let_go(seen, self.returning()) => {
                let returning = self.returning().filter(|host| !self.is_still_coming_up(seen, host));
                let returning: Vec<HostName> = returning.cloned().collect();
                self.position(returning, At::Returned, now);
                self.go_back(WayBack::Stopping, why, in_a_step);
            }
            WayBack::Stopping => self.end_return(seen, why, until),
            WayBack::Restoring | WayBack::Shifting | WayBack::Draining => {}
        }
    }

    fn go_back(&mut self, way_back: WayBack, why: Why, until: Moment) {
        self.course_mut().way_back = Some(way_back);
        self.phase = Phase::TurningBack { why, until };
    }

    /// Lists the hosts on which the old release has yet to come up before the new one leaves any: beside it, or in its place where
    /// nobody has the new one. Those that are away are not waited for.
    pub(super) fn unrestored<'a>(&'a self, seen: &'a Observation) -> impl Iterator<Item = &'a HostName> {
        let comes_up = |host: &HostName| self.runs_beside() || self.at(host) == Some(At::Restoring);
        let awaited = self.returning().filter(move |host| comes_up(host) && self.hosts.contains(*host));
        awaited.filter(|host| !self.has_old(seen, host))
    }

    fn end_return(&mut self, seen: &Observation, why: Why, until: Moment) {
        let missing = self.missing(|target| self.came_back(seen, target));
        if missing.is_empty() || seen.now >= until {
            self.phase = Phase::Ended { at: seen.now, outcome: Outcome::turned_back(why, missing) };
        }
    }

    fn returning(&self) -> impl Iterator<Item = &HostName> {
        let positions = self.course.iter().flat_map(|course| &course.positions);
        let returns = |position: &Position| matches!(position.at, At::Returning | At::Restoring);
        positions.filter(move |(_, position)| returns(position)).map(|(host, _)| host)
    }

    /// Tells whether the old release, alone on its host, has yet to come up by the order that it has: what is reported of it may be older than
    /// the order that stopped it, so it stays where a report of that age lets no request in.
    fn is_still_coming_up(&self, seen: &Observation, host: &HostName) -> bool {
        !self.runs_beside() && self.at(host) == Some(At::Restoring) && !self.has_old(seen, host)
    }

    fn at(&self, host: &HostName) -> Option<At> {
        let position = self.course.as_ref().and_then(|course| course.positions.get(host));
        position.map(|position| position.at)
    }

    /// Tells whether the old release is up and healthy on this host, under the order that says so.
    pub(super) fn has_old(&self, seen: &Observation, host: &HostName) -> bool {
        let is_there = |target: Target| {
            let Some(from) = self.from_of(&target.group) else { return true };
            let report = seen.report(&target).filter(|report| report.generation >= self.since(&target.host));
            report.is_some_and(|report| !from.serves(&target.group) || report.is_ready(&from.id))
        };
        super::targets_of(host, &self.groups).all(is_there)
    }

    /// Returns the age of this host's order.
    pub(super) fn since(&self, host: &HostName) -> Generation {
        let position = self.course.as_ref().and_then(|course| course.positions.get(host));
        position.map_or(self.generation, |position| position.since)
    }

    /// Gives every order this age, after a store was restored.
    pub(super) fn renew(&mut self, generation: Generation) {
        self.roll_call = generation;
        if let Some(course) = &mut self.course {
            course.base = generation;
            course.mark = generation;
            course.positions.values_mut().for_each(|position| position.since = generation);
        }
    }
}
