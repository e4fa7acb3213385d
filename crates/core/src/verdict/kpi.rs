//! What is judged: KPIs with their tolerances, what silence means, and how much of one error budget each may spend.
//!
//! Invariants: a plan that was checked has a KPI, weights above nothing, and limits that can be crossed. What the error budget
//! bounds is the whole deployment: KPIs share it by their weights.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cause::Drawn;
use super::reading::{KpiName, Number};
use crate::release::duration_millis;
use crate::traffic::Share;

/// What part of the error budget is spent while both versions answer, in millionths.
const BESIDE: u32 = 900_000;

/// How a deployment is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How often a release that is not worse may be called worse: per deployment, over all KPIs and looks.
    pub false_rollback: Share,
    /// What part of that this stage of the deployment may spend: it is judged while both versions answer, and by its past afterwards.
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub spends: Share,
    /// How often a release that is as bad as a KPI's `not_worse_than` may be called not worse.
    pub false_promotion: Share,
    /// What versions are drawn for.
    pub drawn: Drawn,
    /// What is judged.
    pub kpis: BTreeMap<KpiName, Kpi>,
}

fn all() -> Share {
    Share::ALL
}

fn is_all(share: &Share) -> bool {
    *share == Share::ALL
}

/// One KPI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kpi {
    /// How much of the error budget it has, relative to the others.
    pub weight: u32,
    /// What it measures, and what is too much.
    pub measure: Measure,
    /// What it means that nothing is heard of it.
    pub silence: Silence,
    /// How long after the canary's first request nothing is counted: a process that has just begun is slow for that alone.
    #[serde(with = "duration_millis")]
    pub warm_up: Duration,
}

/// What a KPI measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// How often something happens to a request or a job.
    Events(Tolerance),
    /// A number that each look has of each version.
    Number(Bound),
}

/// How often something may happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Worse is: more than so many times as often as with the baseline. Nothing: only `worse_above` counts.
    pub worse_than: Option<Factor>,
    /// Worse is only what happens to more than this part of the requests, whatever the baseline does.
    pub worse_above: Option<Share>,
    /// Not worse is: proved to happen less than so many times as often.
    pub not_worse_than: Factor,
    /// Not worse is also: proved to happen to less than this part of the requests.
    pub fine_below: Option<Share>,
    /// What is one fact.
    pub counting: Counting,
    /// What else it may be, as multiples of the null hypothesis.
    pub alternatives: Alternatives,
}

/// What is one fact, where several events may have one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// The first event of a client key. Windows where no keys are known, or few carry most requests.
    Causes,
    /// Every event, but all of a look together at most as much as one that hit the canary alone.
    Looks,
    /// Windows of five seconds, each by the canary's part of its events (the sign test).
    Windows,
}

/// Which bets are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternatives {
    /// Up to a hundred times as often.
    Worse,
    /// Up to ten times as often, and from 1.15 times on.
    Slower,
}

/// How large a number may be. Each look is one window of a sign test: worse is what is beyond the bound more often than not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// At most so many times the baseline's number.
    pub worse_than: Option<Factor>,
    /// At most this, whatever the baseline's is.
    pub limit: Option<Number>,
    /// Whether a small number is the bad one: then all bounds are the other way round.
    #[serde(default)]
    pub is_low_bad: bool,
    /// Whether it is a part of the requests, 0 to 1, and is told as a percentage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_part: bool,
}

/// What silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// For how long nothing need be heard.
    #[serde(with = "duration_millis")]
    pub patience: Duration,
    /// What it means afterwards. It never means healthy.
    pub then: Then,
}

/// What a KPI that is silent means for the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Nobody knows: the release is not called good while it lasts.
    Unknown,
    /// The release is worse: what should be heard of it is not.
    Worse,
    /// The verdict goes on without it, and says so.
    GoOn,
}

/// A multiple, in thousandths: `1x`, `1.25x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Factor(u32);

/// A text that is no multiple.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a multiple: expected `1x`, `1.25x`, from `0.001x` to `1000x`", .0.escape_debug())]
pub struct NotAFactor(pub String);

