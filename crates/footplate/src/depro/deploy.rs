//! `depro deploy`: brings a version to every node, switches when all have it, and waits for the end of the switch.
//!
//! Invariants: `current` is set once all nodes of the whole listing are ready, and only if nobody else has set it since
//! we began; a failed version is tried again; the exit code tells how the rollout ended, not how it began.

use std::collections::BTreeSet;
use std::time::Duration;

use footplate_drivers::chain;
use footplate_drivers::store::StoreError;
use footplate_drivers::store::consul::Pair;
use tokio::time::Instant;

use super::config::CommandConfig;
use super::listing::{alive, said, standings};
use super::readiness::{Activated, Goal, Prepared, Waiting, activated, prepared, progress};
use super::stop::Stop;
use super::talk;
use super::tree::{Node, Standings, State, Version};
use super::wire::{Wire, Wish};

/// How long between two listings: many nodes' writes are read with one.
const BETWEEN: Duration = Duration::from_millis(20);
/// How long a failed version stays out of the tree, so that every agent sees it gone. Longer than an agent's pause.
const GONE: Duration = Duration::from_millis(1500);
/// How often we look after silent nodes and a `current` that somebody else may set.
const LOOK_AROUND: Duration = Duration::from_secs(1);
/// How long an original agent may sit on a version that `current` named before it was there: then `current` is set anew.
const NUDGE: Duration = Duration::from_secs(3);
/// How long the store may be away before the deploy gives up, and how long between two questions meanwhile.
const STORE_AWAY: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(200);
/// What the original says, with its spelling, when the preparation fails or its time is over.
const PREPARATION: &str = "Deployment failed or timed out during preperation phase.";

/// Deploys a version; ends well when every node runs it.
pub async fn deploy(config: &CommandConfig, version: &Version) -> Result<(), Stop> {
    let goal = Goal { version: version.clone(), nodes_min: config.nodes_min };
    let wire = Wire::open(&config.connection).map_err(|error| Stop::address(chain(&error)))?;
    let mut deploy = Deploy { config, wire, goal, shown: Standings::new(), wish: Wish::default() };
    let expected = deploy.begin().await?;
    talk::say(format!("Starting deployment of version '{version}'"));
    let nodes = deploy.prepare(expected).await?;
    talk::say(format!("Version '{version}' deployed to all nodes, starting rollout."));
    let was_current = deploy.switch().await?;
    talk::say(format!("Version '{version}' marked for rollout"));
    deploy.activate(&nodes, was_current).await?;
    talk::say(format!("Version '{version}' successfully deployed"));
    Ok(())
}

struct Deploy<'a> {
    config: &'a CommandConfig,
    wire: Wire,
    goal: Goal,
    shown: Standings,
    wish: Wish,
}

