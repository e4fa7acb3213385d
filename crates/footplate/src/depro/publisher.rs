//! Says in the tree how this node stands: the difference between what is wanted there and what was written.
//!
//! Invariants: nothing is written twice (the original wrote every old version anew at each rollout); a state that passes
//! by itself is written only if it lasts; after a lost session everything is said again; waiting never blocks scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use footplate_drivers::store::{SessionId, StoreError, Troubles};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::tree::{Node, Prefix, State, Version};
use super::wire::{Registered, Seat, Wire};

/// How long `deploying` and `starting` must last to be worth a write.
const LASTING: Duration = Duration::from_millis(250);
/// How long another session is waited for before a dead one is tried again.
const DEAD: Duration = Duration::from_secs(1);
/// How soon a refused registration is tried again.
const REFUSED: Duration = Duration::from_secs(2);
/// How long a retried version may need to begin again.
const RETRIED: Duration = Duration::from_secs(1);
/// How long after others' writes our keys are looked after, when a state of ours waits for somebody to retry it.
const LOOK_SOON: Duration = Duration::from_millis(300);
/// The same when all is well.
const LOOK_LATER: Duration = Duration::from_secs(5);

/// What the tree should say about this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// A state for each version that is to be here.
    pub states: BTreeMap<Version, State>,
    /// Those of them that are not in the tree: the current version, when somebody removed it by hand.
    pub absent: BTreeSet<Version>,
    /// Which listing of the tree this goes by.
    pub listing: u64,
    /// The index of `current`.
    pub wish: u64,
    /// How many times others' writes have woken us.
    pub stirred: u64,
}

/// What a publisher needs.
pub struct Publisher {
    /// The store.
    pub wire: Arc<Wire>,
    /// The tree.
    pub prefix: Prefix,
    /// The agent.
    pub node: Node,
    /// Where it says that the store has trouble.
    pub troubles: Troubles,
    /// Told when the session is found dead.
    pub dead: Arc<Notify>,
    /// Told which keys somebody removed while their version stayed: an order to try again.
    pub lost: mpsc::Sender<Version>,
}

/// States to write.
type States = Vec<(Version, State)>;

/// What was written, with the session that holds it.
#[derive(Default)]
struct Said {
    states: BTreeMap<Version, (State, u64)>,
    refused: BTreeSet<Version>,
    /// Failed versions that were just found to be retried, and until when their old failure is not said again.
    retried: BTreeMap<Version, Instant>,
    written: Option<Instant>,
    passing: Option<Instant>,
    stirred: u64,
}

