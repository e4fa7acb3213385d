//! The worker: holds the lease, and takes turns until it is lost or the controller stops.
//!
//! Invariants: every write is guarded by the lease; the records come before what follows from them; a turn that was cut
//! short is simply taken again. Store trouble is waited out with back-off and said once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use footplate_core::fleet::{self, Turn};
use footplate_core::moment::Moment;
use footplate_core::name::{AppPath, HostName, Target, TargetName};
use footplate_core::record::{Barrier, Key};
use footplate_core::target::Source;
use footplate_core::traffic::RouterOrder;
use footplate_drivers::failpoint;
use footplate_drivers::store::{Scope, Snapshot, Store, StoreError, Trouble, Troubles, Write};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::commit::{Trip, put};
use super::lease::{self, Lease};
use super::looks::{LOOK_GAP_MAX, gap_while, watch_agents};
use super::orders::{self, Answer, Ask};
use super::site::encode;
use super::standby::take_lease;
use super::{Shared, gate, judging, problem};
use crate::api::{Problem, ProblemKind, path};
use crate::clock;

/// How often the whole store is read, to see what people changed by hand.
const READ_ALL_EVERY: Duration = Duration::from_secs(30);

pub(super) type Inbox = mpsc::Receiver<(Ask, oneshot::Sender<Result<Answer, Problem>>)>;

/// Why a worker stopped acting.
enum End {
    /// The controller stops.
    Stopped,
    /// Another controller may have the lease.
    Lost(String),
}

/// Acts whenever the lease can be had, until `stop` is cancelled.
pub(super) async fn run(
    shared: &Arc<Shared>,
    memory: lease::Memory,
    mut inbox: Inbox,
    stop: &CancellationToken,
) {
    while let Some(lease) = take_lease(shared, &memory, &mut inbox, stop).await {
        memory.remember(&lease);
        shared.view.send_modify(|view| view.is_acting = true);
        tracing::info!(lane = %shared.config.lane, "acting: this controller holds the lease");
        let worker = Worker {
            shared,
            lease,
            doubts: AtomicBool::new(false),
            look_gap: watch::Sender::new(LOOK_GAP_MAX),
        };
        let end = worker.act(&mut inbox, stop).await;
        shared.view.send_modify(|view| view.is_acting = false);
        match end {
            End::Stopped => {
                shared.journal.flush().await;
                if let Err(error) = worker.lease.release(&shared.store).await {
                    tracing::warn!(%error, "the lease could not be given up and will expire by itself");
                }
                return;
            }
            End::Lost(why) => tracing::warn!(why, "not acting: the lease is lost"),
        }
    }
}

/// All that a controller reads.
pub(super) const PREFIXES: [&str; 9] = [
    Key::RELEASES,
    Key::APPS,
    Key::FLEET,
    Key::BARRIERS,
    Key::ASSIGNMENTS,
    Key::AGENTS,
    Key::ROUTES,
    Key::TRAFFIC,
    Key::LANES,
];

/// The acting controller.
pub(super) struct Worker<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) lease: Lease,
    /// Whether a write ended without an answer, so that the site may not be what the store holds.
    pub(super) doubts: AtomicBool,
    /// How long the next look at the reports may wait.
    look_gap: watch::Sender<Duration>,
}

