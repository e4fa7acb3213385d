//! Services on the stage: agents that start and stop them, routers that follow, and what stands in the routes.

use std::collections::BTreeSet;

use footplate_core::moment::Moment;
use footplate_core::name::{GroupName, HostName, ReleaseId, Target};
use footplate_core::release::{Entrance, Reach, Release, Service, Workload};
use footplate_core::rollout::{Portion, Strategy};
use footplate_core::target::{Action, Assignment, Readiness, Report, Up};
use footplate_core::traffic::{Busy, Canary, EndpointState, Route, Share};

use super::{Stage, length};

impl Stage {
    /// `rolling 2`, `canary 10% 50% then 2`, `blue_green`: `footplate.toml` says so from now on.
    pub(super) fn strategy(&mut self, words: &str) {
        let mut words = words.split(' ');
        let kind = words.next().expect("a strategy");
        let rest: Vec<&str> = words.collect();
        self.delivery.policy.strategy = match (kind, rest.as_slice()) {
            ("rolling", [batch]) => Strategy::Rolling { batch: portion(batch) },
            ("canary", [ramp @ .., "then", batch]) => Strategy::Canary {
                ramp: ramp.iter().map(|share| percent(share)).collect(),
                batch: portion(batch),
            },
            ("blue_green", []) => Strategy::BlueGreen,
            other => panic!("no such strategy: {other:?}"),
        };
        self.current.delivery = self.delivery.clone();
    }

    /// `alone hold accept failures=1 crashes=1 soak=10m`: how it goes through its steps.
    pub(super) fn pace(&mut self, words: &str) {
        let pace = &mut self.delivery.policy.pace;
        for word in words.split(' ') {
            match word.split_once('=').unwrap_or((word, "")) {
                ("alone", _) => pace.alone = true,
                ("hold", _) => pace.hold_steps = true,
                ("accept", _) => pace.accept = true,
                ("failures", number) => pace.failures_max = number.parse().unwrap(),
                ("crashes", number) => pace.crashes_max = number.parse().unwrap(),
                ("soak", time) => pace.soak = length(time),
                other => panic!("no such pace: {other:?}"),
            }
        }
        self.current.delivery = self.delivery.clone();
    }

    /// Lets agents do all they may do, exactly as the real agent plans it; what they start is healthy at once.
    pub(super) fn works(&mut self, names: &str) {
        for (target, order) in self.orders_of(names) {
            let mut report = self.report(&target).clone();
            report.generation = report.generation.max(order.generation);
            while let Some(action) = self.actions(&target, &order, &report).into_iter().next() {
                carry_out(&target, &mut report, action, &order, self.now);
            }
            *self.report(&target) = report;
        }
    }

    /// `a 2`: the service of this release is up, and is healthy from now on or does not get so, or is not any more.
    pub(super) fn is(&mut self, words: &str, readiness: Readiness) {
        let (names, release) = words.rsplit_once(' ').expect("sick HOST… RELEASE");
        let release: ReleaseId = release.parse().unwrap();
        for (target, order) in self.orders_of(names) {
            let now = self.now;
            let report = self.report(&target);
            report.generation = report.generation.max(order.generation);
            let address = Some(address(&target, &release));
            let accepted = report.up.get(&release).map_or(0, |up| up.accepted);
            let up = Up { readiness, address, since: now, accepted };
            report.up.insert(release.clone(), up);
        }
    }

    /// The router on this host follows what stands there now.
    pub(super) fn follows(&mut self, names: &str) {
        let revision = self.traffic.as_ref().map(|traffic| traffic.revision).unwrap_or_default();
        self.each(names, |host, _| host.router.as_mut().expect("a router").revision = revision);
    }

    /// `r a 1`: the router on `r` has requests in flight on release 1 of host a; `r` alone: on nothing.
    pub(super) fn busy(&mut self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        let busy = match words[1..] {
            [host, release] => {
                let target = Target { host: host.parse().unwrap(), group: "web".parse().unwrap() };
                Some(Busy { target, release: release.parse().unwrap() })
            }
            _ => None,
        };
        self.each(words[0], |host, _| {
            host.router.as_mut().expect("a router").busy = busy.clone().into_iter().collect();
        });
    }

