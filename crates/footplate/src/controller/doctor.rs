//! The controller's own view of its set-up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use footplate_core::fleet::Presence;
use footplate_core::moment::{Moment, in_words};
use footplate_core::name::HostName;
use footplate_core::traffic::DiscoveryReport;

use super::{Shared, gate, lease, problem};
use crate::api::Check;
use crate::clock;

/// The least that must be free on a disk.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// The most that a clock may be ahead.
const SKEW_MAX: Duration = Duration::from_secs(5);
/// A host that lives says how it is every hour; five minutes more are patience.
const WORD_EVERY_MAX: Duration = Duration::from_secs(65 * 60);
/// So many hosts are named.
const LISTED_MAX: usize = 5;

/// `GET`: the store, the lease, the disk, and of the hosts the versions of footplate, the clocks and the disks.
pub(super) async fn checks(State(shared): State<Arc<Shared>>) -> Json<Vec<Check>> {
    let mut checks = vec![store(&shared).await, acting(&shared), disk(&shared)];
    checks.push(versions(&shared));
    let seen = shared.site().presences.clone();
    checks.push(clocks(&seen, clock::now()));
    checks.push(disks(&seen));
    checks.extend(catalogs(&shared.site().catalogs, &seen));
    checks.extend(gates(&shared));
    checks.push(readable(&shared));
    Json(checks)
}

fn check(name: &str, result: Result<String, (String, &str)>) -> Check {
    match result {
        Ok(found) => Check { name: name.to_owned(), ok: true, found, next: None },
        Err((found, next)) => Check { name: name.to_owned(), ok: false, found, next: Some(next.to_owned()) },
    }
}

/// Lists the gates that are closed: one is well when somebody closed it, and asks for somebody when it is halted.
fn gates(shared: &Shared) -> Vec<Check> {
    let (site, now) = (shared.site(), clock::now());
    let closed = site.apps.keys().filter_map(|path| {
        let door = site.door(path, None, now);
        let found = gate::in_a_line(&door, now)?;
        let next = door.gate.halted.map(|halted| format!("open it with `{}`", halted.way_open(path)));
        Some(Check { name: format!("gate of {path}"), ok: next.is_none(), found, next })
    });
    closed.collect()
}

async fn store(shared: &Shared) -> Check {
    let answer = lease::read(&shared.store, &shared.config.lane).await;
    check(
        "store",
        match answer {
            Ok(_) => Ok(format!("{} answers", shared.store.describe())),
            Err(error) => Err((
                problem::causes(&error).join(": "),
                "start the store, or correct its address and token in controller.toml",
            )),
        },
    )
}

/// A lease that is held was written, so it also proves that the store takes writes.
fn acting(shared: &Shared) -> Check {
    let holder = shared.site().lease.as_ref().map(|lease| lease.holder.clone());
    check(
        "lease",
        match (shared.view.borrow().is_acting, holder) {
            (true, _) => Ok("this controller holds it and may write to the store".to_owned()),
            (false, Some(other)) => Ok(format!("{other} holds it; this controller stands by")),
            (false, None) => {
                Err(("nobody holds it".to_owned(), "see the controller's log; the store may refuse writes"))
            }
        },
    )
}

fn disk(shared: &Shared) -> Check {
    let free = rustix::fs::statvfs(&shared.config.data).map(|stats| stats.f_bavail * stats.f_frsize);
    check(
        "controller's disk",
        match free {
            Ok(free) if free >= FREE_BYTES_MIN => Ok(format!("{} MiB free", free >> 20)),
            Ok(free) => Err((
                format!("{} MiB free", free >> 20),
                "remove old releases with `footplate clean`, or give it more room",
            )),
            Err(error) => Err((error.to_string(), "check the controller's data folder")),
        },
    )
}

