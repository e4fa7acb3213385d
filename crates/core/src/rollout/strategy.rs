//! How a rollout moves its hosts: all at once, in batches, by shares of the traffic; turned into steps.
//!
//! Invariants: every step has at least as many hosts up as the one before, and never more over than up; the last one has
//! all hosts over.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::traffic::Share;

/// How a rollout moves its hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Strategy {
    /// All at once, when all are prepared.
    #[default]
    Barrier,
    /// A batch after the other.
    Rolling {
        /// How many hosts at a time.
        batch: Portion,
    },
    /// By shares of the traffic, on as many hosts as carry them, then in batches.
    Canary {
        /// The shares, each larger than the one before.
        ramp: Vec<Share>,
        /// How many hosts at a time once the ramp is over.
        batch: Portion,
    },
    /// The new release beside the old on every host, all traffic at once, and the old one stays up for the soak.
    BlueGreen,
}

/// A strategy without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategyWord {
    /// [`Strategy::Barrier`].
    Barrier,
    /// [`Strategy::Rolling`].
    Rolling,
    /// [`Strategy::Canary`].
    Canary,
    /// [`Strategy::BlueGreen`].
    BlueGreen,
}

/// How many hosts at a time, when nobody says: a fifth.
pub fn batch_default() -> Portion {
    Portion::Part(Share::from_millionths(200_000))
}

/// The canary's shares, when nobody says: 1, 5, 25 and 50 %.
pub fn ramp_default() -> Vec<Share> {
    [10_000, 50_000, 250_000, 500_000].map(Share::from_millionths).to_vec()
}

/// Numbers that a strategy has no use for, or that are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Senseless {
    /// Only rolling and canary have batches.
    #[error("the strategy `{0}` has no batches")]
    Batch(&'static str),
    /// Only the canary has a ramp.
    #[error("the strategy `{0}` has no ramp")]
    Ramp(&'static str),
    /// A ramp grows.
    #[error("a ramp needs shares that grow from more than nothing")]
    NoRamp,
}

impl Strategy {
    /// Returns this strategy, or another one, with other numbers; those that nobody gives stay, or are the usual ones.
    pub fn changed(
        &self,
        word: Option<StrategyWord>,
        batch: Option<Portion>,
        ramp: Option<Vec<Share>>,
    ) -> Result<Strategy, Senseless> {
        let own_batch = match self {
            Strategy::Rolling { batch } | Strategy::Canary { batch, .. } => *batch,
            Strategy::Barrier | Strategy::BlueGreen => batch_default(),
        };
        let own_ramp = match self {
            Strategy::Canary { ramp, .. } => ramp.clone(),
            Strategy::Barrier | Strategy::Rolling { .. } | Strategy::BlueGreen => ramp_default(),
        };
        let grows = |ramp: &Vec<Share>| {
            ramp.first().is_some_and(|first| *first > Share::NONE)
                && ramp.is_sorted_by(|one, next| one < next)
        };
        if ramp.as_ref().is_some_and(|ramp| !grows(ramp)) {
            return Err(Senseless::NoRamp);
        }
        let changed = match word.unwrap_or_else(|| self.without_numbers()) {
            StrategyWord::Barrier => Strategy::Barrier,
            StrategyWord::BlueGreen => Strategy::BlueGreen,
            StrategyWord::Rolling => Strategy::Rolling { batch: batch.unwrap_or(own_batch) },
            StrategyWord::Canary => {
                Strategy::Canary { ramp: ramp.clone().unwrap_or(own_ramp), batch: batch.unwrap_or(own_batch) }
            }
        };
        match &changed {
            Strategy::Barrier | Strategy::BlueGreen if batch.is_some() => {
                Err(Senseless::Batch(changed.word()))
            }
            Strategy::Barrier | Strategy::BlueGreen | Strategy::Rolling { .. } if ramp.is_some() => {
                Err(Senseless::Ramp(changed.word()))
            }
            _ => Ok(changed),
        }
    }

    fn without_numbers(&self) -> StrategyWord {
        match self {
            Strategy::Barrier => StrategyWord::Barrier,
            Strategy::Rolling { .. } => StrategyWord::Rolling,
            Strategy::Canary { .. } => StrategyWord::Canary,
            Strategy::BlueGreen => StrategyWord::BlueGreen,
        }
    }

    /// Returns the strategy with batches of at most `most` of so many hosts.
    pub(super) fn bounded(&self, most: Option<Portion>, hosts: usize) -> Strategy {
        let bounded = |batch: &Portion| match most {
            None => *batch,
            Some(most) => {
                let size = batch.of(hosts).min(most.of(hosts));
                Portion::Count(u32::try_from(size).unwrap_or(u32::MAX))
            }
        };
        match self {
            Strategy::Rolling { batch } => Strategy::Rolling { batch: bounded(batch) },
            Strategy::Canary { ramp, batch } => {
                Strategy::Canary { ramp: ramp.clone(), batch: bounded(batch) }
            }
            Strategy::Barrier | Strategy::BlueGreen => self.clone(),
        }
    }

    /// Returns the strategy in one word, as `footplate.toml` says it.
    pub fn word(&self) -> &'static str {
        match self {
            Strategy::Barrier => "barrier",
            Strategy::Rolling { .. } => "rolling",
            Strategy::Canary { .. } => "canary",
            Strategy::BlueGreen => "blue_green",
        }
    }
}

