//! The workers of one agent: hired when an order names a new target, sent home when the host's name is lost.
//!
//! Invariants: workers hear offers only while the name is held; those that were here before start at once, with or
//! without a store; what a worker remembers is never lost between two terms; a worker that panics ends
//! no other, and is replaced.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use footplate_core::name::TargetName;
use footplate_drivers::disk::HeldFolder;
use footplate_drivers::workload::Settings;
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::hands::Hands;
use super::memory::Memory;
use super::mishap;
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
    /// Whom each running worker works for.
    places: HashMap<task::Id, TargetName>,
    /// Targets whose worker panicked, until the next one is set to work on what the disk remembers.
    vacant: BTreeMap<TargetName, (Instant, Memory)>,
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
        Self {
            shared,
            apps,
            settings,
            clients,
            remembered,
            offers: BTreeMap::new(),
            workers: JoinSet::new(),
            places: HashMap::new(),
            vacant: BTreeMap::new(),
            term: CancellationToken::new(),
        }
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
                Some(ended) = self.workers.join_next_with_id() => self.take_back(ended),
                () = at(self.vacant.values().map(|(until, _)| *until).min()) => self.fill_vacancies(),
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
        self.offers.insert(target.clone(), tell);
        self.set_to_work(target, memory, offers, owes_first_report);
    }

    fn set_to_work(
        &mut self,
        target: TargetName,
        memory: Memory,
        offers: watch::Receiver<Offer>,
        owes_first_report: bool,
    ) {
        let hands = Hands::new(
            &self.apps,
            &self.shared.host,
            &target,
            self.settings.clone(),
            Arc::clone(&self.clients),
            Arc::clone(&self.shared.services),
            self.shared.doors.clone(),
        );
        let shared = Arc::clone(&self.shared);
        let stop = self.term.child_token();
        let worker = Worker::new(shared, target.clone(), hands, memory, offers, stop, owes_first_report);
        let place = self.workers.spawn(worker.run());
        self.places.insert(place.id(), target);
    }

    /// Sets somebody to work where a worker panicked a while ago. Orders were offered to the place meanwhile.
    fn fill_vacancies(&mut self) {
        let now = Instant::now();
        let (due, later): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.vacant).into_iter().partition(|(_, (until, _))| *until <= now);
        self.vacant = later;
        for (target, (_, memory)) in due {
            let offers = self.offers.get(&target).expect("a place is offered orders to the end of the term");
            let offers = offers.subscribe();
            self.set_to_work(target, memory, offers, false);
        }
    }

    /// Ends the term: running scripts are killed, and every worker has ended when this returns.
    async fn send_home(&mut self) {
        self.term.cancel();
        while let Some(ended) = self.workers.join_next_with_id().await {
            self.take_back(ended);
        }
        let vacant = std::mem::take(&mut self.vacant);
        self.remembered.extend(vacant.into_iter().map(|(target, (_, memory))| (target, memory)));
        self.offers.clear();
        self.term = CancellationToken::new();
    }

    fn take_back(&mut self, ended: Result<(task::Id, (TargetName, Memory)), JoinError>) {
        match ended {
            Ok((place, (target, memory))) => {
                self.places.remove(&place);
                self.remembered.insert(target, memory);
            }
            Err(error) => {
                let target = self.places.remove(&error.id()).expect("every worker has a place");
                // No worker is aborted: the runtime ends with it, and so does everybody.
                let Ok(panic) = error.try_into_panic() else { return };
                let memory = mishap::recover(&self.shared, &target, panic.as_ref());
                self.vacant.insert(target, (Instant::now() + self.shared.look_every, memory));
            }
        }
    }
}

/// Waits until a moment; for ever when there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