fn versions(shared: &Shared) -> Check {
    let site = shared.site();
    let others: Vec<String> = site
        .presences
        .iter()
        .filter(|(_, presence)| presence.version != crate::VERSION)
        .map(|(host, presence)| format!("{host} has {}", presence.version))
        .collect();
    check(
        "versions of footplate",
        match others.as_slice() {
            [] => Ok(format!("all {} hosts have {}", site.presences.len(), crate::VERSION)),
            others => Err((
                format!("this controller has {}, {}", crate::VERSION, others.join(", ")),
                "one minor version apart works; bring them together soon",
            )),
        },
    )
}

/// A clock that is ahead shows at once; one that is behind when the next word of its host is overdue.
fn clocks(presences: &BTreeMap<HostName, Presence>, now: Moment) -> Check {
    let heard = presences.iter().filter_map(|(host, presence)| Some((host, presence.vitals.as_ref()?.at)));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (host, at) in heard {
        count += 1;
        if at.since(now) > SKEW_MAX {
            wrong.push(format!("{host} is {} ahead", in_words(at.since(now))));
        } else if now.since(at) > WORD_EVERY_MAX {
            wrong.push(format!("{host} is behind, or has not spoken for {}", in_words(now.since(at))));
        }
    }
    check(
        "clocks of the hosts",
        if wrong.is_empty() {
            Ok(format!("none of {count} is ahead of this controller's, or far behind"))
        } else {
            Err((few(&wrong), "let every machine keep its time by NTP"))
        },
    )
}

fn disks(presences: &BTreeMap<HostName, Presence>) -> Check {
    let free = |presence: &Presence| presence.vitals.as_ref().and_then(|vitals| vitals.free_bytes);
    let mut hosts: Vec<_> =
        presences.iter().filter_map(|(host, presence)| Some((free(presence)?, host))).collect();
    hosts.sort();
    let full: Vec<String> = hosts
        .iter()
        .filter(|(free, _)| *free < FREE_BYTES_MIN)
        .map(|(free, host)| format!("{host} has {} MiB free", free >> 20))
        .collect();
    check(
        "disks of the hosts",
        match (full.as_slice(), hosts.first()) {
            ([], None) => Ok("no host has said what is free".to_owned()),
            ([], Some((free, host))) => {
                Ok(format!("{} have room; {host} has the least, {} MiB free", hosts.len(), free >> 20))
            }
            (full, _) => {
                Err((few(full), "remove old releases with `footplate clean`, or give these hosts more room"))
            }
        },
    )
}

/// Nothing where no living host enters its services in a catalog.
fn catalogs(
    catalogs: &BTreeMap<HostName, DiscoveryReport>,
    presences: &BTreeMap<HostName, Presence>,
) -> Option<Check> {
    let living: Vec<_> = catalogs.iter().filter(|(host, _)| presences.contains_key(*host)).collect();
    let sick: Vec<_> =
        living.iter().filter_map(|(host, report)| Some((host, report.trouble.as_ref()?))).collect();
    let name = "services in catalogs";
    match (living.len(), sick.first()) {
        (0, _) => None,
        (count, None) => Some(check(name, Ok(format!("{count} hosts enter theirs without trouble")))),
        (_, Some((_, first))) => {
            let all: Vec<_> =
                sick.iter().map(|(host, trouble)| format!("{host}: {}", trouble.because)).collect();
            Some(check(name, Err((few(&all), &first.next))))
        }
    }
}

