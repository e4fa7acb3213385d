//! The rules that are compared, each on the same seconds: ours through its real code, the others as they are published.
//!
//! - Argo Rollouts (docs/features/analysis.md): a `failureCondition` on one number, measured every interval; `failureLimit` is 0 by default.
//! - Flagger (docs/gitbook/usage): success rate at least 99 %, p99 at most 500 ms, each minute; `threshold` 5 in its guides.
//! - Kayenta (MannWhitneyClassifier.scala, NetflixACAJudge.scala): confidence 98 %, tolerance 0.25 of the estimated shift, at least 50
//!   points; here one point each ten seconds, of errors and of answers slower than each frozen time, every metric critical.

use crate::traffic::{Second, Traffic};
use footplate_core::moment::Moment;
use footplate_core::traffic::Share;
use footplate_core::verdict::share::ShareTest;
use footplate_core::verdict::{Drawn, Judge, Plan, Reading, Said, Side, Split, Standing, cuts};
use std::collections::BTreeMap;
use std::time::Duration;

/// Says after each second whether the canary is taken back.
pub trait Rule {
    /// Sees one second.
    fn look(&mut self, second: &Second) -> Standing;
}

/// Our judge with everything that it judges of requests unless told otherwise.
pub struct Footplate {
    pub judge: Judge,
    reading: Reading,
}

impl Footplate {
    pub fn new(drawn: Drawn) -> Self {
        let judge = Judge::new(Plan::of_requests(drawn).beside(), Moment::from_millis(0))
            .expect("the default can be judged by");
        Self { judge, reading: Reading { over: Duration::from_secs(1), ..Reading::default() } }
    }
}

impl Rule for Footplate {
    fn look(&mut self, second: &Second) -> Standing {
        self.reading.at = self.reading.at + self.reading.over;
        self.reading.share = Some(Share::from_millionths((second.share * 1e6).round() as u32));
        self.reading.kpis = said(second);
        self.judge.hear(&self.reading).expect("seconds follow each other")
    }
}

/// Returns what the sources of one second say.
pub fn said(second: &Second) -> BTreeMap<footplate_core::verdict::KpiName, Said> {
    let side = |version: usize, events: &[u64; 2]| Side { of: second.of[version], events: events[version] };
    let split =
        |events: &[u64; 2]| Split { canary: side(0, events), baseline: side(1, events), ..Split::default() };
    let errors =
        Split { causes: Some(second.causes.clone()), busiest: Some(second.busiest), ..split(&second.failed) };
    let name = |name: &str| name.parse().expect("it is a name");
    let slow = cuts::NAMES.iter().zip(&second.slow).map(|(kpi, slow)| (name(kpi), Said::Events(split(slow))));
    std::iter::once((name("errors"), Said::Events(errors))).chain(slow).collect()
}

/// Counting the first failure of a key in ten seconds for each version on its own: what not to do.
pub struct PerVersion {
    test: ShareTest,
    seen: Vec<(u64, bool, u32)>,
    now: u32,
}

impl PerVersion {
    pub fn new() -> Self {
        let test = ShareTest::worse(1.0, &footplate_core::verdict::share::WORSE);
        Self { test, seen: Vec::new(), now: 0 }
    }
}

impl Rule for PerVersion {
    fn look(&mut self, second: &Second) -> Standing {
        self.now += 1;
        let now = self.now;
        self.seen.retain(|(_, _, until)| *until > now);
        let mut new = [0, 0];
        // One address: whichever version failed in this second, its key is the same.
        for (version, failed) in second.failed.iter().enumerate() {
            let is_canarys = version == 0;
            if *failed > 0 && !self.seen.iter().any(|(_, of, _)| *of == is_canarys) {
                self.seen.push((1, is_canarys, now + 10));
                new[version] = 1;
            }
        }
        self.test.count(second.share, new[0], new[1]);
        if self.test.evidence().ln() >= 200_f64.ln() { Standing::Worse } else { Standing::Unknown }
    }
}

/// A bound on a minute, which may be crossed so many times.
pub struct Bound {
    second: u32,
    of: u64,
    failed: u64,
    slow: u64,
    /// At how many crossings the canary is taken back.
    crossings_max: u32,
    crossings: u32,
    with_times: bool,
}

