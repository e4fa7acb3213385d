//! One target's worker: look, decide, act, report, and rest until something wakes it.
//!
//! Invariants: an order is on the disk before it is obeyed, and an older one is never obeyed; a running action that
//! the newest order no longer plans is killed before anything else is done; every wake-up runs the same pass.

mod absence;
mod act;
mod hear;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use footplate_core::generation::Generation;
use footplate_core::name::{HostName, ReleaseId, TargetName};
use footplate_core::target::{self, Action, Assignment, Failure, Lapse, Plan, Report, Up, Verb};
use footplate_drivers::failpoint;
use footplate_drivers::store::{Store, Troubles};
use footplate_drivers::workload::Observed;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::barrier;
use super::discovery::Doors;
use super::hands::{Done, Hands};
use super::memory::{self, Memory};
use super::orders::Offer;
use super::outputs::Outputs;
use super::reporter::Reporter;
use super::services::{Failed, Services};
use super::state::StateDirectory;
use crate::clock;
use absence::Absence;

/// How long the repair of a drift waits for its report to be written.
const DRIFT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a worker waits before it looks again at a disk that it could not read or write.
const DISK_PAUSE: Duration = Duration::from_secs(5);

/// What all workers of one agent share.
pub struct Shared {
    /// The host they work on.
    pub host: HostName,
    /// Where barriers are watched.
    pub store: Arc<dyn Store>,
    /// What is said when it does not answer.
    pub troubles: Troubles,
    /// Where memories are kept.
    pub state: StateDirectory,
    /// Where reports go.
    pub reporter: Arc<Reporter>,
    /// Where output goes.
    pub outputs: Outputs,
    /// The services of the host.
    pub services: Arc<Services>,
    /// The way out of the catalog that they stand in, if they do.
    pub doors: Option<Arc<Doors>>,
    /// How many prepares run side by side.
    pub prepares: Semaphore,
    /// Told of every action, so that an agent at rest is known to be.
    pub work: watch::Sender<()>,
    /// How long one poll of a barrier lasts.
    pub patience: Duration,
    /// How often the disk is looked at when nothing happens.
    pub look_every: Duration,
}

/// One target's worker.
pub struct Worker {
    shared: Arc<Shared>,
    target: TargetName,
    hands: Arc<Hands>,
    offers: watch::Receiver<Offer>,
    stop: CancellationToken,
    memory: Memory,
    /// Whether the memory differs from what is on the disk.
    unsaved: bool,
    seen: Observed,
    /// The services that are up, as last seen.
    up: BTreeMap<ReleaseId, Up>,
    /// Which failures of services were left to be read with the logs.
    told: BTreeMap<ReleaseId, String>,
    /// How many crashes of services were noted, of which only this memory may know.
    crashes: BTreeMap<ReleaseId, u32>,
    /// Told when a service of the host changed.
    service_news: watch::Receiver<u64>,
    /// What the disk showed when the worker came to rest; nothing while it is at work.
    settled: Option<Observed>,
    /// The drift that was told last, until it is repaired.
    drift: Option<String>,
    reported: Option<Report>,
    /// The order for which the barrier was read after it came.
    barrier_read_for: Option<Generation>,
    watch: Option<barrier::Watch>,
    /// An order that could not be remembered, and is not obeyed before it is.
    unobeyed: Option<(Arc<Assignment>, Failure)>,
    /// An order that was too old, so that it is said once.
    refused: Option<Generation>,
    /// Whether the disk could not be read at the last look.
    is_blind: bool,
    /// Whether nothing but time ended the last rest.
    idle: bool,
    /// Whether the agent's announcement waits for this worker's first look.
    owes_first_report: bool,
    /// The artifact sources that do not answer, while what it does needs them.
    absence: Option<Absence>,
}

/// What ends a rest.
enum Wake {
    Stop,
    Offer,
    Barrier(Generation),
    Service,
    Look,
}

impl Worker {
    /// Makes a worker that goes on from `memory`; `owes_first_report` when the agent's announcement waits for it.
    pub fn new(
        shared: Arc<Shared>,
        target: TargetName,
        hands: Hands,
        memory: Memory,
        offers: watch::Receiver<Offer>,
        stop: CancellationToken,
        owes_first_report: bool,
    ) -> Self {
        Self {
            up: BTreeMap::new(),
            told: BTreeMap::new(),
            crashes: BTreeMap::new(),
            service_news: shared.services.subscribe(),
            shared,
            target,
            hands: Arc::new(hands),
            offers,
            stop,
            memory,
            unsaved: false,
            seen: Observed::default(),
            settled: None,
            drift: None,
            reported: None,
            barrier_read_for: None,
            watch: None,
            unobeyed: None,
            refused: None,
            is_blind: false,
            idle: false,
            owes_first_report,
            absence: None,
        }
    }