    /// Says where requests go.
    pub(super) fn standing_routes(&self) -> String {
        let line = |(target, route): (&Target, &Route)| {
            let state = |state| match state {
                EndpointState::Standby => "standby",
                EndpointState::Serving => "serves",
                EndpointState::Draining => "drains",
            };
            let endpoints =
                route.endpoints.iter().map(|(id, endpoint)| format!("{id} {}", state(endpoint.state)));
            let whose = match self.current.delivery.groups.len() {
                1 => target.host.to_string(),
                _ => target.to_string(),
            };
            format!("{whose}: {}", endpoints.collect::<Vec<_>>().join(" "))
        };
        let routes: Vec<String> = self.routes.iter().map(line).collect();
        let canary = self.traffic.as_ref().and_then(|traffic| traffic.canary.as_ref());
        let whose = |canary: &Canary| {
            let groups = canary.groups.iter().map(|group| format!("{group} "));
            if self.current.delivery.groups.len() == 1 { String::new() } else { groups.collect() }
        };
        let share = canary.map_or(String::new(), |canary| {
            format!("; {}{} gets {}", whose(canary), canary.release, canary.share)
        });
        format!("{}{share}", routes.join(", "))
    }

    /// Says which requests belong to which process group.
    pub(super) fn entrances(&self) -> String {
        let groups = self.traffic.iter().flat_map(|traffic| &traffic.groups);
        let line = |(group, reach): (&GroupName, &Reach)| {
            let entrances = reach.entrances.iter().map(Entrance::to_string).collect::<Vec<_>>().join(" ");
            format!("{group}: {}", if entrances.is_empty() { "none".to_owned() } else { entrances })
        };
        groups.map(line).collect::<Vec<_>>().join(", ")
    }

    /// Says which hosts have what up.
    pub(super) fn up(&self) -> String {
        let ups = self.hosts.iter().map(|(name, host)| {
            let ids: Vec<&str> =
                host.reports.values().flat_map(|report| report.up.keys()).map(ReleaseId::as_str).collect();
            format!("{name}: {}", ids.join(" "))
        });
        ups.collect::<Vec<_>>().join(", ")
    }
}

fn carry_out(target: &Target, report: &mut Report, action: Action, order: &Assignment, now: Moment) {
    let (_, id) = action.parts();
    let id = id.clone();
    report.failed.remove(&id);
    match action {
        Action::Prepare(_) => drop(report.prepared.insert(id)),
        Action::Activate(_) => report.live = Some(id),
        Action::Clean(_) => drop(report.prepared.remove(&id)),
        Action::Start(_) => {
            let address = Some(address(target, &id));
            report.up.insert(id, Up { readiness: Readiness::Ready, address, since: now, accepted: 0 });
        }
        Action::Accept(_) => {
            let times = order.accept.as_ref().expect("it was asked for").times;
            report.up.get_mut(&id).expect("it is up").accepted = times;
        }
        Action::Stop(_) => drop(report.up.remove(&id)),
    }
}

fn address(target: &Target, id: &ReleaseId) -> String {
    format!("{}:{id}", target.host)
}

/// Makes it one with a service for each process group: `web` answers any request, `tidy` none, and every other those below its name.
pub(super) fn service(mut release: Release, groups: &BTreeSet<GroupName>) -> Release {
    let service = |group: &GroupName| {
        let routes = (group.as_str() != "web").then(|| [format!("*/{group}").parse().unwrap()].into());
        let service = match group.as_str() {
            "tidy" => Service::worker("tidy"),
            _ => Service { routes, ..Service::web("serve") },
        };
        (group.clone(), service)
    };
    let services = groups.iter().map(service).collect();
    release.workload = Workload::Service { hooks: Default::default(), services };
    release
}

fn portion(text: &str) -> Portion {
    match text.ends_with('%') {
        true => Portion::Part(percent(text)),
        false => Portion::Count(text.parse().unwrap()),
    }
}

fn percent(text: &str) -> Share {
    Share::from_millionths(text.trim_end_matches('%').parse::<u32>().unwrap() * 10_000)
}

/// The names of all hosts that a story has so far.
pub(super) fn everyone(stage: &Stage) -> String {
    stage.hosts.keys().map(HostName::to_string).collect::<Vec<_>>().join(" ")
}