impl Worker<'_> {
    async fn act(&self, inbox: &mut Inbox, stop: &CancellationToken) -> End {
        let (reports, mut news) = watch::channel(None);
        let troubles = Troubles::default();
        let watch = watch_agents(self.shared.store.clone(), &troubles, reports, self.look_gap.subscribe());
        let _watcher = AbortOnDropHandle::new(tokio::spawn(watch));
        let (keeper, mut lost) = oneshot::channel();
        let kept = keep_lease(self.shared.store.clone(), self.lease.clone(), keeper);
        let _keeper = AbortOnDropHandle::new(tokio::spawn(kept));
        let _judge = AbortOnDropHandle::new(tokio::spawn(judging::watch(self.shared.clone())));
        let (mut reading, mut writing) = (troubles.of("read the store"), troubles.of("write to the store"));
        let mut read_all_at = Instant::now();
        let mut forget_at = Instant::now();
        let mut said_again = false;
        loop {
            if Instant::now() >= read_all_at || (self.doubts.load(Ordering::Relaxed) && !reading.is_there()) {
                match self.read_all().await {
                    Ok(()) => {
                        self.doubts.store(false, Ordering::Relaxed);
                        reading.is_over();
                        read_all_at = Instant::now() + READ_ALL_EVERY;
                    }
                    Err(error) => {
                        read_all_at = Instant::now() + reading.failed(&error);
                    }
                }
            }
            if !said_again && !reading.is_there() {
                self.say_again();
                said_again = true;
            }
            // What was not read whole is not decided on.
            let turned = if reading.is_there() { Ok(None) } else { self.tidy_turns(&mut forget_at).await };
            let look_again_at = match look_again(turned, &mut writing, &mut read_all_at) {
                Ok(at) => at,
                Err(end) => return end,
            };
            self.shared.publish();
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                why = &mut lost => return End::Lost(why.unwrap_or_else(|_| "its keeper ended".to_owned())),
                Some((ask, reply)) = inbox.recv() => {
                    let result = match reading.is_there() {
                        true => Err(unread(&ask)),
                        false => orders::carry_out(self, ask).await,
                    };
                    answer(reply, result);
                }
                Ok(()) = news.changed() => {
                    let snapshot: Option<Arc<Snapshot>> = news.borrow_and_update().clone();
                    let Some(snapshot) = snapshot else { continue };
                    self.shared.change(|site| site.absorb(Key::AGENTS, &snapshot));
                }
                () = self.shared.bench.news() => self.shared.change(|site| self.shared.bench.tell(site)),
                () = tokio::time::sleep_until(look_again_at.min(read_all_at)) => {}
            }
        }
    }

    async fn read_all(&self) -> Result<(), StoreError> {
        for prefix in PREFIXES {
            let snapshot = self.shared.store.read(&Scope::Prefix(prefix.to_owned())).await?;
            self.shared.change(|site| site.absorb(prefix, &snapshot));
        }
        for (key, why) in &self.shared.site().unreadable {
            tracing::warn!(key, why, "left alone: cannot be read");
        }
        Ok(())
    }

    /// Says again what the rollouts under way are at; what was said before is dropped by the ledger.
    fn say_again(&self) {
        let apps: Vec<_> = self.shared.site().apps.values().cloned().collect();
        for (rollout, gate) in apps.into_iter().filter_map(|app| Some((app.rollout?, app.gate))) {
            self.note_killed(&rollout);
            self.shared.journal.say_again(&footplate_core::rollout::announce(&rollout), &rollout.actor);
            gate.iter()
                .for_each(|gate| gate::note_turn(&self.shared.journal, &rollout.path, gate, &rollout.actor));
        }
    }

    /// Takes turns, and forgets what nobody needs as often as the whole store is read.
    async fn tidy_turns(&self, forget_at: &mut Instant) -> Result<Option<Instant>, Trip> {
        let next = self.turns().await?;
        if Instant::now() >= *forget_at {
            self.forget().await?;
            *forget_at = Instant::now() + READ_ALL_EVERY;
        }
        Ok(next)
    }

    /// Takes turns for every app until all are settled. Returns when the next deadline is.
    async fn turns(&self) -> Result<Option<Instant>, Trip> {
        let paths: Vec<AppPath> = self.shared.site().apps.keys().cloned().collect();
        let mut next: Option<Moment> = None;
        let mut gap = LOOK_GAP_MAX;
        for path in paths {
            let turn = match self.turn(&path).await {
                Ok(Some(turn)) => turn,
                Ok(None) => continue,
                // The other apps go on.
                Err(Trip::TooLarge(error)) => {
                    tracing::warn!(app = %path, %error, "its records cannot be written");
                    continue;
                }
                Err(trip) => return Err(trip),
            };
            next = next.into_iter().chain(turn.look_again_at).min();
            gap = gap.min(turn.missing.map_or(LOOK_GAP_MAX, gap_while));
        }
        self.order_routers().await?;
        self.look_gap.send_replace(gap);
        Ok(next.map(|at| Instant::now() + at.since(clock::now())))
    }

    /// Takes one app's turn: computes what must be written, writes it, and returns it.
    pub(super) async fn turn(&self, path: &AppPath) -> Result<Option<Turn>, Trip> {
        let Some(seen) = self.shared.site().seen(path, clock::now()) else { return Ok(None) };
        let turn = fleet::turn(&seen, |host| self.sources(host));
        if !turn.is_settled() {
            self.write_turn(path, &turn).await?;
        }
        Ok(Some(turn))
    }

    fn sources(&self, _host: &HostName) -> Vec<Source> {
        vec![self.at(path::ARTIFACTS)]
    }

    /// Returns where agents reach this controller, with the token for it.
    fn at(&self, path: &str) -> Source {
        let base = format!("{}{path}", self.shared.base);
        Source { base, token: Some(self.shared.tokens.agents().to_owned()) }
    }

    /// Tells every router that reports where its counts go.
    async fn order_routers(&self) -> Result<(), Trip> {
        let order = RouterOrder { counts: self.at(path::TRAFFIC) };
        let writes = {
            let site = self.shared.site();
            let other = site.routers.keys().filter(|host| site.router_orders.get(host) != Some(&order));
            let keys = other.map(|host| Key::RouterOrder(host.clone()));
            let ours = keys.filter(|key| !site.unreadable.contains_key(&key.to_string()));
            ours.map(|key| put(&key, encode(&order))).collect()
        };
        self.write_each(writes).await
    }

    async fn write_turn(&self, path: &AppPath, turn: &Turn) -> Result<(), Trip> {
        let actor = {
            let site = self.shared.site();
            let latest = site.apps.get(path).and_then(|app| app.rollout.as_ref());
            turn.rollout.as_ref().or(latest).map(|rollout| rollout.actor.clone())
        };
        let mut records = Vec::new();
        if let Some(current) = &turn.current {
            records.push(put(&Key::Current(path.clone()), encode(current)));
        }
        if let Some(rollout) = &turn.rollout {
            records.push(put(&Key::Rollout(path.clone()), encode(rollout)));
        }
        if let Some(gate) = &turn.gate {
            records.push(put(&Key::Gate(path.clone()), encode(gate)));
        }
        if let Some(generation) = turn.barrier {
            records.push(put(&Key::Barrier(path.clone()), encode(&Barrier { generation })));
        }
        // One transaction: a barrier must never be open for records that were not written.
        self.write_together(records).await?;
        failpoint!("controller.records_written");
        turn.rollout.iter().for_each(|rollout| self.note_killed(rollout));
        for announcement in &turn.announcements {
            let actor = actor.as_ref().expect("only a rollout has something to announce");
            self.shared.journal.say(announcement, actor);
        }
        if let Some((gate, actor)) = turn.gate.as_ref().zip(actor.as_ref()) {
            gate::note_turn(&self.shared.journal, path, gate, actor);
        }
        let mut orders = Vec::new();
        for release in &turn.releases {
            let key = Key::Release(release.app.clone(), release.id.clone());
            let release = release.clone();
            orders.push(put(&key, encode(&fleet::Pushed { release, environments: BTreeMap::new() })));
        }
        for target in &turn.obsolete {
            let name = TargetName { path: path.clone(), group: target.group.clone() };
            orders.push(Write::Delete(Key::Assignment(target.host.clone(), name).to_string()));
        }
        for (target, order) in &turn.orders {
            let name = TargetName { path: path.clone(), group: target.group.clone() };
            orders.push(put(&Key::Assignment(target.host.clone(), name), encode(order)));
        }
        let route = |target: &Target| {
            let name = TargetName { path: path.clone(), group: target.group.clone() };
            Key::Route(name, target.host.clone())
        };
        orders.extend(turn.routes.iter().map(|(target, endpoints)| put(&route(target), encode(endpoints))));
        orders.extend(turn.routes_gone.iter().map(|target| Write::Delete(route(target).to_string())));
        self.write_each(orders).await?;
        failpoint!("controller.orders_written");
        // A router that follows this division must know the routes: they stand by now.
        if let Some(traffic) = &turn.traffic {
            self.write_each(vec![put(&Key::Traffic(path.clone()), encode(traffic))]).await?;
        }
        Ok(())
    }
}

