//! How a pool's parts look to whoever divides requests by the weight of each endpoint alone, as Consul's readers do.

use std::collections::BTreeMap;

use super::{Canary, Member, Pool, Share};
use crate::name::{HostName, ReleaseId};

/// The largest weight (Consul's).
pub const WEIGHT_MAX: u16 = 65_535;
/// What one unit of an endpoint's own weight counts, so that small shares can be said.
const SCALE: u128 = 10;

impl Pool {
    /// Returns the weight of each endpoint that serves: 1 to [`WEIGHT_MAX`], or 0 for one that gets nothing.
    ///
    /// All but those on the canary's hosts keep their weight times ten whatever its share is, so that nobody but these hosts has to
    /// say anything new when the share changes; the canary's are such that it gets its share of the sum.
    pub fn weights(&self, canary: Option<&Canary>) -> BTreeMap<(HostName, ReleaseId), u16> {
        let canary = canary.filter(|canary| canary.is_of(&self.target.group));
        let serving = || self.members.iter().filter(|member| !member.is_draining);
        let is_canary = |member: &Member| canary.is_some_and(|canary| canary.release == member.release);
        let sum = |of: bool| -> u128 {
            serving().filter(|member| is_canary(member) == of).map(|member| u128::from(member.weight)).sum()
        };
        let (canaries, others) = (sum(true), sum(false));
        let share =
            canary.and_then(|canary| self.shares.get(&canary.release)).copied().unwrap_or(Share::NONE);
        let (part, rest) =
            (u128::from(share.millionths()), u128::from(Share::ALL.millionths() - share.millionths()));
        let wanted = |member: &Member| {
            let own = u128::from(member.weight) * SCALE;
            match (is_canary(member), rest) {
                (true, 0) => own,
                (true, _) => nearest(own * part * others, rest * canaries.max(1)),
                (false, 0) => 0,
                (false, _) => own,
            }
        };
        let largest = serving().map(wanted).max().unwrap_or_default().max(1);
        let weight = |wanted: u128| {
            let max = u128::from(WEIGHT_MAX);
            let fitted = if largest > max { nearest(wanted * max, largest) } else { wanted };
            u16::try_from(fitted).expect("it is not above the largest weight")
        };
        serving()
            .map(|member| ((member.host.clone(), member.release.clone()), weight(wanted(member))))
            .collect()
    }
}

/// Divides to the nearest whole number, and to one at least where there is anything to divide.
fn nearest(part: u128, whole: u128) -> u128 {
    ((part + whole / 2) / whole).max(u128::from(part > 0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::traffic::{Endpoint, EndpointState, Route, Traffic};

    /// So many old and new endpoints, and the new one's share: the weights of one of each.
    fn weights(old: usize, new: usize, share: Option<&str>) -> (Option<u16>, Option<u16>) {
        let id = |text: &str| text.parse::<ReleaseId>().expect("a release");
        let canary = share.map(|share| Canary {
            release: id("2"),
            share: share.parse().expect("a share"),
            groups: Default::default(),
            validity: Duration::from_secs(60),
            renewed: 1,
        });
        let route = |release: &str| {
            let endpoint = Endpoint { address: "h:1".to_owned(), state: EndpointState::Serving, weight: 100 };
            Route { endpoints: [(id(release), endpoint)].into() }
        };
        let releases = std::iter::repeat_n("1", old).chain(std::iter::repeat_n("2", new));
        let hosts = releases.enumerate().map(|(number, release)| {
            (format!("h{number}").parse::<HostName>().expect("a host"), route(release))
        });
        let traffic = Traffic { canary: canary.clone(), ..Traffic::default() };
        let target = "production.shop.web".parse().expect("a target");
        let weights = Pool::new(target, &hosts.collect(), Some(&traffic)).weights(canary.as_ref());
        let of =
            |release: &str| weights.iter().find(|((_, of), _)| *of == id(release)).map(|(_, weight)| *weight);
        (of("1"), of("2"))
    }

    #[test]
    fn the_canarys_weights_are_its_share_and_the_others_do_not_change() {
        for (old, new, share, expected) in [
            (3, 1, None, (1000, 1000)),
            (1, 1, Some("50%"), (1000, 1000)),
            (3, 1, Some("5%"), (1000, 158)),
            (3, 3, Some("5%"), (1000, 53)),
            (3, 1, Some("0.1%"), (1000, 3)),
            (3, 1, Some("0%"), (1000, 0)),
            (3, 1, Some("100%"), (0, 1000)),
            (100, 1, Some("50%"), (655, 65_535)),
        ] {
            assert_eq!(
                weights(old, new, share),
                (Some(expected.0), Some(expected.1)),
                "{old} {new} {share:?}"
            );
        }
    }

    #[test]
    fn a_side_without_an_endpoint_leaves_its_part_to_the_other() {
        assert_eq!(weights(2, 0, Some("50%")), (Some(1000), None));
        assert_eq!(weights(0, 2, Some("5%")), (None, Some(1000)));
        assert_eq!(weights(0, 2, Some("0%")), (None, Some(0)), "a share of nothing stays nothing");
    }
}
