//! One service under watch: its probes are asked, its exits noted, and `core::health` says what that means.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use footplate_core::health::{Condition, Crashed, Event, Question};
use footplate_core::moment::Moment;
use footplate_core::release::service::{Health, Probe};
use footplate_core::target::{AcceptanceHook, Lapse, OUTPUT_TAIL_BYTES_MAX, Readiness, Up};
use footplate_drivers::health::{self, Answer, Asker, Tried};
use footplate_drivers::service::{Order, Phase, ServiceName, Status, Supervisor, tail};
use footplate_drivers::shell::User;
use footplate_drivers::{chain, disk};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Failed, Statuses};
use crate::clock;

/// The folder of what is remembered, beside the services; no service is called like that.
pub const FOLDER: &str = "health";

/// Where a service is.
pub struct Place {
    name: ServiceName,
    address: Option<String>,
    probes: health::Place,
    log: PathBuf,
    /// Where it is remembered how the service was.
    memory: PathBuf,
}

/// One service under watch.
pub struct Watched {
    place: Place,
    health: Health,
    standing: Mutex<Standing>,
}

/// How a service is; kept on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    condition: Condition,
    /// How many of its late crashes stand in the target's memory.
    #[serde(default)]
    told: u32,
    /// Its process as it was looked at last: what happened to it since is found out later, whoever was away meanwhile.
    #[serde(default)]
    seen: Option<Status>,
    /// Since when it is as it is.
    since: Moment,
    accepted: u32,
}

impl Place {
    pub fn new(
        address: IpAddr,
        status: &Status,
        order: Option<&Order>,
        user: Option<User>,
        folder: &Path,
    ) -> Self {
        let environment = order.into_iter().flat_map(|order| &order.environment);
        Self {
            name: status.name.clone(),
            address: status.port.map(|port| SocketAddr::new(address, port).to_string()),
            probes: health::Place {
                port: status.port,
                heartbeat: status.heartbeat.clone(),
                notified: status.notified.clone(),
                directory: order.map(|order| order.directory.clone()).unwrap_or_default(),
                environment: environment.map(|(name, value)| (name.clone(), value.into())).collect(),
                user,
            },
            log: status.log.clone(),
            memory: memory(folder, &status.name),
        }
    }
}

fn memory(folder: &Path, name: &ServiceName) -> PathBuf {
    folder.join(FOLDER).join(format!("{name}.json"))
}

/// Forgets how a service was: it is stopped.
pub fn forget(folder: &Path, name: &ServiceName) {
    let path = memory(folder, name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
        _ => {}
    }
}

impl Watched {
    /// Begins to watch a service that was just started; one that ran before this agent goes on as it was remembered, and with
    /// what happened to its process since.
    pub fn begin(health: &Health, place: Place, status: &Status, resumed: bool) -> Self {
        let now = clock::now();
        let condition = Condition::begin(health, now);
        let fresh = Standing { condition, told: 0, seen: Some(status.clone()), since: now, accepted: 0 };
        let remembered = || serde_json::from_slice(&std::fs::read(&place.memory).ok()?).ok();
        let standing = if resumed { remembered().unwrap_or(fresh) } else { fresh };
        let watched = Self { place, health: health.clone(), standing: Mutex::new(standing) };
        watched.see(status);
        watched.remember();
        watched
    }

    /// Says how it is.
    pub fn up(&self) -> Up {
        let standing = self.standing();
        Up {
            readiness: readiness(&standing),
            address: self.place.address.clone(),
            since: standing.since,
            accepted: standing.accepted,
        }
    }

    /// Says why it failed, if it did since it was started.
    pub fn failed(&self) -> Option<Failed> {
        let (why, lapse) = {
            let Condition { failure, has_settled, .. } = &self.standing().condition;
            (failure.as_ref()?.why.clone(), has_settled.then_some(Lapse::Failed))
        };
        Some(Failed { why, lapse, output: self.last_words(OUTPUT_TAIL_BYTES_MAX) })
    }

    /// Says that it crashed once it had settled, until [`Watched::is_told`].
    pub fn crash(&self) -> Option<Failed> {
        let Crashed { times, why } = {
            let standing = self.standing();
            standing.condition.crashed.clone().filter(|crashed| crashed.times > standing.told)?
        };
        let lapse = Some(Lapse::Crashed(times));
        Some(Failed { why, lapse, output: self.last_words(OUTPUT_TAIL_BYTES_MAX) })
    }

    /// Notes that so many of its crashes stand on the disk of whoever tells of them.
    pub fn is_told(&self, times: u32) {
        let is_news = std::mem::replace(&mut self.standing().told, times) != times;
        if is_news {
            self.remember();
        }
    }

    /// Returns what it printed last. What cannot be read is nothing.
    pub fn last_words(&self, bytes_max: usize) -> String {
        tail(&self.place.log, bytes_max).unwrap_or_default()
    }

    /// Tries the acceptance hook on it; nothing when it was stopped.
    pub async fn accept(
        &self,
        asker: &Asker,
        hook: &AcceptanceHook,
        step: u32,
        stop: &CancellationToken,
    ) -> Option<Tried> {
        asker.accept(hook, self.place.address.as_deref(), step, &self.place.probes, stop).await
    }

    /// Notes that the acceptance hook passed.
    pub fn accepted(&self, times: u32) {
        self.standing().accepted = times;
        self.remember();
    }