/// Renews the lease; says so when it is lost, or could not be renewed for its whole length.
async fn keep_lease(store: Arc<dyn Store>, lease: Lease, lost: oneshot::Sender<String>) {
    let mut renewed_at = Instant::now();
    let why = loop {
        tokio::time::sleep(if renewed_at.elapsed() < lease::TTL / 2 {
            lease::TTL / 3
        } else {
            Duration::from_secs(1)
        })
        .await;
        let asked_at = Instant::now();
        let limit = lease::TTL.saturating_sub(renewed_at.elapsed());
        match tokio::time::timeout(limit, lease.renew(&store)).await {
            Ok(Ok(())) => renewed_at = asked_at,
            Ok(Err(StoreError::SessionGone(_))) => break "its session is gone".to_owned(),
            Ok(Err(error)) if renewed_at.elapsed() >= lease::TTL => break problem::causes(&error).join(": "),
            Ok(Err(_)) => {}
            Err(_) => break format!("it could not be renewed for {} s", lease::TTL.as_secs()),
        }
    };
    // Nobody listens when the worker has ended for another reason.
    drop(lost.send(why));
}

/// Returns when to take the next turn, or that this controller acts no more. After trouble the store is read again first.
fn look_again(
    turned: Result<Option<Instant>, Trip>,
    writing: &mut Trouble,
    read_all_at: &mut Instant,
) -> Result<Instant, End> {
    match turned {
        Ok(at) => {
            writing.is_over();
            Ok(at.unwrap_or(*read_all_at))
        }
        Err(Trip::Fenced) => Err(End::Lost("a write was refused by its guard".to_owned())),
        Err(Trip::Store(error)) => {
            *read_all_at = Instant::now() + writing.failed(&error);
            Ok(*read_all_at)
        }
        Err(Trip::TooLarge(error)) => {
            tracing::warn!(%error, "a record cannot be written");
            Ok(*read_all_at)
        }
    }
}

fn unread(ask: &Ask) -> Problem {
    Problem::new(
        ProblemKind::Unavailable,
        ask.describe(),
        "the store cannot be read now",
        "nothing was changed; try again when it answers",
    )
}

pub(super) fn answer(reply: oneshot::Sender<Result<Answer, Problem>>, result: Result<Answer, Problem>) {
    if reply.send(result).is_err() {
        tracing::debug!("the one who asked has gone");
    }
}