impl Factor {
    /// Once as much.
    pub const ONE: Factor = Factor(1000);

    /// Returns so many thousandths.
    pub const fn from_thousandths(thousandths: u32) -> Self {
        Self(thousandths)
    }

    /// Returns the multiple.
    pub fn value(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        match rest {
            0 => write!(f, "{whole}x"),
            _ => write!(f, "{whole}.{}x", format!("{rest:03}").trim_end_matches('0')),
        }
    }
}

impl FromStr for Factor {
    type Err = NotAFactor;

    fn from_str(text: &str) -> Result<Self, NotAFactor> {
        let refuse = || NotAFactor(text.to_owned());
        let number = text.strip_suffix('x').ok_or_else(refuse)?;
        let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(rest) || whole.len() > 4 || rest.len() > 3 {
            return Err(refuse());
        }
        let thousandths: u32 = format!("{whole}{rest:0<3}").parse().map_err(|_| refuse())?;
        if (1..=1_000_000).contains(&thousandths) { Ok(Self(thousandths)) } else { Err(refuse()) }
    }
}

impl TryFrom<String> for Factor {
    type Error = NotAFactor;

    fn try_from(text: String) -> Result<Self, NotAFactor> {
        text.parse()
    }
}

impl From<Factor> for String {
    fn from(factor: Factor) -> String {
        factor.to_string()
    }
}

/// Why a plan cannot be judged by, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Impossible(pub String);

impl Plan {
    /// Returns what is judged of requests unless somebody says otherwise: errors with one half of the budget, the baseline's p50, p90
    /// and p99 with a sixth each.
    pub fn of_requests(drawn: Drawn) -> Self {
        let percent = |percent: u32| Share::from_millionths(percent * 10_000);
        let kpi = |weight, measure| {
            let silence = Silence { patience: Duration::from_secs(10), then: Then::Unknown };
            Kpi { weight, measure, silence, warm_up: Duration::ZERO }
        };
        let errors = Tolerance {
            worse_than: Some(Factor::ONE),
            worse_above: None,
            not_worse_than: Factor::from_thousandths(2000),
            fine_below: Some(Share::from_millionths(1_000)),
            counting: Counting::Causes,
            alternatives: Alternatives::Worse,
        };
        // Slower than the frozen time is, of what was frozen, half, a tenth and a hundredth of the answers: less of them is not worse.
        let slow = |not_worse_than, part| Tolerance {
            not_worse_than: Factor::from_thousandths(not_worse_than),
            fine_below: Some(percent(part)),
            counting: Counting::Looks,
            alternatives: Alternatives::Slower,
            ..errors.clone()
        };
        let kpis = [
            ("errors", 3, errors.clone()),
            ("latency.p50", 1, slow(1250, 50)),
            ("latency.p90", 1, slow(1500, 10)),
            ("latency.p99", 1, slow(2000, 1)),
        ];
        let kpis = kpis.map(|(name, weight, tolerance)| {
            (name.parse().expect("it is a name"), kpi(weight, Measure::Events(tolerance)))
        });
        Self {
            false_rollback: percent(1),
            spends: Share::ALL,
            false_promotion: percent(5),
            drawn,
            kpis: kpis.into(),
        }
    }

    /// Returns the plan of the stage in which both versions answer: with nine tenths of what may be spent.
    pub fn beside(self) -> Self {
        Self { spends: Share::from_millionths(BESIDE), ..self }
    }

    /// Returns the plan of the stage after that, with the rest.
    pub fn after(self) -> Self {
        Self { spends: Share::from_millionths(Share::ALL.millionths() - BESIDE), ..self }
    }

    /// Returns how likely it may become that a release that is not worse is called worse in this stage.
    pub fn budget(&self) -> f64 {
        self.false_rollback.part() * self.spends.part()
    }

