//! How the old release's requests are spread over its hosts while some of them have the canary as well.
//!
//! Invariants: as long as the canary's share is not above the part of the hosts that have it, every host has as many requests as without a
//! canary, and no process of the canary has more than one of the old release elsewhere. Otherwise the canary would be slower for that
//! alone, and its hosts would have the whole load of two. An endpoint that serves keeps one part of its weight at least: it answers when
//! nobody else does.

use std::collections::BTreeMap;

use super::{Member, Share};
use crate::name::{HostName, ReleaseId};

/// Takes from the old endpoints beside the canary what the canary takes on its hosts: with `c` of `n` hosts and the share `s`, they keep
/// `1 - s n / c` of their weight.
pub(super) fn balance(members: &mut [Member], canary: &ReleaseId, share: Share) {
    let mut hosts: BTreeMap<&HostName, u64> = BTreeMap::new();
    let mut canarys: BTreeMap<HostName, u64> = BTreeMap::new();
    for member in members.iter().filter(|member| !member.is_draining) {
        let weight = u64::from(member.weight);
        let most = hosts.entry(&member.host).or_default();
        *most = weight.max(*most);
        if member.release == *canary {
            canarys.insert(member.host.clone(), weight);
        }
    }
    let (all, of_canary): (u64, u64) = (hosts.values().sum(), canarys.values().sum());
    if of_canary == 0 {
        return;
    }
    let whole = u128::from(Share::ALL.millionths()) * u128::from(of_canary);
    let rest = whole.saturating_sub(u128::from(share.millionths()) * u128::from(all));
    for member in members.iter_mut().filter(|member| !member.is_draining && member.release != *canary) {
        if canarys.contains_key(&member.host) && member.weight > 0 {
            let kept = (u128::from(member.weight) * rest + whole / 2) / whole;
            member.weight = u32::try_from(kept).expect("it is a part of its weight").max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many hosts with the old release, of which the first so many have the canary; the parts of all requests that the first and the
    /// last host have, and of the first those that the old release has.
    fn parts(hosts: u32, canaries: u32, percent: u32) -> [f64; 3] {
        let member = |host: u32, release: &str| Member {
            host: format!("h{host}").parse().unwrap(),
            release: release.parse().unwrap(),
            address: "h:1".to_owned(),
            weight: 100,
            is_draining: false,
        };
        let old = (0..hosts).map(|host| member(host, "1"));
        let mut members: Vec<Member> = old.chain((0..canaries).map(|host| member(host, "2"))).collect();
        let share = Share::from_millionths(percent * 10_000);
        balance(&mut members, &"2".parse().unwrap(), share);
        let all: u32 =
            members.iter().filter(|member| member.release.as_str() == "1").map(|one| one.weight).sum();
        let share = f64::from(percent) / 100.0;
        let old = |host: usize| (1.0 - share) * f64::from(members[host].weight) / f64::from(all);
        let first = if canaries > 0 { share / f64::from(canaries) } else { 0.0 };
        [old(0) + first, old(hosts as usize - 1), old(0)]
    }

    #[test]
    fn every_host_has_as_many_requests_as_without_a_canary() {
        for (hosts, canaries, percent) in
            [(2, 1, 20), (2, 1, 50), (4, 1, 5), (4, 1, 25), (10, 3, 17), (3, 1, 33)]
        {
            let [first, last, _] = parts(hosts, canaries, percent);
            let wanted = 1.0 / f64::from(hosts);
            assert!((first - wanted).abs() < 0.01 * wanted, "{hosts} {canaries} {percent}: {first}");
            assert!((last - wanted).abs() < 0.01 * wanted, "{hosts} {canaries} {percent}: {last}");
        }
    }

    #[test]
    fn without_a_share_nothing_changes_and_above_its_part_the_old_one_stays_in() {
        assert_eq!(parts(2, 1, 0), [0.5, 0.5, 0.5]);
        let [.., old] = parts(2, 1, 80);
        assert!(old > 0.0 && old < 0.01, "{old}");
        assert_eq!(parts(2, 0, 50)[1], 0.25, "who has no canary is none of this");
    }
}