    /// Works until it is told to stop; returns what it remembers.
    pub async fn run(mut self) -> (TargetName, Memory) {
        self.resume().await;
        // What crashed under the order before did so before any newer one is heard.
        self.look_at_services();
        self.hear().await;
        while !self.stop.is_cancelled() {
            self.pass().await;
        }
        self.save().await;
        (self.target, self.memory)
    }

    /// Watches the services that an earlier agent left running.
    async fn resume(&mut self) {
        let nothing = Assignment::to_run(Generation::default(), None, Vec::new());
        let want = self.memory.assignment.as_ref().unwrap_or(&nothing);
        if let Err(reason) = self.hands.resume(want).await {
            tracing::error!(host = %self.shared.host, app = %self.target, "cannot see which services run: {reason}");
        }
    }

    /// Looks, decides, and does the first thing there is to do; rests when there is none.
    async fn pass(&mut self) {
        let Some(want) = self.memory.assignment.clone() else { return self.rest(&Plan::default()).await };
        if !self.look().await {
            return self.rest(&Plan::default()).await;
        }
        if self.memory.must_read_barrier(&self.seen) && self.barrier_read_for != Some(want.generation) {
            return self.read_barrier(&want).await;
        }
        // It is started again by the plan, if it is to run, and gets another port then.
        if let Some(displaced) = self.shared.services.displaced(&self.target) {
            return self.act(&Action::Stop(displaced), &want).await;
        }
        let plan = self.plan(&want);
        match plan.actions.first() {
            Some(action) => self.act(action, &want).await,
            None => self.settle(&plan).await,
        }
    }

    fn plan(&self, want: &Assignment) -> Plan {
        let have = Report { up: self.up.clone(), ..self.memory.report_to_plan(&self.seen) };
        target::plan(&self.target.group, want, self.memory.barrier, &have, clock::now())
    }

    /// Observes the disk; `false` when it cannot be read.
    async fn look(&mut self) -> bool {
        match self.hands.look().await {
            Ok(seen) => self.seen = seen,
            Err(reason) => {
                self.note_blindness(reason);
                return false;
            }
        }
        self.is_blind = false;
        self.look_at_services();
        let moved = self.settled.take().and_then(|before| memory::drift(&before, &self.seen));
        if let Some(drift) = moved.or(self.seen.drift.clone()) {
            self.note_drift(drift).await;
        }
        self.give_first_report();
        true
    }

    /// Takes over how the services are, and what they failed of under the present order.
    fn look_at_services(&mut self) {
        self.service_news.mark_unchanged();
        self.up = self.shared.services.up(&self.target);
        for (release, failed) in self.shared.services.failures(&self.target) {
            let known = self.memory.failed.get(&release);
            let is_known = known.is_some_and(|known| known.verb == Verb::Start && known.reason == failed.why);
            if !is_known {
                self.note_service(&release, failed);
            }
        }
        for (release, crashed) in self.shared.services.crashes(&self.target) {
            let Some(Lapse::Crashed(times)) = crashed.lapse else { continue };
            let is_known = match self.memory.failed.get(&release).and_then(|known| known.lapse) {
                Some(Lapse::Failed) => true,
                Some(Lapse::Crashed(known)) => known >= times,
                None => false,
            };
            let is_noted = self.crashes.insert(release.clone(), times).is_some_and(|noted| noted >= times);
            if !is_known && !is_noted {
                self.note_service(&release, crashed);
            }
        }
        self.unsaved |= self.memory.forget_old(&self.up, clock::now());
        self.told.retain(|release, _| self.up.contains_key(release));
    }

    /// Notes how a service failed, and leaves its last words to be read with the logs.
    fn note_service(&mut self, release: &ReleaseId, failed: Failed) {
        // Under a newer order it is noted again, but it happened once.
        if self.told.insert(release.clone(), failed.why.clone()).as_ref() != Some(&failed.why) {
            let (failure, output) = (Some(failed.why.clone()), failed.output.clone());
            let done = Done { failure, output, ..Done::default() };
            let sources = self.memory.assignment.as_ref().map_or(&[][..], |want| &want.sources);
            self.shared.outputs.send(&self.target, release, Verb::Start, &done, sources);
        }
        self.note_failure(Verb::Start, release, failed);
    }