impl Deploy<'_> {
    /// Adds the version, or a failed one anew; returns the nodes that live.
    async fn begin(&mut self) -> Result<BTreeSet<Node>, Stop> {
        // The very first question is asked once: a wrong address should be told at once, as in the original.
        let pairs = self
            .wire
            .tree(&self.config.prefix)
            .await
            .map_err(|error| store_failed(&self.goal.version, &error))?;
        let current = self.config.prefix.current();
        self.wish = pairs.iter().find(|pair| pair.key == current).map(Wish::from).unwrap_or_default();
        let expected = alive(&self.config.prefix, &pairs);
        let failed: Vec<&Pair> = pairs.iter().filter(|pair| self.has_failed(pair)).collect();
        if !failed.is_empty() {
            self.reset(&failed).await?;
        }
        self.steady(|| self.wire.add(&self.config.prefix, &self.goal.version)).await?;
        Ok(expected)
    }

    fn has_failed(&self, pair: &Pair) -> bool {
        let ours = self
            .config
            .prefix
            .parse_state(&pair.key)
            .is_some_and(|(version, _)| version == self.goal.version);
        ours && State::parse(&pair.value) == State::Failed
    }

    /// A failed version is taken out, so that its nodes begin again. The current one stays where it runs: only the
    /// failed states are taken out, which agents of ours understand.
    async fn reset(&self, failed: &[&Pair]) -> Result<(), Stop> {
        if self.wish.version.as_ref() != Some(&self.goal.version) {
            self.steady(|| self.wire.remove(&self.config.prefix, &self.goal.version)).await?;
            tokio::time::sleep(GONE).await;
            return Ok(());
        }
        for pair in failed {
            self.steady(|| self.wire.forget(pair)).await?;
        }
        Ok(())
    }

    /// Waits until every node has the version; returns them.
    async fn prepare(&mut self, mut expected: BTreeSet<Node>) -> Result<BTreeSet<Node>, Stop> {
        let deadline = Instant::now() + self.config.prepare_timeout;
        let mut looked = Instant::now();
        let mut seen = 0;
        loop {
            let standings = self.listen(&mut seen, deadline.min(Instant::now() + LOOK_AROUND)).await?;
            let waiting = match prepared(&self.goal, &standings, &expected) {
                Prepared::Ready(nodes) => return Ok(nodes),
                Prepared::Failed(nodes) => return Err(self.failed(&nodes, "deploy")),
                Prepared::Waiting(waiting) => waiting,
            };
            if Instant::now() >= deadline {
                return Err(self.timed_out(&waiting, PREPARATION));
            }
            if !waiting.silent.is_empty() && looked.elapsed() >= LOOK_AROUND {
                looked = Instant::now();
                expected =
                    alive(&self.config.prefix, &self.steady(|| self.wire.tree(&self.config.prefix)).await?);
            }
        }
    }

    /// Sets `current`, if it is still what it was at the beginning; returns whether it named the version already.
    async fn switch(&mut self) -> Result<bool, Stop> {
        if self.wish.version.as_ref() == Some(&self.goal.version) {
            return Ok(true);
        }
        let switch = || self.wire.switch(&self.config.prefix, &self.goal.version, self.wish.index);
        if self.steady(switch).await? {
            return Ok(false);
        }
        // An answer that got lost on the way may have been a success.
        match self.read_wish().await? {
            wish if wish.version.as_ref() == Some(&self.goal.version) => Ok(false),
            wish => Err(self.superseded(&wish)),
        }
    }

    /// Waits until every node runs the version.
    async fn activate(&mut self, required: &BTreeSet<Node>, was_current: bool) -> Result<(), Stop> {
        let deadline = Instant::now() + self.config.activate_timeout;
        let mut nudge_at = was_current.then(|| Instant::now() + NUDGE);
        let (mut seen, mut active) = (0, BTreeSet::new());
        let mut looked = Instant::now();
        loop {
            let standings = self.listen(&mut seen, deadline.min(Instant::now() + LOOK_AROUND)).await?;
            active.extend(
                standings.iter().filter(|(_, state)| **state == State::Active).map(|(node, _)| node.clone()),
            );
            let waiting = match activated(&standings, required, &active) {
                Activated::Everywhere => return Ok(()),
                Activated::Failed(nodes) => return Err(self.failed(&nodes, "rollout")),
                Activated::Waiting(waiting) => waiting,
            };
            if Instant::now() >= deadline {
                return Err(self.timed_out(&waiting, "Rollout failed or timed out."));
            }
            if nudge_at.is_some_and(|at| Instant::now() >= at) {
                nudge_at = None;
                self.nudge().await?;
            } else if looked.elapsed() >= LOOK_AROUND {
                looked = Instant::now();
                let wish = self.read_wish().await?;
                if wish.version.as_ref() != Some(&self.goal.version) {
                    return Err(self.superseded(&wish));
                }
            }
        }
    }

    /// An original agent that got a removed current version again does not roll it out, because the value of `current`
    /// has not changed for it. It forgets the value when the key is away for a moment.
    async fn nudge(&self) -> Result<(), Stop> {
        let wish = self.read_wish().await?;
        if wish.version.as_ref() != Some(&self.goal.version) {
            return Err(self.superseded(&wish));
        }
        if self.steady(|| self.wire.unset(&self.config.prefix, wish.index)).await? {
            tokio::time::sleep(GONE).await;
            self.steady(|| self.wire.switch(&self.config.prefix, &self.goal.version, 0)).await?;
        }
        Ok(())
    }

    async fn read_wish(&self) -> Result<Wish, Stop> {
        let read = self.steady(|| self.wire.current(&self.config.prefix, 0, Duration::ZERO)).await?;
        Ok(read.value)
    }

    /// Lists the version once it has changed or `until` is over, and prints what changed.
    async fn listen(&mut self, seen: &mut u64, until: Instant) -> Result<Standings, Stop> {
        let patience = until.saturating_duration_since(Instant::now());
        let (prefix, version) = (&self.config.prefix, &self.goal.version);
        if *seen != 0 {
            tokio::time::sleep(BETWEEN.min(patience)).await;
        }
        let listed = match self.wire.version(prefix, version, *seen, patience).await {
            Ok(listed) => listed,
            // Asked again by the caller, until its deadline.
            Err(error) if error.is_worth_a_retry() && !patience.is_zero() => {
                tracing::debug!("{error}");
                *seen = 0;
                tokio::time::sleep(AGAIN.min(patience)).await;
                return Ok(self.shown.clone());
            }
            Err(error) => return Err(store_failed(&self.goal.version, &error)),
        };
        *seen = if listed.index < *seen { 0 } else { listed.index };
        let now = standings(prefix, version, &listed.value);
        for line in progress(version, &self.shown, &now) {
            talk::say(line);
        }
        self.shown.clone_from(&now);
        Ok(now)
    }

    /// Asks again for a while when the store is away. What is asked may be done twice without harm.
    async fn steady<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, Stop> {
        let deadline = Instant::now() + STORE_AWAY;
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_worth_a_retry() && Instant::now() < deadline => {
                    tracing::debug!("{error}");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(store_failed(&self.goal.version, &error)),
            }
        }
    }

    fn failed(&self, nodes: &[Node], step: &str) -> Stop {
        let version = &self.goal.version;
        Stop::failed(format!("cannot deploy `{version}`"))
            .line(format!("Failed to deploy '{version}': Version '{version}' deployment failed"))
            .because(format!("the {step} script failed on {}", said(nodes)))
            .next("see the agents' output for what the script printed; `depro deploy` with the same version tries again")
    }

    fn timed_out(&self, waiting: &Waiting, line: &str) -> Stop {
        let version = &self.goal.version;
        Stop::failed(format!("cannot deploy `{version}` in time"))
            .line(format!("Failed to deploy '{version}': {line}"))
            .because(format!("still waiting for {waiting}"))
            .next("mend what keeps them, or give more time with `-timeout` and `-activate-timeout`")
    }

    fn superseded(&self, wish: &Wish) -> Stop {
        let version = &self.goal.version;
        let now = wish.version.as_ref().map_or("nothing".to_owned(), |other| format!("`{other}`"));
        Stop::failed(format!("cannot deploy `{version}`"))
            .line(format!("Failed to deploy '{version}': Version '{version}' deployment failed"))
            .because(format!("somebody else has set `{}` to {now} meanwhile", self.config.prefix.current()))
            .next("agree who deploys, then run it again")
    }
}

fn store_failed(version: &Version, error: &StoreError) -> Stop {
    Stop::failed(format!("cannot deploy `{version}`"))
        .line(format!("Failed to deploy '{version}': {error}"))
        .because(chain(error))
        .next("check that the store runs, and the address and token given")
}
