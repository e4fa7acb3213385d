//! The judge: hears readings in the order of time and says at any moment what they prove.
//!
//! Invariants: what is worse stays worse; what was proved of one KPI stays proved; a KPI of which nothing is heard is never good.
//! Nothing is done for a single request: a reading costs the same whatever it counts. Memory is bounded, however long it hears.
//! Sources: the mean of the KPIs' e-values by their weights is an e-value under any dependence (Vovk & Wang 2021), so that the sum of
//! evidence, not each KPI, is held against the error budget; "not worse" needs all KPIs (Berger's intersection-union test, 1982).

use std::collections::BTreeMap;
use std::time::Duration;

use super::cause::Drawn;
use super::curve::{Curve, Point};
use super::events::Events;
use super::evidence::{self, Evidence, ln};
use super::kpi::{Impossible, Kpi, Measure, Plan, Then};
use super::number::Numbers;
use super::reading::{KpiName, Reading, Said};
use crate::moment::Moment;
use crate::traffic::Share;

/// Judges one release beside the one before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    plan: Plan,
    began: Moment,
    latest: Moment,
    /// When the canary got its first request.
    first: Option<Moment>,
    watches: BTreeMap<KpiName, Watch>,
    worse: Option<Decided>,
    curve: Curve,
}

/// What the judge knows of one KPI.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Watch {
    pub kpi: Kpi,
    /// ln of its part of the error budget.
    weight: f64,
    pub counted: Counted,
    /// When something was heard of it last, and why not since then.
    pub heard: Option<Moment>,
    pub trouble: Option<String>,
    /// The evidence after the latest reading that it is worse, and that it is not.
    pub worse: Evidence,
    pub not_worse: Evidence,
    /// The most evidence for either side so far.
    pub worse_most: Evidence,
    pub not_worse_most: Evidence,
    pub curve: Curve,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Counted {
    Events(Box<Events>),
    Numbers(Box<Numbers>),
}

/// What was found to be worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// When.
    pub at: Moment,
    /// The KPI with the most evidence.
    pub kpi: KpiName,
    /// Whether it was its silence.
    pub is_silence: bool,
}

/// What stands after a reading, without the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every KPI is proved not to be worse, and none is silent.
    NotWorse,
    /// The release is worse, for good.
    Worse,
    /// Neither is proved.
    Unknown,
}

/// A reading that ended before the one that was heard last: it was heard already, or comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reading until {} ms follows one until {} ms", .at.as_millis(), .latest.as_millis())]
pub struct OutOfOrder {
    /// When it ended.
    pub at: Moment,
    /// When the latest one did.
    pub latest: Moment,
}

impl Judge {
    /// Begins to judge by a plan.
    pub fn new(plan: Plan, began: Moment) -> Result<Self, Impossible> {
        plan.check()?;
        let watch = |kpi: &Kpi| Watch::new(kpi, plan.part_of_budget(kpi), plan.drawn);
        let watches = plan.kpis.iter().map(|(name, kpi)| (name.clone(), watch(kpi))).collect();
        let (latest, curve) = (began, Curve::default());
        Ok(Self { plan, began, latest, first: None, watches, worse: None, curve })
    }

    /// Hears one reading and says what stands. KPIs that are not in the plan are left out.
    pub fn hear(&mut self, reading: &Reading) -> Result<Standing, OutOfOrder> {
        if reading.at <= self.latest {
            return Err(OutOfOrder { at: reading.at, latest: self.latest });
        }
        self.latest = reading.at;
        let share = reading.share.map(Share::part);
        if self.first.is_none() && reading.kpis.values().any(reaches_the_canary) {
            self.first = Some(reading.at - reading.over);
        }
        for (name, watch) in &mut self.watches {
            watch.hear(reading, share, reading.kpis.get(name), self.first);
        }
        self.decide();
        Ok(self.standing(reading.at))
    }

    /// Finds whether the sum of evidence is enough by now.
    fn decide(&mut self) {
        let worse = self.evidence();
        let weakest = self.watches.values().map(|watch| watch.not_worse_most).reduce(Evidence::and);
        let not_worse = weakest.unwrap_or(Evidence::NONE);
        self.curve.push(Point { at: self.latest, worse, not_worse });
        if self.worse.is_some() {
            return;
        }
        let at = self.latest;
        if worse >= self.enough_for_worse() {
            let by_evidence = |left: &(&KpiName, &Watch), right: &(&KpiName, &Watch)| {
                left.1.weighted().total_cmp(&right.1.weighted())
            };
            let kpi = self.watches.iter().max_by(by_evidence).map(|(name, _)| name.clone());
            self.worse = kpi.map(|kpi| Decided { at, kpi, is_silence: false });
        } else {
            self.worse = self.worse_by_silence(at);
        }
    }

    fn worse_by_silence(&self, now: Moment) -> Option<Decided> {
        let is_worse = |watch: &Watch| watch.kpi.silence.then == Then::Worse && self.is_silent(watch, now);
        let (kpi, _) = self.watches.iter().find(|(_, watch)| is_worse(watch))?;
        Some(Decided { at: now, kpi: kpi.clone(), is_silence: true })
    }

