//! How evidence went over time, for people: a bounded number of points.
//!
//! Invariants: the points are in order and the last one is the newest; when there are too many, every second one goes.

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use crate::moment::Moment;

/// The most points that are kept, and as many more.
const POINTS_MAX: usize = 240;

/// The evidence at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When.
    pub at: Moment,
    /// That the release is worse.
    pub worse: Evidence,
    /// That it is not.
    pub not_worse: Evidence,
}

/// Points in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    points: Vec<Point>,
    /// Each how many-th point is kept, and how many came since the last kept one.
    stride: u64,
    since: u64,
    latest: Option<Point>,
}

impl Default for Curve {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, since: 0, latest: None }
    }
}

impl Curve {
    /// Adds a point.
    pub fn push(&mut self, point: Point) {
        self.latest = Some(point);
        self.since += 1;
        if self.since < self.stride {
            return;
        }
        self.since = 0;
        self.points.push(point);
        if self.points.len() > POINTS_MAX {
            // Their number is odd here: the first and the newest stay.
            let mut stays = false;
            self.points.retain(|_| {
                stays = !stays;
                stays
            });
            self.stride *= 2;
        }
    }

    /// Returns the points, the newest last.
    pub fn points(&self) -> Vec<Point> {
        let latest = self.latest.filter(|_| self.since > 0);
        self.points.iter().copied().chain(latest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_points_is_a_few_hundred_in_order_with_the_newest_last() {
        let mut curve = Curve::default();
        for second in 1..=400_000_u64 {
            let worse = Evidence::from_ln(second as f64);
            curve.push(Point { at: Moment::from_millis(second * 1000), worse, not_worse: Evidence::NONE });
            if second % 9_973 == 0 || second < 300 {
                let points = curve.points();
                assert!(points.len() <= POINTS_MAX + 1 && points.is_sorted_by_key(|point| point.at));
                assert_eq!(points.last().unwrap().at.as_millis(), second * 1000);
            }
        }
        assert!(curve.points().len() > POINTS_MAX / 3);
    }
}
