//! How many changes travel together: as many as cost the fewest builds for each, by how often changes were at fault of late.

use super::Lane;

/// How many changes must have ended before their faults say anything.
const KNOWN_MIN: usize = 10;

impl Lane {
    /// Returns how many changes the next trip takes at most: what the settings allow, and less where changes are often at fault.
    ///
    /// A trip of `k` changes of which each is at fault with probability `p` is green with (1 - p)^k, and a red one is halved until
    /// the culprits are found. The fewest builds for each change are then needed by 8 changes up to p = 6 %, 4 up to 10 %, 2 up to 20 %
    /// and 1 beyond (recursive halving, exact). Nothing is known before ten changes have ended.
    pub fn batch(&self) -> usize {
        let of = self.faults.len();
        let faults = self.faults.iter().filter(|was_at_fault| **was_at_fault).count();
        let sensible = match faults * 100 {
            _ if of < KNOWN_MIN => usize::MAX,
            percent if percent <= 6 * of => 8.max(self.settings.batch()),
            percent if percent <= 10 * of => 4,
            percent if percent <= 20 * of => 2,
            _ => 1,
        };
        sensible.min(self.settings.batch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Settings;

    /// Returns how many builds each of `size` changes costs when a red build is halved until the culprits are found.
    fn builds_each(size: u32, faults: f64) -> f64 {
        let red = |size: u32| 1.0 - (1.0 - faults).powf(f64::from(size));
        let mut further = 0.0;
        let mut part = 1;
        while part < size {
            part *= 2;
            further = 2.0 * red(part) + 2.0 * further;
        }
        (1.0 + further) / f64::from(size)
    }

    #[test]
    fn as_many_travel_together_as_cost_the_fewest_builds() {
        for faults in [1, 3, 5, 10, 20] {
            let settings = Settings { batch_max: 8, ..Settings::default() };
            let mut lane = Lane::new("main".parse().unwrap(), settings, None);
            lane.faults = (0..50).map(|change| change < faults).collect();
            let rate = faults as f64 / 50.0;
            let cheapest = [1, 2, 4, 8]
                .into_iter()
                .min_by(|a, b| builds_each(*a, rate).total_cmp(&builds_each(*b, rate)));
            assert_eq!(Some(lane.batch()), cheapest.map(|size| size as usize), "at {rate}");
        }
    }

    #[test]
    fn the_settings_are_never_exceeded_and_hold_while_little_is_known() {
        let mut lane = Lane::new("main".parse().unwrap(), Settings::default(), None);
        assert_eq!(lane.batch(), 4);
        lane.faults = vec![true; 9];
        assert_eq!(lane.batch(), 4, "nine changes say nothing yet");
        lane.faults = vec![false; 50];
        assert_eq!(lane.batch(), 4, "the settings allow no more");
    }
}