    /// Says what stands at this moment, which may be later than the last reading.
    pub fn standing(&self, now: Moment) -> Standing {
        if self.decided(now).is_some() {
            return Standing::Worse;
        }
        let is_good = |watch: &Watch| match (self.is_silent(watch, now), watch.kpi.silence.then) {
            (true, Then::GoOn) => true,
            (silent, _) => !silent && self.is_proved(watch),
        };
        let is_any_proved = self.watches.values().any(|watch| self.is_proved(watch));
        if is_any_proved && self.watches.values().all(is_good) {
            Standing::NotWorse
        } else {
            Standing::Unknown
        }
    }

    /// Returns what is worse, if anything is.
    pub fn decided(&self, now: Moment) -> Option<Decided> {
        self.worse.clone().or_else(|| self.worse_by_silence(now))
    }

    /// Tells whether nothing has been heard of a KPI for longer than its patience.
    pub(super) fn is_silent(&self, watch: &Watch, now: Moment) -> bool {
        now.since(watch.heard.unwrap_or(self.began)) > watch.kpi.silence.patience
    }

    /// Tells whether a KPI is proved not to be worse.
    pub(super) fn is_proved(&self, watch: &Watch) -> bool {
        watch.not_worse_most >= self.enough_for_not_worse()
    }

    /// Returns the sum of the evidence of all KPIs that the release is worse.
    pub fn evidence(&self) -> Evidence {
        evidence::mean(self.watches.values().map(|watch| (watch.weight, watch.worse.ln())))
    }

    /// Returns the evidence that is enough to call it worse.
    pub fn enough_for_worse(&self) -> Evidence {
        Evidence::enough_for(self.plan.budget())
    }

    /// Returns the evidence that is enough for one KPI to be called not worse.
    pub fn enough_for_not_worse(&self) -> Evidence {
        Evidence::enough_for(self.plan.false_promotion.part())
    }

    /// Returns how the evidence went, over all KPIs: the sum for worse, the weakest KPI's for not worse.
    pub fn curve(&self) -> Vec<Point> {
        self.curve.points()
    }

    /// Returns when it began.
    pub fn began(&self) -> Moment {
        self.began
    }

    /// Returns what it judges by.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns when the last reading ended.
    pub fn latest(&self) -> Moment {
        self.latest
    }

    /// Returns for how long the canary has had requests.
    pub fn lasted(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |first| self.latest.since(first))
    }

    pub(super) fn watches(&self) -> &BTreeMap<KpiName, Watch> {
        &self.watches
    }
}

impl Watch {
    fn new(kpi: &Kpi, part_of_budget: f64, drawn: Drawn) -> Self {
        let counted = match &kpi.measure {
            Measure::Events(tolerance) => Counted::Events(Box::new(Events::new(tolerance, drawn))),
            Measure::Number(bound) => Counted::Numbers(Box::new(Numbers::new(bound))),
        };
        Self {
            kpi: kpi.clone(),
            weight: ln(part_of_budget),
            counted,
            heard: None,
            trouble: None,
            worse: Evidence::NONE,
            not_worse: Evidence::NONE,
            worse_most: Evidence::NONE,
            not_worse_most: Evidence::NONE,
            curve: Curve::default(),
        }
    }

    /// Hears what was said of this KPI. A source that says what the KPI does not measure has said nothing.
    fn hear(&mut self, reading: &Reading, share: Option<f64>, said: Option<&Said>, first: Option<Moment>) {
        let is_warm = first.is_none_or(|first| reading.at.since(first) > self.kpi.warm_up);
        self.trouble = match (&mut self.counted, said) {
            (_, None) => self.trouble.take(),
            (_, Some(Said::Nothing(why))) => Some(why.clone()),
            (Counted::Events(events), Some(Said::Events(split))) => {
                self.heard = Some(reading.at);
                if is_warm {
                    events.count(reading.at, reading.over, share, split);
                }
                None
            }
            (Counted::Numbers(numbers), Some(Said::Numbers { canary, baseline })) => {
                self.heard = Some(reading.at);
                if is_warm {
                    numbers.count(*canary, *baseline);
                }
                None
            }
            (Counted::Events(_), Some(Said::Numbers { .. })) => {
                Some("it said a number, and events are judged".into())
            }
            (Counted::Numbers(_), Some(Said::Events(_))) => {
                Some("it said events, and a number is judged".into())
            }
        };
        let (worse, not_worse) = match &self.counted {
            Counted::Events(events) => (events.worse(), events.not_worse()),
            Counted::Numbers(numbers) => (numbers.worse(), numbers.not_worse()),
        };
        (self.worse, self.not_worse) = (worse, not_worse);
        self.curve.push(Point { at: reading.at, worse, not_worse });
        self.worse_most = self.worse_most.most(worse);
        self.not_worse_most = self.not_worse_most.most(not_worse);
    }

    fn weighted(&self) -> f64 {
        self.weight + self.worse.ln()
    }
}

fn reaches_the_canary(said: &Said) -> bool {
    matches!(said, Said::Events(split) if split.canary.of > 0) || matches!(said, Said::Numbers { .. })
}