impl Bound {
    /// Argo Rollouts: errors above 1 % in a minute, the first time.
    pub fn argo() -> Self {
        Self { second: 0, of: 0, failed: 0, slow: 0, crossings_max: 1, crossings: 0, with_times: false }
    }

    /// Flagger: errors above 1 % or a p99 above 500 ms in a minute, the fifth time.
    pub fn flagger() -> Self {
        Self { crossings_max: 5, with_times: true, ..Self::argo() }
    }
}

impl Rule for Bound {
    fn look(&mut self, second: &Second) -> Standing {
        self.second += 1;
        self.of += second.of[0];
        self.failed += second.failed[0];
        self.slow += second.slow[3][0];
        if self.second.is_multiple_of(60) {
            let part = |number: u64| number as f64 / self.of.max(1) as f64;
            let is_crossed = part(self.failed) > 0.01 || self.with_times && part(self.slow) > 0.01;
            self.crossings += u32::from(is_crossed);
            (self.of, self.failed, self.slow) = (0, 0, 0);
        }
        if self.crossings >= self.crossings_max { Standing::Worse } else { Standing::Unknown }
    }
}

/// Mann-Whitney on points of ten seconds.
pub struct Kayenta {
    second: u32,
    sum: Second,
    /// Points of canary and baseline, by metric.
    points: [[Vec<f64>; 2]; 4],
    /// Looked at every so many seconds.
    every: u32,
}

impl Kayenta {
    /// Looked at every minute (fewer points than advised, at first), or once at the end.
    pub fn new(every: u32) -> Self {
        Self { second: 0, sum: Second::default(), points: Default::default(), every }
    }
}

impl Rule for Kayenta {
    fn look(&mut self, second: &Second) -> Standing {
        self.second += 1;
        for version in 0..2 {
            self.sum.of[version] += second.of[version];
            self.sum.failed[version] += second.failed[version];
            for (sum, slow) in self.sum.slow.iter_mut().zip(&second.slow) {
                sum[version] += slow[version];
            }
        }
        if self.second.is_multiple_of(10) {
            let sum = std::mem::take(&mut self.sum);
            let metrics = [sum.failed, sum.slow[0], sum.slow[1], sum.slow[2]];
            for (points, metric) in self.points.iter_mut().zip(metrics) {
                for version in 0..2 {
                    points[version].push(metric[version] as f64 / sum.of[version].max(1) as f64);
                }
            }
        }
        let is_due = self.second.is_multiple_of(self.every);
        let is_high = |[canary, baseline]: &[Vec<f64>; 2]| is_high(canary, baseline);
        if is_due && self.points.iter().any(is_high) { Standing::Worse } else { Standing::Unknown }
    }
}

/// "High": the lower bound of the shift, with 98 %, is above a quarter of its estimate.
fn is_high(canary: &[f64], baseline: &[f64]) -> bool {
    if canary == baseline || canary.is_empty() {
        return false;
    }
    let mut shifts: Vec<f64> = canary.iter().flat_map(|x| baseline.iter().map(move |y| x - y)).collect();
    shifts.sort_unstable_by(f64::total_cmp);
    let (m, n) = (canary.len() as f64, baseline.len() as f64);
    let estimate = shifts[shifts.len() / 2];
    // The normal approximation of R's wilcox.test, which it is derived from: z of 99 %.
    let rank = m * n / 2.0 - 2.326 * (m * n * (m + n + 1.0) / 12.0).sqrt();
    rank >= 1.0 && shifts[rank as usize] > 0.25 * estimate.abs()
}

/// Lets a rule look at traffic until it takes the canary back. Returns after how many seconds, and how many requests of the canary.
pub fn watch(rule: &mut dyn Rule, mut traffic: Traffic, seconds: u32) -> Option<(f64, f64)> {
    let mut requests = 0;
    for second in 1..=seconds {
        let seen = traffic.next_second();
        requests += seen.of[0];
        if rule.look(&seen) == Standing::Worse {
            return Some((f64::from(second), requests as f64));
        }
    }
    None
}