    /// Tells whether one can judge by it.
    pub fn check(&self) -> Result<(), Impossible> {
        let refuse = |sentence: String| Err(Impossible(sentence));
        for (what, part) in
            [("false_rollback", self.false_rollback), ("false_promotion", self.false_promotion)]
        {
            if part == Share::NONE || part > Share::from_millionths(500_000) {
                return refuse(format!("{what} is {part}; it must be above 0% and at most 50%"));
            }
        }
        if self.kpis.is_empty() {
            return refuse("there is no KPI; nothing can be judged without one".to_owned());
        }
        for (name, kpi) in &self.kpis {
            if let Some(why) = kpi.fault() {
                return refuse(format!("KPI `{name}`: {why}"));
            }
        }
        Ok(())
    }

    /// Returns how much of the error budget a KPI has: 0 to 1, all of them together 1.
    pub fn part_of_budget(&self, kpi: &Kpi) -> f64 {
        let all: u64 = self.kpis.values().map(|kpi| u64::from(kpi.weight)).sum();
        f64::from(kpi.weight) / all as f64
    }
}

impl Kpi {
    fn fault(&self) -> Option<&'static str> {
        if self.weight == 0 {
            return Some("weight is 0; what has no part of the error budget can never be called worse");
        }
        match &self.measure {
            Measure::Events(tolerance) => tolerance.fault(),
            Measure::Number(bound) => (bound.worse_than.is_none() && bound.limit.is_none())
                .then_some("it has neither `worse_than` nor `limit`; nothing would be too much"),
        }
    }
}

impl Tolerance {
    fn fault(&self) -> Option<&'static str> {
        let is_limit =
            |share: Option<Share>| share.is_none_or(|share| share > Share::NONE && share < Share::ALL);
        if self.worse_than.is_none() && self.worse_above.is_none() {
            return Some("it has neither `worse_than` nor `worse_above`; nothing would be too much");
        }
        if !is_limit(self.worse_above) || !is_limit(self.fine_below) {
            return Some("a part of requests as a limit must be above 0% and below 100%");
        }
        if self.not_worse_than <= self.worse_than.unwrap_or(Factor::ONE).max(Factor::from_thousandths(500)) {
            return Some("`not_worse_than` must be above `worse_than`: equality can never be proved");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_written_with_an_x() {
        for (text, thousandths) in [("1x", 1000), ("1.25x", 1250), ("0.5x", 500), ("100x", 100_000)] {
            assert_eq!(text.parse(), Ok(Factor(thousandths)));
            assert_eq!(Factor(thousandths).to_string(), text);
        }
        for text in ["", "1", "x", "0x", "1.2345x", "-1x", "1,5x", "10000x", "1.x"] {
            assert!(text.parse::<Factor>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_parts_of_the_budget_are_all_of_it() {
        let plan = Plan::of_requests(Drawn::Request);
        plan.check().expect("it can be judged by");
        let parts: f64 = plan.kpis.values().map(|kpi| plan.part_of_budget(kpi)).sum();
        assert!((parts - 1.0).abs() < 1e-12);
        assert!((plan.part_of_budget(&plan.kpis[&"errors".parse().unwrap()]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_plan_by_which_nothing_could_be_found_is_refused() {
        let changed = |change: &dyn Fn(&mut Plan)| {
            let mut plan = Plan::of_requests(Drawn::Request);
            change(&mut plan);
            plan.check().expect_err("it is impossible").to_string()
        };
        let errors = |plan: &mut Plan, change: &dyn Fn(&mut Tolerance)| {
            let kpi = plan.kpis.get_mut(&"errors".parse().unwrap()).unwrap();
            let Measure::Events(tolerance) = &mut kpi.measure else { panic!("errors are events") };
            change(tolerance);
        };
        assert!(changed(&|plan| plan.kpis.clear()).contains("no KPI"));
        assert!(changed(&|plan| plan.false_rollback = Share::NONE).contains("false_rollback is 0%"));
        assert!(
            changed(&|plan| errors(plan, &|it| it.worse_than = None)).contains("`errors`: it has neither")
        );
        assert!(
            changed(&|plan| errors(plan, &|it| it.not_worse_than = Factor::ONE)).contains("never be proved")
        );
        assert!(changed(&|plan| errors(plan, &|it| it.fine_below = Some(Share::ALL))).contains("below 100%"));
    }
}