    /// Reports what was found when the agent began, before its presence says that its reports are its own.
    fn give_first_report(&mut self) {
        if std::mem::take(&mut self.owes_first_report) {
            self.report();
            self.shared.reporter.first_report_is_in();
        }
    }

    fn note_blindness(&mut self, reason: String) {
        if !std::mem::replace(&mut self.is_blind, true) {
            tracing::error!(
                host = %self.shared.host,
                app = %self.target,
                "cannot see what is there\n  because: {reason}"
            );
        }
        // What was seen before says nothing about now, and the order may be newer than that look.
        self.seen = Observed { drift: Some(format!("cannot be seen: {reason}")), ..Observed::default() };
        self.report();
        self.give_first_report();
    }

    /// Reports a drift before it is repaired, as the report after the repair would hide it.
    async fn note_drift(&mut self, drift: String) {
        if self.drift.as_ref() == Some(&drift) {
            return;
        }
        let is_first = self.owes_first_report;
        tracing::warn!(host = %self.shared.host, app = %self.target, "{drift}, and not by this agent");
        self.drift = Some(drift);
        self.report();
        self.give_first_report();
        if !is_first {
            self.shared.reporter.flush(DRIFT_PATIENCE).await;
        }
    }

    async fn read_barrier(&mut self, want: &Assignment) {
        let shared = Arc::clone(&self.shared);
        let stop = self.stop.clone();
        tokio::select! {
            reached = barrier::read(shared.store.as_ref(), &shared.troubles, &self.target.path) => {
                self.barrier_read_for = Some(want.generation);
                self.note_barrier(reached);
            }
            Ok(()) = self.offers.changed() => self.hear().await,
            () = stop.cancelled() => (),
        }
    }

    fn note_barrier(&mut self, reached: Option<Generation>) {
        failpoint!("agent.barrier_seen");
        let before = self.memory.barrier;
        self.memory.note_barrier(reached);
        self.unsaved |= self.memory.barrier != before;
    }
}

/// Resting.
impl Worker {
    /// Reports, then notes on the disk what was done, then rests.
    async fn settle(&mut self, plan: &Plan) {
        // Nothing is left to do: no source is needed any more, and what had drifted is repaired, or cannot be.
        self.absence = None;
        self.drift = self.seen.drift.clone();
        if self.has_news() || (self.idle && self.reported.as_ref() != Some(&self.next_report())) {
            self.report();
        }
        self.settled = Some(self.seen.clone());
        self.save().await;
        self.rest(plan).await;
    }

    async fn rest(&mut self, plan: &Plan) {
        let wake = self.wake(plan).await;
        self.idle = matches!(wake, Wake::Look);
        match wake {
            Wake::Stop => (),
            Wake::Offer => self.hear().await,
            Wake::Barrier(reached) => self.note_barrier(Some(reached)),
            Wake::Service => (),
            Wake::Look if self.unobeyed.is_some() => self.hear().await,
            Wake::Look => (),
        }
    }

    async fn wake(&mut self, plan: &Plan) -> Wake {
        self.watch_barrier(plan.barrier);
        let pause = self.pause(plan);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Wake::Stop,
            Ok(()) = self.offers.changed() => Wake::Offer,
            reached = opened(&mut self.watch) => Wake::Barrier(reached),
            Ok(()) = self.service_news.changed() => Wake::Service,
            () = tokio::time::sleep(pause) => Wake::Look,
        }
    }

    fn pause(&self, plan: &Plan) -> Duration {
        let retry = plan.retry_at.map(|at| at.since(clock::now()));
        let trouble = (self.unobeyed.is_some() || self.is_blind).then_some(DISK_PAUSE);
        let others = retry.into_iter().chain(trouble);
        others.fold(self.shared.look_every, Duration::min)
    }

    fn watch_barrier(&mut self, awaited: Option<Generation>) {
        let Some(awaited) = awaited else { return self.watch = None };
        if self.watch.as_ref().is_some_and(|watch| watch.awaits(awaited)) {
            return;
        }
        let Shared { store, troubles, patience, .. } = &*self.shared;
        let path = &self.target.path;
        self.watch = Some(barrier::Watch::begin(Arc::clone(store), troubles, path, awaited, *patience));
    }
}

/// Returns the barrier once the watch, if there is one, sees it open.
async fn opened(watch: &mut Option<barrier::Watch>) -> Generation {
    match watch {
        Some(watch) => watch.opened().await,
        None => std::future::pending().await,
    }
}
