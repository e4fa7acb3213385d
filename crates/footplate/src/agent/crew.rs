//! The workers of one agent: hired when an order names a new target, sent home when the host's name is lost.
//!
//! Invariants: workers hear offers only while the name is held; those that were here before start at once, with or
//! without a store; what a worker remembers is never lost between two terms.

use std::collections::BTreeMap;
use std::sync::Arc;

use footplate_core::name::TargetName;
use footplate_drivers::disk::HeldFolder;
use footplate_drivers::workload::Settings;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::hands::Hands;
use super::memory::Memory;
use super::orders::{Offer, Orders};
use super::presence::Membership;
use super::worker::{Shared, Worker};

/// The workers, and the memories of targets that nobody works on.
pub struct Crew {
    shared: Arc<Shared>,
    /// Where the targets' files are.
    apps: HeldFolder,
    settings: Settings,
    clients: Arc<Clients>,
    remembered: BTreeMap<TargetName, Memory>,
    offers: BTreeMap<TargetName, watch::Sender<Offer>>,
    workers: JoinSet<(TargetName, Memory)>,
    /// Ends with the present term.
    term: CancellationToken,
}

impl Crew {
    /// Makes a crew that works below `apps` and goes on from what was remembered.
    pub fn new(
        shared: Arc<Shared>,
        apps: HeldFolder,
        settings: Settings,
        clients: Arc<Clients>,
        remembered: BTreeMap<TargetName, Memory>,
    ) -> Self {
        let (offers, workers, term) = (BTreeMap::new(), JoinSet::new(), CancellationToken::new());
        Self { shared, apps, settings, clients, remembered, offers, workers, term }
    }

    /// Leads the workers until shutdown; returns when all have ended.
    pub async fn run(
        mut self,
        mut membership: watch::Receiver<Membership>,
        mut orders: watch::Receiver<Orders>,
        shutdown: CancellationToken,
    ) {
        while !shutdown.is_cancelled() {
            let standing = membership.borrow_and_update().clone();
            match standing {
                Membership::Taken => self.send_home().await,
                Membership::Seeking => self.hire_remembered(),
                Membership::Held(_) => {
                    self.hire_remembered();
                    let orders = orders.borrow_and_update().clone();
                    self.distribute(orders);
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => (),
                Ok(()) = membership.changed() => (),
                Ok(()) = orders.changed() => (),
                Some(ended) = self.workers.join_next() => self.take_back(ended),
            }
        }
        self.send_home().await;
    }

    /// Tells whether a target that was remembered has somebody to work on it.
    pub fn is_worked_on(memory: &Memory) -> bool {
        memory.assignment.is_some()
    }

    /// Sets those to work again who had an order when the agent ended or lost its name.
    fn hire_remembered(&mut self) {
        let idle = std::mem::take(&mut self.remembered);
        for (target, memory) in idle {
            if Self::is_worked_on(&memory) {
                self.hire(target, memory, Offer::Unknown);
            } else {
                self.remembered.insert(target, memory);
            }
        }
    }

    fn distribute(&mut self, orders: Orders) {
        let Some(mut orders) = orders else { return };
        for (target, tell) in &self.offers {
            let offer = orders.remove(target).unwrap_or(Offer::Gone);
            tell.send_if_modified(|before| std::mem::replace(before, offer.clone()) != offer);
        }
        for (target, offer) in orders {
            let memory = self.remembered.remove(&target).unwrap_or_default();
            self.hire(target, memory, offer);
        }
    }

    fn hire(&mut self, target: TargetName, memory: Memory, offer: Offer) {
        let owes_first_report = offer == Offer::Unknown;
        let (tell, offers) = watch::channel(offer);
        let hands = Hands::new(
            &self.apps,
            &self.shared.host,
            &target,
            self.settings.clone(),
            Arc::clone(&self.clients),
        );
        let shared = Arc::clone(&self.shared);
        let stop = self.term.child_token();
        let worker = Worker::new(shared, target.clone(), hands, memory, offers, stop, owes_first_report);
        self.workers.spawn(worker.run());
        self.offers.insert(target, tell);
    }

    /// Ends the term: running scripts are killed, and every worker has ended when this returns.
    async fn send_home(&mut self) {
        self.term.cancel();
        while let Some(ended) = self.workers.join_next().await {
            self.take_back(ended);
        }
        self.offers.clear();
        self.term = CancellationToken::new();
    }

    fn take_back(&mut self, ended: Result<(TargetName, Memory), tokio::task::JoinError>) {
        match ended {
            Ok((target, memory)) => {
                self.remembered.insert(target, memory);
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => unreachable!("a worker is never aborted: {error}"),
            },
        }
    }
}
