//! Services as users reach them: which requests are theirs, who stays, what a request may take.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use footplate_core::name::GroupName;
use footplate_core::release::{Entrance, Hooks, Reach, Release, Requests, Service, Sticky, Workload};

use super::bare;

fn entrances(texts: &[&str]) -> BTreeSet<Entrance> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Returns every way in which users reach a process group.
pub fn reaches() -> BTreeMap<GroupName, Reach> {
    let cookie = Sticky::Cookie { name: "session".to_owned(), give: true };
    let header = Sticky::Header { name: "user".to_owned() };
    let groups = [
        ("admin", entrances(&["*/admin"]), Some(Sticky::Address)),
        ("api", entrances(&[]), Some(header)),
        ("web", entrances(&["shop.example.com/", "*.shop.example.com/api"]), Some(cookie)),
        ("www", entrances(&["/"]), None),
    ];
    let reach = |(group, entrances, sticky): (&str, _, _)| {
        (group.parse().unwrap(), Reach { entrances, sticky, ..Reach::default() })
    };
    groups.into_iter().map(reach).collect()
}

/// Returns services that say which requests they answer, and an environment that says otherwise.
pub fn reached() -> Release {
    let services = reaches().into_iter().map(|(group, Reach { entrances, sticky, .. })| {
        (group, Service { routes: Some(entrances), sticky, ..Service::web("./serve") })
    });
    let staging = BTreeMap::from([("web".parse().unwrap(), entrances(&["staging.example.com/"]))]);
    Release {
        workload: Workload::Service { hooks: Hooks::default(), services: services.collect() },
        routes: BTreeMap::from([("staging".parse().unwrap(), staging)]),
        ..bare("3")
    }
}

/// Returns bounds of requests of which none is the usual one.
pub fn requests() -> Requests {
    Requests {
        body_bytes_max: Some(10 << 20),
        answer: Duration::from_secs(5),
        silence: Duration::ZERO,
        tunnel: Duration::from_secs(7_200),
        retries: 0,
        hold: Duration::from_secs(30),
    }
}

/// Returns a service that says what its requests may take.
pub fn bounded() -> Release {
    let web = Service { requests: requests(), ..Service::web("./serve") };
    let services = BTreeMap::from([("web".parse().unwrap(), web)]);
    Release { workload: Workload::Service { hooks: Hooks::default(), services }, ..bare("4") }
}