impl Publisher {
    /// Keeps the tree up to date until `desired` has no more writer.
    pub async fn run(
        self,
        mut desired: watch::Receiver<Desired>,
        mut session: watch::Receiver<Option<SessionId>>,
    ) {
        let mut said = Said::default();
        let mut trouble = self.troubles.of(format!("write below {}", self.prefix.folder()));
        let mut holder = None;
        loop {
            let living = session.borrow_and_update().clone();
            if living != holder {
                said = Said::default();
                holder.clone_from(&living);
            }
            let wanted = desired.borrow_and_update().clone();
            let pause = match &living {
                None => Ok(None),
                Some(living) => self.publish(living, &wanted, &mut said).await,
            };
            let pause = match pause {
                Ok(pause) => {
                    trouble.is_over();
                    pause
                }
                Err(StoreError::SessionGone(_)) => {
                    self.dead.notify_one();
                    Some(DEAD)
                }
                Err(error) => Some(trouble.failed(&error)),
            };
            let pause = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = desired.changed() => if changed.is_err() { return },
                changed = session.changed() => if changed.is_err() { return },
                () = pause => {}
            }
        }
    }

    /// Writes what differs; returns when to look again, if at all.
    async fn publish(
        &self,
        session: &SessionId,
        wanted: &Desired,
        said: &mut Said,
    ) -> Result<Option<Duration>, StoreError> {
        let seat = Seat { wire: &self.wire, prefix: &self.prefix, node: &self.node, session };
        said.forget(wanted);
        if let Some(pause) = self.look_after_keys(&seat, wanted, said).await? {
            return Ok(Some(pause));
        }
        for (version, state) in &wanted.states {
            if !said.states.contains_key(version) && !said.must_wait(version, state) {
                let registered = match wanted.absent.contains(version) {
                    true => seat.repair(version, state, wanted.wish).await?,
                    false => seat.register(version, state).await?,
                };
                self.note(registered, version, state, wanted, said);
            }
        }
        let (lasting, passing) = said.differences(wanted);
        if lasting.is_empty() {
            return self
                .publish_passing(&seat, passing, said)
                .await
                .map(|pause| pause.or(said.look_again(wanted)));
        }
        self.say(&seat, lasting, said).await?;
        Ok(said.look_again(wanted))
    }

    /// A state that passes by itself is written when it has been wanted for a while.
    async fn publish_passing(
        &self,
        seat: &Seat<'_>,
        passing: States,
        said: &mut Said,
    ) -> Result<Option<Duration>, StoreError> {
        if passing.is_empty() {
            said.passing = None;
            return Ok(None);
        }
        let since = said.passing.get_or_insert_with(Instant::now).elapsed();
        if since < LASTING {
            return Ok(Some(LASTING - since));
        }
        self.say(seat, passing, said).await?;
        Ok(None)
    }

    async fn say(
        &self,
        seat: &Seat<'_>,
        states: Vec<(Version, State)>,
        said: &mut Said,
    ) -> Result<(), StoreError> {
        said.written = Some(Instant::now());
        said.passing = None;
        if seat.say(&states).await? {
            for (version, state) in states {
                if let Some(entry) = said.states.get_mut(&version) {
                    entry.0 = state;
                }
            }
        } else {
            // A key is gone or taken: the next round registers what was lost.
            for version in seat.lost(&said.versions()).await? {
                said.states.remove(&version);
            }
        }
        Ok(())
    }

    /// Finds keys that somebody removed while their version stayed in the tree.
    async fn look_after_keys(
        &self,
        seat: &Seat<'_>,
        wanted: &Desired,
        said: &mut Said,
    ) -> Result<Option<Duration>, StoreError> {
        if said.look_again(wanted).is_none_or(|pause| !pause.is_zero()) {
            return Ok(None);
        }
        said.stirred = wanted.stirred;
        said.written = Some(Instant::now());
        let mut retried = false;
        for version in seat.lost(&said.versions()).await? {
            said.states.remove(&version);
            if wanted.states.get(&version) == Some(&State::Failed) {
                said.retried.insert(version.clone(), Instant::now() + RETRIED);
                retried = true;
            }
            // A worker that ends does not listen any more, and needs no answer.
            drop(self.lost.send(version).await);
        }
        Ok(retried.then_some(LOOK_SOON))
    }

    fn note(
        &self,
        registered: Registered,
        version: &Version,
        state: &State,
        wanted: &Desired,
        said: &mut Said,
    ) {
        said.written = Some(Instant::now());
        match registered {
            Registered::Yes => {
                said.refused.remove(version);
                said.states.insert(version.clone(), (state.clone(), wanted.listing));
            }
            Registered::Gone => tracing::debug!("{version} left the tree before it was registered"),
            Registered::Refused => {
                if said.refused.insert(version.clone()) {
                    let key = self.prefix.state(version, &self.node);
                    tracing::warn!(
                        "another agent holds {key}; is there a second one called {}? We keep trying",
                        self.node
                    );
                }
            }
        }
    }
}

impl Said {
    /// Drops what is no longer wanted, and what a listing newer than its registration does not show.
    fn forget(&mut self, wanted: &Desired) {
        self.refused.retain(|version| wanted.states.contains_key(version));
        let failed = |version: &Version| wanted.states.get(version) == Some(&State::Failed);
        self.retried.retain(|version, until| failed(version) && Instant::now() < *until);
        self.states.retain(|version, (_, listing)| {
            wanted.states.contains_key(version)
                && !(wanted.absent.contains(version) && *listing < wanted.listing)
        });
    }

    /// Tells whether a version is not to be registered yet.
    fn must_wait(&self, version: &Version, state: &State) -> bool {
        let refused = self.refused.contains(version) && self.written.is_some_and(|at| at.elapsed() < REFUSED);
        let retried =
            *state == State::Failed && self.retried.get(version).is_some_and(|until| Instant::now() < *until);
        refused || retried
    }

    fn versions(&self) -> Vec<Version> {
        self.states.keys().cloned().collect()
    }

    /// Returns the states that differ from what was said: all, if one of them lasts, else none; and the passing ones.
    fn differences(&self, wanted: &Desired) -> (States, States) {
        let differs = |(version, state): &(&Version, &State)| {
            self.states.get(*version).is_some_and(|(said, _)| said != *state)
        };
        let all: States = wanted
            .states
            .iter()
            .filter(differs)
            .map(|(version, state)| (version.clone(), state.clone()))
            .collect();
        if all.iter().all(|(_, state)| state.is_transient()) { (Vec::new(), all) } else { (all, Vec::new()) }
    }

    /// Returns when to look again: for a refused key, or after our keys when others have written.
    fn look_again(&self, wanted: &Desired) -> Option<Duration> {
        if !self.refused.is_empty() {
            return Some(REFUSED);
        }
        if let Some(until) = self.retried.values().min() {
            return Some(until.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        }
        if self.stirred == wanted.stirred || self.states.is_empty() {
            return None;
        }
        let failed = wanted.states.values().any(|state| *state == State::Failed);
        let patience = if failed { LOOK_SOON } else { LOOK_LATER };
        Some(patience.saturating_sub(self.written.map_or(patience, |written| written.elapsed())))
    }
}