    /// Takes what happened; tells whether others should know, and why it must be restarted, if it must.
    fn note(&self, event: &Event) -> (bool, Option<String>) {
        let mut restart = None;
        let changed = self.change(|standing| {
            let step = standing.condition.step(&self.health, event, clock::now());
            (standing.condition, restart) = (step.next, step.restart);
        });
        if changed {
            self.remember();
        }
        (changed, restart)
    }

    /// Takes how its process stands, and what happened to it since it was looked at last; tells whether others should know.
    fn see(&self, status: &Status) -> bool {
        let before = self.standing().seen.clone();
        // It may go on while nobody keeps it: what it was before still counts.
        if status.phase == Phase::Forsaken || before.as_ref() == Some(status) {
            return false;
        }
        let happened = before.map(|before| status.since(&before)).unwrap_or_default();
        let changed = self.change(|standing| {
            for event in &happened {
                standing.condition = standing.condition.step(&self.health, event, when(event, status)).next;
            }
            standing.seen = Some(status.clone());
        });
        self.remember();
        changed
    }

    /// Tells whether others should know of a change.
    fn change(&self, change: impl FnOnce(&mut Standing)) -> bool {
        let mut standing = self.standing();
        let known = |condition: &Condition| (condition.failure.clone(), condition.crashed.clone());
        let before = (readiness(&standing), known(&standing.condition));
        change(&mut standing);
        let after = (readiness(&standing), known(&standing.condition));
        if before.0 != after.0 {
            standing.since = clock::now();
        }
        before != after
    }

    fn remember(&self) {
        let bytes = serde_json::to_vec(&*self.standing()).expect("a condition is words and numbers");
        if let Err(error) = disk::write_atomically(&self.place.memory, &bytes) {
            tracing::warn!("cannot remember how {} is: {}", self.place.name, chain(&error));
        }
    }

    /// Returns what to ask now: nothing while it waits to be started again, as whoever answers at its port then is a stranger.
    fn questions(&self) -> Vec<(Question, Probe)> {
        let standing = self.standing();
        if standing.seen.as_ref().is_some_and(|seen| matches!(seen.phase, Phase::Waiting { .. })) {
            return Vec::new();
        }
        let asked = standing.condition.questions(&self.health);
        asked.into_iter().map(|(question, probe)| (question, probe.clone())).collect()
    }

    /// Returns how long it is until time alone changes something.
    fn next_tick(&self) -> Duration {
        let now = clock::now();
        let at = self.standing().condition.wakes_at(&self.health).filter(|at| *at > now);
        at.map_or(Duration::from_secs(3600), |at| at.since(now))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn readiness(standing: &Standing) -> Readiness {
    match (standing.condition.has_settled, standing.condition.is_ready()) {
        (false, _) => Readiness::Starting,
        (true, true) => Readiness::Ready,
        (true, false) => Readiness::Unready,
    }
}

/// Returns when something happened to a process that stands like this.
fn when(event: &Event, status: &Status) -> Moment {
    let at = match (event, &status.last_exit, &status.phase) {
        (Event::Crashed(_), Some(exit), _) => exit.at,
        (Event::Started, _, Phase::Running { since, .. }) => *since,
        _ => clock::now(),
    };
    at.min(clock::now())
}

/// Watches one service until it is dropped.
pub async fn watch(
    watched: Arc<Watched>,
    supervisor: Arc<dyn Supervisor>,
    asker: Asker,
    mut statuses: watch::Receiver<Statuses>,
    news: watch::Sender<u64>,
) {
    let name = watched.place.name.clone();
    let mut is_forsaken = false;
    let mut due: BTreeMap<Question, Instant> = BTreeMap::new();
    loop {
        let questions = watched.questions();
        due.retain(|question, _| questions.iter().any(|(asked, _)| asked == question));
        for (question, probe) in &questions {
            due.entry(*question).or_insert_with(|| Instant::now() + first_pause(probe));
        }
        let next = questions.iter().min_by_key(|(question, _)| due[question]);
        let at =
            next.map_or_else(|| Instant::now() + Duration::from_secs(3600), |(question, _)| due[question]);
        let event = tokio::select! {
            Ok(()) = statuses.changed() => {
                let now = statuses.borrow_and_update().get(&name).cloned();
                is_forsaken = now.as_ref().is_some_and(|now| now.phase == Phase::Forsaken);
                if now.is_some_and(|now| watched.see(&now)) {
                    news.send_modify(|number| *number += 1);
                }
                None
            }
            () = tokio::time::sleep_until(at) => match next {
                Some((question, probe)) => {
                    let answer = asker.ask(probe, &watched.place.probes).await;
                    due.insert(*question, Instant::now() + probe.interval);
                    Some(match answer {
                        Answer::Good => Event::Good(*question),
                        Answer::Bad(why) => Event::Bad(*question, why),
                    })
                }
                None => None,
            },
            () = tokio::time::sleep(watched.next_tick()) => Some(Event::Tick),
        };
        if let Some(event) = event {
            let (changed, restart) = watched.note(&event);
            if changed {
                news.send_modify(|number| *number += 1);
            }
            if let Some(why) = restart {
                tracing::warn!(service = %name, "restarting it: {why}");
                if let Err(error) = supervisor.restart(&name).await {
                    tracing::error!(service = %name, "cannot restart it: {}", chain(&error));
                }
            }
        }
        if std::mem::take(&mut is_forsaken)
            && let Err(error) = supervisor.revive().await
        {
            tracing::error!(service = %name, "cannot look after it again: {}", chain(&error));
        }
    }
}

/// A service that just started is asked soon, and not first after a whole interval.
fn first_pause(probe: &Probe) -> Duration {
    probe.interval.min(Duration::from_millis(100))
}

#[cfg(test)]
mod tests;
