//! From runs to rows: names, units, and the targets with the sizes at which they hold.

use super::observation::Deployment;
use super::originals::{self, Quantity};
use super::work::Work;
use crate::bench::process::Process;
use crate::bench::report::Row;
use crate::bench::server::Kind;
use std::time::Duration;

/// Which site and which work a row speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub kind: Kind,
    pub agents: usize,
    pub work: Work,
    /// Whether it is the original's layout, which carries no targets of time.
    pub is_depro: bool,
}

const REQUESTS_MAX: f64 = 6.0;
const MEMORY_MAX_MIB: f64 = 10.0;
const REQUESTS_AT_REST_MAX: f64 = 0.2;
/// A deployment with the original's scripts may take so many times what the scripts alone take.
const FLOORS_MAX: f64 = 2.0;

impl Place {
    fn name(&self, quantity: &str) -> String {
        let layout = if self.is_depro { "depro " } else { "" };
        format!("{} × {} {layout}{}: {quantity}", self.kind.name(), self.agents, self.work.app())
    }

    fn original(&self, quantity: Quantity) -> Option<&'static str> {
        originals::figure(quantity, self.work, self.agents)
    }

    /// Returns the longest allowed time from start to last activation, in seconds.
    fn whole_max(&self) -> Option<f64> {
        match (self.kind, self.work, self.agents) {
            _ if self.is_depro => None,
            (Kind::Etcd, ..) => None,
            (_, Work::Scripts, 100) => Some(0.5),
            (_, Work::Scripts, 200) => Some(1.1),
            (_, Work::Directories, 100) => Some(0.35),
            (_, Work::Directories, 200) => Some(0.8),
            _ => None,
        }
    }

    /// Returns the longest allowed time from the barrier to the last activation, in seconds.
    fn switch_max(&self) -> Option<f64> {
        let holds = self.kind != Kind::Etcd && self.work == Work::Directories && self.agents == 200;
        holds.then_some(0.15)
    }
}

/// Makes the rows of a few deployments of one kind.
pub fn of_deployments(place: &Place, deployments: &[Deployment]) -> Vec<Row> {
    let values =
        |of: &dyn Fn(&Deployment) -> Option<f64>| deployments.iter().filter_map(of).collect::<Vec<f64>>();
    let to_last = values(&|found| Some(found.to_last.as_secs_f64()));
    let switch = values(&|found| Some(found.switch?.as_secs_f64()));
    let unfinished = values(&|found| Some(found.unfinished as f64));
    let early = values(&|found| Some(found.early as f64));
    let timed = |name: &str, quantity, runs: &[f64], target: Option<f64>| {
        let row = Row::new(place.name(name), "s", runs)?.original(place.original(quantity));
        Some(match target {
            Some(target) => row.at_most(target),
            None => row,
        })
    };
    let promised = |name: &str, quantity, runs: &[f64]| {
        Some(Row::new(place.name(name), "hosts", runs)?.never_above(0.0).original(place.original(quantity)))
    };
    [
        timed("start to last activation", Quantity::ToLast, &to_last, place.whole_max()),
        timed("switch", Quantity::Switch, &switch, place.switch_max()),
        promised("unfinished at the switch", Quantity::Unfinished, &unfinished),
        promised("early", Quantity::Early, &early),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes the rows of the floor, and for the original's scripts how often it fits into a deployment.
pub fn of_floor(place: &Place, deployments: &[Deployment], floors: &[Duration]) -> Vec<Row> {
    let seconds: Vec<f64> = floors.iter().map(Duration::as_secs_f64).collect();
    let mut rows: Vec<Row> = Row::new(place.name("floor"), "s", &seconds).into_iter().collect();
    if place.work == Work::Scripts {
        let pairs = deployments.iter().zip(&seconds);
        let ratios: Vec<f64> = pairs.map(|(found, floor)| found.to_last.as_secs_f64() / floor).collect();
        let times = Row::new(place.name("start to last activation / floor"), "times", &ratios);
        let is_target = place.kind != Kind::Etcd && matches!(place.agents, 100 | 200);
        rows.extend(times.map(|row| if is_target { row.at_most(FLOORS_MAX) } else { row }));
    }
    rows
}

/// Makes the row of the cleanup.
pub fn of_cleanup(place: &Place, time: Option<Duration>) -> Option<Row> {
    let row = Row::new(place.name("cleanup"), "s", &[time?.as_secs_f64()])?;
    Some(row.original(place.original(Quantity::Cleanup)))
}

/// Makes the row of the requests that one agent sends for one deployment.
pub fn of_requests(place: &Place, counts: &[f64]) -> Option<Row> {
    let row = Row::new(place.name("requests per agent"), "requests", counts)?;
    // The original's tree wakes every agent for every other one's state: there the bound cannot hold.
    let row = if place.is_depro { row } else { row.never_above(REQUESTS_MAX) };
    Some(row.original(place.original(Quantity::Requests)))
}

/// Makes the rows of agents at rest: requests a second, resident bytes of each, and how many of these are its own.
pub fn of_rest(kind: Kind, agents: &[Process], apps: usize, requests: f64) -> Vec<Row> {
    let name =
        |quantity: &str| format!("{} × {} at rest, {apps} apps: {quantity}", kind.name(), agents.len());
    let mebibytes = |of: fn(&Process) -> Option<u64>| -> Vec<f64> {
        agents.iter().filter_map(of).map(|bytes| bytes as f64 / f64::from(1 << 20)).collect()
    };
    let requests = Row::new(name("requests per agent"), "1/s", &[requests]);
    let resident = Row::new(name("resident memory"), "MiB", &mebibytes(Process::memory));
    let own = Row::new(name("memory of its own"), "MiB", &mebibytes(Process::own_memory));
    let requests = requests.map(|row| row.never_above(REQUESTS_AT_REST_MAX).original(Some("0.2")));
    let resident = resident.map(|row| row.at_most(MEMORY_MAX_MIB).original(Some("9.2 to 9.5")));
    [requests, resident, own].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(seconds: f64, early: usize) -> Deployment {
        let to_last = Duration::from_secs_f64(seconds);
        Deployment { to_last, switch: Some(to_last / 2), unfinished: 0, early }
    }

    #[test]
    fn the_targets_hold_at_the_sizes_they_were_set_for() {
        let met = |agents, seconds: f64, early| {
            let place = Place { kind: Kind::Consul, agents, work: Work::Directories, is_depro: false };
            of_deployments(&place, &[deployment(seconds, early)])
                .iter()
                .map(|row| row.met)
                .collect::<Vec<_>>()
        };
        assert_eq!(met(200, 0.2, 0), [Some(true), Some(true), Some(true), Some(true)]);
        assert_eq!(met(200, 0.9, 1), [Some(false), Some(false), Some(true), Some(false)]);
        assert_eq!(met(50, 0.9, 0), [None, None, Some(true), Some(true)]);
    }

    #[test]
    fn a_deployment_is_held_against_the_floor_of_the_same_run() {
        let place = Place { kind: Kind::Embedded, agents: 100, work: Work::Scripts, is_depro: false };
        let rows = of_floor(&place, &[deployment(0.3, 0)], &[Duration::from_millis(100)]);
        assert_eq!(rows.iter().map(|row| row.met).collect::<Vec<_>>(), [None, Some(false)]);
    }
}