/// A number of hosts, as a count or as a part of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Portion {
    /// So many.
    Count(u32),
    /// A part, rounded up.
    Part(Share),
}

impl Portion {
    /// Returns how many of `all` it is: at least one, and never more than all.
    pub fn of(self, all: usize) -> usize {
        match self {
            Portion::Count(count) => (count as usize).clamp(1.min(all), all),
            Portion::Part(share) => share.of(all),
        }
    }
}

/// A text that is no number of hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no number of hosts; expected a count, such as 2, or a part of all, such as 20%", .0.escape_debug())]
pub struct NotAPortion(pub String);

impl FromStr for Portion {
    type Err = NotAPortion;

    fn from_str(text: &str) -> Result<Self, NotAPortion> {
        let refuse = || NotAPortion(text.to_owned());
        let portion = match text.ends_with('%') {
            true => Portion::Part(text.parse().map_err(|_| refuse())?),
            false => Portion::Count(text.parse().map_err(|_| refuse())?),
        };
        let nobody = matches!(portion, Portion::Count(0) | Portion::Part(Share::NONE));
        if nobody { Err(refuse()) } else { Ok(portion) }
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Portion::Count(count) => write!(f, "{count}"),
            Portion::Part(share) => write!(f, "{share}"),
        }
    }
}

/// Where a step leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// On so many hosts the new release is up and let in.
    pub up: usize,
    /// It gets this share of the traffic; by the number of its endpoints when absent.
    pub share: Option<Share>,
    /// On so many hosts the old release is gone.
    pub over: usize,
}

/// Lists the steps on so many hosts. `beside` tells whether old and new may be up at once.
pub fn goals(strategy: &Strategy, hosts: usize, beside: bool) -> Vec<Goal> {
    let whole = Goal { up: hosts, share: None, over: hosts };
    match strategy {
        Strategy::Barrier => vec![whole],
        Strategy::BlueGreen if beside => vec![Goal { share: Some(Share::ALL), over: 0, ..whole }, whole],
        Strategy::BlueGreen => vec![whole],
        Strategy::Rolling { batch } => batches(0, hosts, *batch),
        Strategy::Canary { ramp, batch } => {
            let shares = ramp.iter().map(|share| {
                let up = share.of(hosts);
                Goal { up, share: Some(*share).filter(|_| beside), over: if beside { 0 } else { up } }
            });
            let mut goals: Vec<Goal> = shares.collect();
            let up = goals.last().map_or(0, |goal| goal.up);
            goals.extend(batches(up, hosts, *batch));
            goals.dedup();
            goals
        }
    }
}