/// Lists a few, and says how many more there are.
fn few(all: &[String]) -> String {
    let listed = all.iter().take(LISTED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(LISTED_MAX) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

fn readable(shared: &Shared) -> Check {
    let site = shared.site();
    check(
        "records",
        match site.unreadable.iter().next() {
            None => Ok("every record in the store can be read".to_owned()),
            Some((key, why)) => Err((
                format!("{} cannot be read, the first is `{key}`: {why}", site.unreadable.len()),
                "upgrade this footplate, or remove the key if nobody needs it",
            )),
        },
    )
}

#[cfg(test)]
mod tests {
    use footplate_core::fleet::Vitals;
    use footplate_core::traffic::DiscoveryTrouble;

    use super::*;

    const NOW: Moment = Moment::from_millis(1_790_000_000_000);

    /// Returns hosts whose clocks show so many seconds after `NOW`, with so much free.
    fn hosts(of: &[(&str, i64, u64)]) -> BTreeMap<HostName, Presence> {
        let host = |&(name, ahead, mebibytes): &(&str, i64, u64)| {
            let at = Moment::from_millis(NOW.as_millis().saturating_add_signed(ahead * 1000));
            let presence = Presence {
                instance: name.to_owned(),
                address: String::new(),
                labels: BTreeMap::new(),
                version: crate::VERSION.to_owned(),
                vitals: Some(Vitals { at, free_bytes: Some(mebibytes << 20) }),
            };
            (name.parse().expect("a host"), presence)
        };
        of.iter().map(host).collect()
    }

    #[test]
    fn a_clock_that_is_ahead_or_long_behind_is_named() {
        let sound = clocks(&hosts(&[("web-1", 3, 0), ("web-2", -3700, 0)]), NOW);
        assert!(sound.ok, "{sound:?}");
        let sick = clocks(&hosts(&[("web-1", 180, 0), ("web-2", -7200, 0), ("web-3", 0, 0)]), NOW);
        assert!(!sick.ok);
        assert_eq!(sick.found, "web-1 is 3 min ahead, web-2 is behind, or has not spoken for 2 h");
        assert!(sick.next.expect("advice").contains("NTP"));
    }

    #[test]
    fn a_disk_without_room_is_named_the_fullest_first() {
        let sound = disks(&hosts(&[("web-1", 0, 4096), ("web-2", 0, 2048)]));
        assert_eq!(
            (sound.ok, sound.found.as_str()),
            (true, "2 have room; web-2 has the least, 2048 MiB free")
        );
        let full: Vec<_> = (1..=7).map(|number| (format!("web-{number}"), 100 * number)).collect();
        let full: Vec<_> = full.iter().map(|(name, free)| (name.as_str(), 0, *free)).collect();
        let sick = disks(&hosts(&full));
        assert!(!sick.ok);
        assert!(sick.found.starts_with("web-1 has 100 MiB free, web-2 has 200"), "{}", sick.found);
        assert!(sick.found.ends_with(" and 2 more"), "{}", sick.found);
    }

    #[test]
    fn a_catalog_that_refuses_a_living_host_is_named_and_none_is_no_check() {
        let presences = hosts(&[("web-1", 0, 1), ("web-2", 0, 1)]);
        let report = |because: &str| DiscoveryReport {
            catalog: "Consul at 127.0.0.1:8500".to_owned(),
            trouble: (!because.is_empty()).then(|| DiscoveryTrouble {
                because: because.to_owned(),
                next: "give it the right".to_owned(),
            }),
        };
        let said = |of: &[(&str, &str)]| {
            let all = of.iter().map(|(host, because)| (host.parse().expect("a host"), report(because)));
            catalogs(&all.collect(), &presences)
        };
        assert_eq!(said(&[("web-3", "refused")]), None, "a host that is gone is nobody's trouble");
        let sound = said(&[("web-1", ""), ("web-2", "")]).expect("a check");
        assert_eq!((sound.ok, sound.found.as_str()), (true, "2 hosts enter theirs without trouble"));
        let sick =
            said(&[("web-1", ""), ("web-2", "it refuses our token"), ("web-3", "away")]).expect("a check");
        assert_eq!((sick.ok, sick.found.as_str()), (false, "web-2: it refuses our token"));
        assert_eq!(sick.next.as_deref(), Some("give it the right"));
    }

    #[test]
    fn hosts_that_say_nothing_are_not_sick() {
        let mut old = hosts(&[("web-1", 0, 1)]);
        old.values_mut().for_each(|presence| presence.vitals = None);
        assert!(clocks(&old, NOW).ok && disks(&old).ok);
    }
}
