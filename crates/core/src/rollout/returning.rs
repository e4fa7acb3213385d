//! How a rollout in steps goes back: the old release up everywhere first, then the new one drained and stopped.

use super::course::{At, Position};
use super::{Observation, Outcome, Phase, Rollout, Why};
use crate::generation::Generation;
use crate::moment::Moment;
use crate::name::{HostName, Target};

impl Rollout {
    /// Turns back from whatever step it is at. Hosts that it never came to only get newer orders.
    pub(super) fn begin_return(&mut self, now: Moment, why: Why) {
        self.generation = self.generation.after(now);
        let since = self.generation;
        let hosts = self.hosts.clone();
        let course = self.course_mut();
        for host in hosts {
            let at = match course.positions.get(&host).map(|position| position.at) {
                Some(At::Renewed | At::Admitted | At::Leaving | At::Over | At::Returning) => At::Returning,
                None | Some(At::Emptied | At::Beside | At::Returned | At::Failed) => At::Returned,
            };
            course.positions.insert(host, Position { at, since });
        }
        course.mark = since;
        course.drain_until = None;
        self.paused = None;
        self.phase = Phase::TurningBack { why, until: now + self.policy.pace.step_deadline };
    }

    /// Takes a rollout in steps further back.
    pub(super) fn return_on(&mut self, seen: &Observation, why: Why, until: Moment) {
        let pace = self.policy.pace.clone();
        let returning: Vec<HostName> = self.returning().cloned().collect();
        match self.course().drain_until {
            None => {
                let has_old = |host: &HostName| !self.runs_beside() || self.has_old(seen, host);
                if returning.iter().all(has_old) || seen.now >= until {
                    self.generation = self.generation.after(seen.now);
                    let mark = self.generation;
                    let course = self.course_mut();
                    course.mark = mark;
                    course.drain_until = Some(seen.now + pace.drain);
                    let until = seen.now + pace.drain + pace.step_deadline;
                    self.phase = Phase::TurningBack { why, until };
                }
            }
            Some(drained) if !returning.is_empty() => {
                if self.is_let_go(seen, returning.iter()) || seen.now >= drained {
                    self.generation = self.generation.after(seen.now);
                    let since = self.generation;
                    let positions =
                        returning.into_iter().map(|host| (host, Position { at: At::Returned, since }));
                    self.course_mut().positions.extend(positions);
                    self.phase = Phase::TurningBack { why, until: seen.now + pace.step_deadline };
                }
            }
            Some(_) => self.end_return(seen, why, until),
        }
    }

    fn end_return(&mut self, seen: &Observation, why: Why, until: Moment) {
        let missing = self.missing(|target| self.came_back(seen, target));
        if missing.is_empty() || seen.now >= until {
            self.phase = Phase::Ended { at: seen.now, outcome: Outcome::turned_back(why, missing) };
        }
    }

    fn returning(&self) -> impl Iterator<Item = &HostName> {
        let positions = self.course.iter().flat_map(|course| &course.positions);
        positions.filter(|(_, position)| position.at == At::Returning).map(|(host, _)| host)
    }

    /// Tells whether the old release is up and healthy on this host, under the order that says so.
    pub(super) fn has_old(&self, seen: &Observation, host: &HostName) -> bool {
        let Some(from) = &self.from else { return true };
        let is_there = |target: Target| {
            let report = seen.report(&target).filter(|report| report.generation >= self.since(&target.host));
            report.is_some_and(|report| !from.has_services() || report.is_ready(&from.id))
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
        if let Some(course) = &mut self.course {
            course.base = generation;
            course.mark = generation;
            course.positions.values_mut().for_each(|position| position.since = generation);
        }
    }
}