/// Lists the batches from so many hosts that are up to all. The first one also ends what a ramp left side by side.
fn batches(up: usize, hosts: usize, batch: Portion) -> Vec<Goal> {
    let size = batch.of(hosts).max(1);
    let mut reached = up;
    let mut goals = Vec::new();
    while reached < hosts {
        reached = (reached + size).min(hosts);
        goals.push(Goal { up: reached, share: None, over: reached });
    }
    if goals.is_empty() {
        goals.push(Goal { up: hosts, share: None, over: hosts });
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(percent: u32) -> Share {
        Share::from_millionths(percent * 10_000)
    }

    fn told(strategy: &Strategy, hosts: usize, beside: bool) -> String {
        let word = |goal: &Goal| match goal.share {
            Some(share) => format!("{}@{share}-{}", goal.up, goal.over),
            None => format!("{}-{}", goal.up, goal.over),
        };
        goals(strategy, hosts, beside).iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn strategies_become_steps() {
        let canary = |batch| Strategy::Canary { ramp: [1, 5, 25, 50].map(percent).to_vec(), batch };
        for (strategy, hosts, beside, expected) in [
            (Strategy::Barrier, 3, true, "3-3"),
            (Strategy::BlueGreen, 3, true, "3@100%-0 3-3"),
            (Strategy::BlueGreen, 3, false, "3-3"),
            (Strategy::Rolling { batch: Portion::Count(2) }, 5, true, "2-2 4-4 5-5"),
            (Strategy::Rolling { batch: Portion::Part(percent(20)) }, 10, true, "2-2 4-4 6-6 8-8 10-10"),
            (Strategy::Rolling { batch: Portion::Count(9) }, 2, true, "2-2"),
            (canary(Portion::Count(4)), 10, true, "1@1%-0 1@5%-0 3@25%-0 5@50%-0 9-9 10-10"),
            (canary(Portion::Count(4)), 10, false, "1-1 3-3 5-5 9-9 10-10"),
            (canary(Portion::Count(1)), 1, true, "1@1%-0 1@5%-0 1@25%-0 1@50%-0 1-1"),
        ] {
            assert_eq!(told(&strategy, hosts, beside), expected, "{strategy:?} on {hosts}");
        }
    }

    #[test]
    fn a_deploy_changes_a_strategy_or_only_its_numbers() {
        let rolling = Strategy::Rolling { batch: Portion::Count(2) };
        let canary = |ramp: &[u32], batch| Strategy::Canary {
            ramp: ramp.iter().map(|share| percent(*share)).collect(),
            batch,
        };
        let two = Portion::Count(2);
        use StrategyWord::{BlueGreen, Canary, Rolling};
        for (own, word, batch, ramp, expected) in [
            (&rolling, None, None, None, Ok(rolling.clone())),
            (
                &rolling,
                None,
                Some(Portion::Count(3)),
                None,
                Ok(Strategy::Rolling { batch: Portion::Count(3) }),
            ),
            (&rolling, Some(Canary), None, None, Ok(canary(&[1, 5, 25, 50], two))),
            (&rolling, Some(Canary), None, Some(vec![10, 60]), Ok(canary(&[10, 60], two))),
            (&canary(&[3], two), Some(Rolling), None, None, Ok(rolling.clone())),
            (&rolling, Some(Canary), None, Some(vec![60, 10]), Err(Senseless::NoRamp)),
            (&rolling, Some(Canary), None, Some(vec![0, 10]), Err(Senseless::NoRamp)),
            (&rolling, None, None, Some(vec![10]), Err(Senseless::Ramp("rolling"))),
            (&rolling, Some(BlueGreen), Some(two), None, Err(Senseless::Batch("blue_green"))),
            (&Strategy::Barrier, None, Some(two), None, Err(Senseless::Batch("barrier"))),
        ] {
            let ramp = ramp.map(|ramp: Vec<u32>| ramp.into_iter().map(percent).collect());
            assert_eq!(
                own.changed(word, batch, ramp.clone()),
                expected,
                "{own:?} {word:?} {batch:?} {ramp:?}"
            );
        }
    }

    #[test]
    fn steps_only_grow_and_end_with_all() {
        for hosts in 1..40 {
            for (strategy, beside) in [
                (Strategy::Rolling { batch: Portion::Part(percent(30)) }, true),
                (Strategy::Canary { ramp: vec![percent(3), percent(60)], batch: Portion::Count(7) }, true),
                (Strategy::Canary { ramp: vec![percent(100)], batch: Portion::Count(1) }, false),
            ] {
                let goals = goals(&strategy, hosts, beside);
                assert!(goals.is_sorted_by_key(|goal| (goal.up, goal.over)));
                assert!(goals.iter().all(|goal| goal.over <= goal.up && goal.up > 0));
                assert_eq!(goals.last(), Some(&Goal { up: hosts, share: None, over: hosts }));
            }
        }
    }
}
